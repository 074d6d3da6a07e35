"""The commit of a git tree, without running anything that the tree configures.

The configuration of a repository can name programs that git runs (a file-system monitor, filters, hooks, aliases), and
a folder that somebody else packed brings its own. The commit is therefore read from the files in ``.git``. Only whether
files differ from it is a question to git, with an empty configuration in place of the repository's.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from landscape._utils.reading import read_text

_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_MAX_BYTES = 2**24
_SECONDS = 10.0


def git_commit(folder: Path) -> str | None:
    """Return the commit of the git tree around ``folder``, with ``-dirty`` if files differ; None outside a tree."""
    with suppress(OSError, ValueError):
        for tree in (folder.absolute(), *folder.absolute().parents):
            if (tree / ".git").exists():
                return _describe(tree)
    return None


def _describe(tree: Path) -> str | None:
    git = tree / ".git"
    if git.is_file():  # a linked working tree, or a submodule
        git = tree / _read(git).removeprefix("gitdir:").strip()
    common = git / _read(git / "commondir").strip() if (git / "commondir").exists() else git
    head = _read(git / "HEAD").strip()
    name = head.removeprefix("ref:").strip()
    commit = head if name == head else _resolve(name, git, common)
    if commit is None or not _HASH.fullmatch(commit):
        return None
    return commit + ("-dirty" if _is_dirty(tree, git, common, commit) else "")


def _resolve(name: str, git: Path, common: Path) -> str | None:
    """Return the commit of a branch; None if it has none yet, or is stored in a way that is not known here."""
    if ".." in name.split("/"):
        return None
    for folder in (git, common):
        if (folder / name).exists():
            return _read(folder / name).strip()
    packed = common / "packed-refs"
    lines = _read(packed).splitlines() if packed.exists() else []
    return next((line.split()[0] for line in lines if line.endswith(f" {name}")), None)


def _is_dirty(tree: Path, git: Path, common: Path, commit: str) -> bool:
    """Compare the files of a tree with a commit; False if git is missing or cannot tell."""
    index = git / "index"
    if not index.is_file():
        return False
    with tempfile.TemporaryDirectory(prefix="landscape-git-") as name:
        empty = Path(name)
        (empty / "refs").mkdir()
        (empty / "objects").mkdir()
        (empty / "HEAD").write_text(f"{commit}\n")
        kind = "" if len(commit) == 40 else "repositoryformatversion = 1\n[extensions]\nobjectformat = sha256\n"
        (empty / "config").write_text(f"[core]\nbare = false\n{kind}")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        environment |= {
            "GIT_DIR": str(empty),
            "GIT_OBJECT_DIRECTORY": str(common / "objects"),
            "GIT_INDEX_FILE": str(index),
            "GIT_WORK_TREE": str(tree),
            "GIT_OPTIONAL_LOCKS": "0",  # the index is not written
            "GIT_NO_LAZY_FETCH": "1",
        }
        command = ["git", "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all"]
        try:
            done = subprocess.run(
                command, cwd=tree, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS,
                check=False,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError):
            return False
        return done.returncode == 0 and bool(done.stdout.strip())


def _read(path: Path) -> str:
    return read_text(path, ValueError, max_bytes=_MAX_BYTES)
