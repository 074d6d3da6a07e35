"""The commit of a git tree, without running anything that its configuration names."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from landscape._utils.git import git_commit

pytestmark = pytest.mark.process


def git(folder: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "a.txt").write_text("a\n")
    (folder / ".gitattributes").write_text("*.txt filter=evil diff=evil merge=evil\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "x")
    return folder


def test_clean_and_dirty(tree):
    commit = git(tree, "rev-parse", "HEAD")
    assert git_commit(tree) == commit
    (tree / "new.txt").write_text("untracked")
    assert git_commit(tree) == commit
    os.utime(tree / "a.txt", (1, 1))  # another time, the same contents
    assert git_commit(tree) == commit
    (tree / "a.txt").write_text("b\n")
    (tree / "folder").mkdir()
    assert git_commit(tree / "folder") == f"{commit}-dirty"
    git(tree, "add", "a.txt")
    assert git_commit(tree) == f"{commit}-dirty"


@pytest.mark.parametrize("pack", [False, True])
def test_forms_of_a_repository(tree, tmp_path, pack):
    commit = git(tree, "rev-parse", "HEAD")
    if pack:
        git(tree, "gc", "-q")
        git(tree, "pack-refs", "--all")
    git(tree, "worktree", "add", "-q", "-b", "side", str(tmp_path / "linked"))
    assert git_commit(tmp_path / "linked") == commit
    git(tree, "checkout", "-q", "--detach")
    assert git_commit(tree) == commit
    git(tree, "checkout", "-q", "--orphan", "empty")
    assert git_commit(tree) is None
    assert git_commit(tmp_path) is None


def test_nothing_of_the_configuration_runs(tree, tmp_path):
    commit = git(tree, "rev-parse", "HEAD")
    touch = f"touch {tmp_path / 'ran'}; false"
    (tree / "evil").write_text(f"#!/bin/sh\n{touch}\n")
    (tree / "evil").chmod(0o755)
    for name in (
        "core.fsmonitor", "core.sshCommand", "core.pager", "core.editor", "diff.external", "alias.diff",
        "alias.status", "filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "diff.evil.textconv",
        "diff.evil.command", "merge.evil.driver", "credential.helper", "core.alternateRefsCommand",
    ):  # fmt: skip
        git(tree, "config", name, touch)
    (tree / "extra").write_text(f"[core]\nfsmonitor = {touch}\n")
    git(tree, "config", "include.path", "../extra")
    git(tree, "config", "core.hooksPath", str(tree))
    for hook in ("post-index-change", "fsmonitor-watchman", "post-checkout"):
        (tree / ".git" / "hooks" / hook).write_text(f"#!/bin/sh\n{touch}\n")
        (tree / ".git" / "hooks" / hook).chmod(0o755)
        (tree / hook).symlink_to("evil")
    os.utime(tree / "a.txt", (1, 1))  # git must look at the contents
    assert git_commit(tree) == commit
    (tree / "a.txt").write_text("changed\n")
    assert git_commit(tree) == f"{commit}-dirty"
    assert not (tmp_path / "ran").exists()
    subprocess.run(["git", "status"], cwd=tree, check=False, capture_output=True)
    assert (tmp_path / "ran").exists(), "the trap works"


def test_files_that_are_none(tree):
    (tree / ".git" / "HEAD").unlink()
    os.mkfifo(tree / ".git" / "HEAD")
    assert git_commit(tree) is None
