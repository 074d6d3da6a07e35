"""The digits, compared with the loader of scikit-learn, and their fixed split."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from landscape.problem.data import digits
from landscape.problem.data import registry as datasets


@pytest.fixture(scope="module")
def loaded() -> object:
    return datasets.load("digits")


def test_shapes_and_model_hints(loaded: object) -> None:
    train, test = loaded.splits["train"], loaded.splits["test"]
    assert (len(train), len(test)) == (1437, 360)
    assert train.inputs.shape == (1437, 1, 8, 8)
    assert train.inputs.dtype == torch.float32
    assert train.targets.dtype == torch.int64
    assert dict(loaded.model_hints) == {"num_classes": 10, "in_channels": 1, "in_features": 64}
    assert loaded.augment is None


def test_splits_partition_the_digits(loaded: object) -> None:
    pixels, labels = load_digits(return_X_y=True)
    parts = loaded.splits.values()
    ours = torch.cat([part.inputs for part in parts]).double().flatten(1) * 6.017 + 4.884
    rows = np.column_stack([ours.round().numpy(), torch.cat([part.targets for part in parts]).numpy()])
    theirs = np.column_stack([pixels, labels])
    assert np.array_equal(rows[np.lexsort(rows.T)], theirs[np.lexsort(theirs.T)])


def test_inputs_are_standardized(loaded: object) -> None:
    everything = torch.cat([part.inputs for part in loaded.splits.values()]).double()
    assert everything.mean().item() == pytest.approx(0, abs=1e-3)
    assert everything.std().item() == pytest.approx(1, abs=1e-3)
    assert loaded.splits["train"].inputs.min().item() == pytest.approx(-4.884 / 6.017)
    assert loaded.splits["train"].inputs.max().item() == pytest.approx((16 - 4.884) / 6.017)


def test_test_split_is_stratified(loaded: object) -> None:
    assert loaded.splits["test"].targets.bincount().tolist() == [36] * 10
    assert loaded.splits["train"].targets.bincount().min() == 174 - 36


def test_split_is_pinned(loaded: object) -> None:
    assert loaded.splits["train"].digest() == "395e6b8eaf92e3a1752d2a605635ead264067b2dc7d522edd7d1f386e02f17be"
    assert loaded.splits["test"].digest() == "e14afc15a04d7e9ec7707415d5f83305e97d348002269576c763fcc0fe5d0a6c"


def test_enlarged_images(loaded: object) -> None:
    large = datasets.load("digits", size=32)
    assert large.splits["test"].inputs.shape == (360, 1, 32, 32)
    assert large.model_hints["in_features"] == 1024
    assert torch.equal(large.splits["test"].targets, loaded.splits["test"].targets)
    # Pixel centres: output k lies at (k + 1/2) / 4 - 1/2 of the input, clamped to its rim.
    small = loaded.splits["test"].inputs[0, 0].double().numpy()
    at = np.clip((np.arange(32) + 0.5) / 4 - 0.5, 0, 7)
    low = np.minimum(np.floor(at).astype(int), 6)
    weights = np.zeros((32, 8))
    weights[np.arange(32), low] = 1 - (at - low)
    weights[np.arange(32), low + 1] = at - low
    expected = weights @ small @ weights.T
    np.testing.assert_allclose(large.splits["test"].inputs[0, 0].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("size", [7, 0, 8.0, "32"])
def test_invalid_size(size: object) -> None:
    with pytest.raises(ValueError, match="expected a size of at least 8 pixels, got"):
        datasets.load("digits", size=size)


@pytest.mark.process
def test_without_importing_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import sys; from landscape.problem.data import registry\n"
        "registry.load('digits'); print('sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
    with monkeypatch.context() as patched:
        patched.setattr(digits.Path, "is_file", lambda self: False)
        fallback = digits.load()
    assert fallback.splits["train"].digest() == datasets.load("digits").splits["train"].digest()
