"""Damaged files of every kind: nothing worse than a clear error. ``scripts/fuzz`` runs as many cases as you like."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "scripts"))

from fuzzing.corpus import KINDS
from fuzzing.runner import run, summary

CASES = 42
"""Number of damaged files, two of each kind, with one command each."""


@pytest.mark.process
@pytest.mark.integration
def test_damaged_files(tmp_path):
    cases = run(tmp_path, range(CASES), per_case=1)
    faults = [f"seed {case['seed']}, {case['kind']}: {fault}" for case in cases for fault in case["faults"]]
    assert not faults, "\n".join(faults)
    assert len(cases) == CASES
    codes = [code for case in cases for code in case["codes"].values()]
    assert codes.count(1) > CASES / 4, f"hardly any damage was noticed: {summary(cases)}"
    assert {case["kind"] for case in cases} == set(KINDS)
