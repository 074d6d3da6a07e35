"""Text by character: windows, vocabulary and invalid files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from landscape.errors import DataError
from landscape.problem.data import registry as datasets


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "poem.txt"
    path.write_bytes(("Ünd so weiter, 𝄞 ab\n" * 12 + "xyz").encode())
    return path


def test_windows_by_hand(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    table = {character: number for number, character in enumerate(sorted(set(text)))}
    loaded = datasets.load("text", data=str(file), context=7)
    assert dict(loaded.model_hints) == {"vocabulary": len(table), "context": 7}
    cut = len(text) - len(text) // 10
    for name, part in (("train", text[:cut]), ("test", text[cut:])):
        split = loaded.splits[name]
        windows = [part[k : k + 8] for k in range(0, len(part), 7) if len(part[k : k + 8]) == 8]
        assert split.inputs.tolist() == [[table[c] for c in window[:-1]] for window in windows]
        assert split.targets.tolist() == [[table[c] for c in window[1:]] for window in windows]
        assert split.inputs.dtype == split.targets.dtype == torch.int64


def test_line_ends_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "dos.txt"
    path.write_bytes(b"ab\r\n" * 20)
    assert datasets.load("text", data=path, context=4).model_hints["vocabulary"] == 4


def test_samples_and_split(file: Path) -> None:
    loaded = datasets.load("text", data=file, context=5, samples=3, splits=["train"])
    assert list(loaded.splits) == ["train"]
    assert loaded.splits["train"].inputs.shape == (3, 5)


def test_last_window(tmp_path: Path) -> None:
    path = tmp_path / "exact.txt"
    path.write_text("ab" * 45 + "abcdefghij")
    test = datasets.load("text", data=path, context=9).splits["test"]
    assert len(test) == 1
    assert test.targets[0, -1] == 9


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "training part: expected at least 5 characters for a context of 4, got 0"),
        (b"abcdefghijkl" * 3, "last tenth: expected at least 5 characters for a context of 4, got 3"),
        (b"abc\xff" * 30, "is not UTF-8: invalid byte at 3"),
    ],
)
def test_invalid_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        datasets.load("text", data=path, context=4)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="data=FILE"):
        datasets.load("text")
    with pytest.raises(DataError, match=r"none\.txt: no such file"):
        datasets.load("text", data=tmp_path / "none.txt")


@pytest.mark.parametrize("context", [0, 1.5, "64"])
def test_invalid_context(file: Path, context: object) -> None:
    with pytest.raises(ValueError, match="expected a context of at least 1 character, got"):
        datasets.load("text", data=file, context=context)
