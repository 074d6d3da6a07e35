"""The environment of a computation, and its way through JSON."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from landscape._utils.git import git_commit
from landscape._utils.provenance import Environment, now


def test_current_environment() -> None:
    found = Environment.current(("torch", "no-such-package"))
    assert found.command
    assert found.host
    assert found.packages["torch"]
    assert found.packages["no-such-package"] is None


def test_json_round_trip() -> None:
    found = Environment("landscape train", "host", "3.12", {"torch": "2.4", "vtk": None}, "abc-dirty")
    assert Environment.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert list(found.to_json()) == ["command", "host", "python", "packages", "commit"]


def test_missing_and_unknown_fields() -> None:
    assert Environment.from_json({"host": "h", "colour": "red"}) == Environment(host="h")


def test_now_is_utc_to_the_second() -> None:
    assert now().endswith("+00:00")
    assert len(now()) == 25


@pytest.mark.process
def test_git_commit(tmp_path: Path) -> None:
    assert git_commit(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run([*git, *words], check=True)
    clean = git_commit(tmp_path)
    assert clean is not None
    assert len(clean) == 40
