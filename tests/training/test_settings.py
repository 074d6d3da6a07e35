"""Training settings: JSON and validation."""

from __future__ import annotations

import json

import pytest
import torch

from landscape.training import TrainingSettings


def test_json_round_trip():
    settings = TrainingSettings(epochs=3, schedule="step", checkpoint_steps=5)
    assert TrainingSettings(**json.loads(json.dumps(settings.to_json()))) == settings


def test_bfloat16_keeps_float32_weights():
    found = {name: TrainingSettings(dtype=name).weight_dtype for name in ("float32", "bfloat16", "float64")}
    assert found == {"float32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", -1), ("epochs", 1.5), ("epochs", True), ("batch_size", 0), ("seed", -1), ("checkpoint_every", 0),
     ("checkpoint_every", None), ("checkpoint_steps", 0), ("schedule", "linear"), ("dtype", "float8"),
     ("device", "nowhere:x")],
)  # fmt: skip
def test_invalid_values(name, value):
    with pytest.raises(ValueError, match=name):
        TrainingSettings(**{name: value})
