"""Architectures by name: arguments, errors, and independence of the rest of the package."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from landscape import models


def test_names():
    assert models.names()[29:] == ["mlp", "lenet", "transformer"]
    assert len(set(models.names())) == 32
    models.names().clear()  # a list of the caller's own
    assert len(models.names()) == 32


def test_parameters():
    for name in models.names()[:29]:
        assert dict(models.parameters(name)) == {"num_classes": 10, "in_channels": 3}
    assert dict(models.parameters("mlp")) == {
        "in_features": 64,
        "num_classes": 10,
        "widths": (128, 64),
        "activation": "relu",
    }
    assert set(models.parameters("transformer")) == {"vocabulary", "context", "width", "depth", "heads", "tied"}
    for name in models.names():
        with torch.device("meta"):
            models.build(name, **models.parameters(name))


def test_parameters_are_read_only():
    with pytest.raises(TypeError):
        models.parameters("mlp")["widths"] = (1,)


@pytest.mark.parametrize("function", [models.build, models.parameters])
@pytest.mark.parametrize(
    ("name", "nearest"), [("resnet21", "resnet20"), ("ResNet56", "resnet56"), ("trasformer", "transformer")]
)
def test_unknown_name(function, name, nearest):
    with pytest.raises(
        ValueError, match=rf"unknown model '{name}'; did you mean '{nearest}'\? Known: vgg9, .*transformer"
    ):
        function(name)


def test_unknown_name_without_suggestion():
    with pytest.raises(ValueError, match=r"unknown model 'xyzzy'\. Known: vgg9, "):
        models.build("xyzzy")


def test_unknown_argument():
    with pytest.raises(
        ValueError,
        match=r"model 'resnet20' takes no argument 'num_class'; did you mean 'num_classes'\? Known: num_",
    ):
        models.build("resnet20", num_class=10)
    # what makes the architecture is not an argument
    with pytest.raises(ValueError, match="model 'resnet20' takes no argument 'shortcuts'"):
        models.build("resnet20", shortcuts=False)


@pytest.mark.parametrize(
    ("name", "argument", "value", "message"),
    [
        ("resnet20", "num_classes", 0, "expected an integer of at least 1 for num_classes, got 0"),
        ("vgg9", "in_channels", "3", "expected an integer of at least 1 for in_channels, got '3'"),
        ("densenet121", "num_classes", 2.0, "expected an integer of at least 1 for num_classes, got 2.0"),
        ("lenet", "num_classes", True, "expected an integer of at least 1 for num_classes, got True"),
        ("transformer", "tied", 1, "expected True or False for tied, got 1"),
        ("mlp", "activation", ["relu"], r"expected a string such as 'relu' for activation, got \['relu'\]"),
    ],
)
def test_invalid_values(name, argument, value, message):
    with pytest.raises(ValueError, match=f"model '{name}': {message}"):
        models.build(name, **{argument: value})


def test_numpy_integers():
    assert models.build("resnet20", num_classes=np.int64(4)).linear.out_features == 4
    assert models.build("mlp", widths=np.int64(4)).layers[0].out_features == 4


def test_weights_depend_on_torch_seed():
    def weights(seed):
        torch.manual_seed(seed)
        return torch.cat([p.detach().flatten() for p in models.build("resnet20").parameters()])

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


@pytest.mark.process
def test_imports_of_models():
    program = (
        "import sys, landscape; before = set(sys.modules); import landscape.models;"
        "print(*[m for m in set(sys.modules) - before if m.split('.')[0] == 'landscape'])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    loaded = run.stdout.split()
    assert "landscape.models.resnet" in loaded
    assert [name for name in loaded if not f"{name}.".startswith("landscape.models.")] == []


@pytest.mark.parametrize("path", sorted(Path(models.__file__).parent.glob("*.py")), ids=lambda path: path.name)
def test_import_statements_of_models(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.level == 1, ast.unparse(node)
            continue
        found = []
        if isinstance(node, ast.ImportFrom):
            found = [node.module]
        elif isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        for name in found:
            root = name.split(".")[0]
            assert root == "torch" or root in sys.stdlib_module_names, ast.unparse(node)
