"""Tests of the values of the Triton kernels, which Triton's interpreter computes on the CPU."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("triton_values.py")


@pytest.mark.process
def test_kernels_compute_what_torch_computes():
    """A process of its own: Triton decides at import whether kernels are interpreted."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton isn't installed: it comes with CUDA builds of torch, or by pip install triton")
    root = SCRIPT.parents[2]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], env=environment, capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    cases = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(cases) == 24
    for case in cases:
        assert case["error"] < 1e-6, case
        assert case["same_places"], case
