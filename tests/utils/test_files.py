"""Atomic replacement: old contents or new ones, never a part, and no temporary files left."""

from __future__ import annotations

import multiprocessing
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from landscape._utils import files
from landscape.errors import CheckpointError, StoreError
from landscape.surface import raw_files


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("exists", [False, True])
def test_replacing(tmp_path: Path, durable: bool, exists: bool) -> None:
    path = tmp_path / "a.txt"
    if exists:
        path.write_text("old")
    with files.replacing(path, durable=durable) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path
        assert path.exists() == exists
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_error_in_block_keeps_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail() -> None:
        with files.replacing(path) as temporary:
            temporary.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_temporary_name_is_hidden_and_keeps_suffix(tmp_path: Path) -> None:
    with files.replacing(tmp_path / "film.mp4", keep_suffix=True) as temporary:
        assert re.fullmatch(rf"\.film\.mp4\.{os.getpid()}-[0-9a-f]{{12}}\.part\.mp4", temporary.name)
        temporary.touch()
    first, second = (files.temporary_name(tmp_path / "a.txt").name for _ in range(2))
    assert re.fullmatch(rf"\.a\.txt\.{os.getpid()}-[0-9a-f]{{12}}\.part", first)
    assert first != second, "nobody can lay a link at a name that they don't know"
    with files.open_replacing(tmp_path / ("a" * 240)) as file:
        file.write(b"a")


def test_on_error_translates_system_errors(tmp_path: Path) -> None:
    with (
        pytest.raises(CheckpointError, match=r"cannot write .*a\.txt: No such file or directory"),
        files.open_replacing(tmp_path / "no" / "a.txt", on_error=CheckpointError),
    ):
        pass


@pytest.mark.parametrize("error", [ValueError("wrong"), RuntimeError("torch")])
def test_other_errors_pass_through(tmp_path: Path, error: Exception) -> None:
    with (
        pytest.raises(type(error), match=str(error)),
        files.open_replacing(tmp_path / "a.txt", on_error=CheckpointError),
    ):
        raise error
    assert names(tmp_path) == []


def test_system_error_behind_torch_save() -> None:
    class Full:
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

        def flush(self) -> None: ...

    with pytest.raises((RuntimeError, OSError)) as caught:
        torch.save({"a": torch.ones(1000)}, Full())
    found = files.system_error(caught.value)
    assert found is not None
    assert found.errno == 28


def test_replacing_group(tmp_path: Path) -> None:
    """The main file is moved last, directories are merged, and other files in them are kept."""
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "mine.txt").write_text("mine")
    (tmp_path / "a.html").write_text("old")
    with files.replacing_group(tmp_path / "a.html") as folder:
        (folder / "a.html").write_text("new")
        (folder / "a.png").write_text("picture")
        (folder / "parts").mkdir()
        (folder / "parts" / "0.txt").write_text("part")
        assert (tmp_path / "a.html").read_text() == "old"
    assert names(tmp_path) == ["a.html", "a.png", "parts", "parts/0.txt", "parts/mine.txt"]
    assert (tmp_path / "a.html").read_text() == "new"


def test_replacing_group_moves_main_file_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved, replace = [], os.replace
    monkeypatch.setattr(
        os, "replace", lambda source, target: (moved.append(Path(target).name), replace(source, target))
    )
    with files.replacing_group(tmp_path / "a.html") as folder:
        for name in ("z.png", "a.html", "b.png"):
            (folder / name).touch()
    assert moved == ["b.png", "z.png", "a.html"]


def test_replacing_group_without_overwrite(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_text("old")

    def write() -> None:
        with files.replacing_group(tmp_path / "a.html", overwrite=False) as folder:
            (folder / "a.html").touch()
            (folder / "b.png").touch()

    with pytest.raises(FileExistsError, match=r"b\.png exists"):
        write()
    assert names(tmp_path) == ["b.png"]


def test_remove_temporary(tmp_path: Path) -> None:
    for name in (".a.txt.77.part", ".film.mp4.77.part.mp4", "kept.part", ".hidden"):
        (tmp_path / name).touch()
    files.remove_temporary(tmp_path)
    assert names(tmp_path) == [".hidden", "kept.part"]


def test_exclusive(tmp_path: Path) -> None:
    def again() -> None:
        with files.exclusive(tmp_path, CheckpointError):
            pass

    with files.exclusive(tmp_path, CheckpointError):
        with pytest.raises(CheckpointError, match="is in use by another process"):
            again()
        with pytest.raises(CheckpointError):
            again()
    again()


@pytest.mark.process
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # with threads; since Python 3.12
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_forked_processes_share_no_lock(tmp_path: Path) -> None:
    """Workers of a loader live on for seconds after their parent is killed."""
    surface = tmp_path / "s.h5"
    surface.write_bytes(b"contents")
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    child = context.Process(target=lambda: (ready.set(), time.sleep(60)))
    try:
        with files.exclusive(tmp_path, CheckpointError):
            writer = raw_files.DatasetWriter(surface)
            child.start()
            assert ready.wait(60)
            with pytest.raises(StoreError, match="open in another process"):
                raw_files.DatasetWriter(surface)  # the child has not released it, either
            writer.close()
            raw_files.DatasetWriter(surface).close()
        with files.exclusive(tmp_path, CheckpointError):
            assert child.is_alive()
    finally:
        child.kill()
        child.join()


@pytest.mark.parametrize("write", [files.open_replacing, files.replacing_group])
@pytest.mark.parametrize("kind", ["fifo", "directory", "device", "dangling", "loop"])
def test_only_regular_files_are_replaced(tmp_path: Path, write: Callable[..., Any], kind: str) -> None:
    path = tmp_path / "out"
    make = {
        "fifo": lambda: os.mkfifo(path),
        "directory": path.mkdir,
        "device": lambda: path.symlink_to("/dev/null"),
        "dangling": lambda: path.symlink_to("nowhere"),
        "loop": lambda: path.symlink_to("out"),
    }
    make[kind]()
    before = os.lstat(path)
    with pytest.raises(FileExistsError, match=str(path)), write(path):
        pytest.fail("the block must not run")
    assert os.path.samestat(os.lstat(path), before)
    assert names(tmp_path) == ["out"]


def test_link_stays_a_link_and_its_target_is_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "folder" / "target.txt", tmp_path / "link.txt"
    target.parent.mkdir()
    target.write_text("old")
    link.symlink_to(target)
    with files.open_replacing(link) as file:
        file.write(b"new")
    with files.replacing_group(link) as folder:
        (folder / "link.txt").write_text("newer")
    assert link.is_symlink()
    assert target.read_text() == "newer"
    assert names(target.parent) == ["target.txt"]
