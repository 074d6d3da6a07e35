"""Fixtures of the model tests: published reference values, and seeded initial weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

DATA = Path(__file__).parent / "data"


@pytest.fixture(autouse=True)
def _seeded():
    """Seed torch's global random state, from which initialization draws, and restore it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        yield


@pytest.fixture(scope="session")
def facts():
    """Return counts, layouts and logits of the published code by model name."""
    return {path.stem.removeprefix("li_"): json.loads(path.read_text()) for path in DATA.glob("li_*.json")}


@pytest.fixture
def published_state():
    """Return a function ``model -> (state, images)`` that draws the inputs of the reference logits, in float64."""

    def draw(model: nn.Module) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        generator = np.random.RandomState(2018)
        state = {}
        for name, tensor in model.state_dict().items():
            if name.endswith("num_batches_tracked"):
                state[name] = tensor.clone()
                continue
            z = generator.standard_normal(tuple(tensor.shape))
            if z.ndim > 1:
                z = z * np.sqrt(2 / np.prod(z.shape[1:]))
            elif name.endswith("running_var"):
                z = 1 + 0.1 * np.abs(z)
            elif name.endswith("weight"):
                z = 1 + 0.1 * z
            else:
                z = 0.1 * z
            state[name] = torch.from_numpy(z)
        return state, torch.from_numpy(generator.standard_normal((2, 3, 32, 32)))

    return draw
