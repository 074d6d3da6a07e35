"""What all tests share: one thread, and patience with a busy machine."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import HealthCheck, settings

# The same examples each time: who changes one thing is not to be told of another. New ones are searched for by
# `pytest --hypothesis-profile=searching`, and what they find is kept as an example.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("searching", patient)
settings.register_profile("patient", patient, derandomize=True)
settings.load_profile("patient")

# Commands run in the process of the test; tests of several ranks ask for them.
os.environ["LANDSCAPE_RANKS"] = "1"


@pytest.fixture(autouse=True)
def _one_thread():
    """Points and tests are small: a second thread costs more than it brings, and may change last bits."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
