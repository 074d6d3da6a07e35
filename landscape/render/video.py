"""Pictures one after the other into a file: GIF by Pillow, MP4 by ffmpeg, or a folder of PNG."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from landscape.errors import LandscapeError, MissingLibraryError

SUFFIXES = (".gif", ".mp4")
"""Endings of films; a name without an ending is a folder of pictures."""
FASTEST_GIF = 50.0
"""Pictures a second; viewers slow down faster ones."""
_COLOURS = 256
_FRAME = "frame-{:05}.png"
_NO_FFMPEG = (
    "{name}: an MP4 needs ffmpeg, which is not there. Install it (Debian/Ubuntu `apt install ffmpeg`, conda "
    "`conda install ffmpeg`, or with pip alone `pip install imageio-ffmpeg`), or take a name that ends in .gif, or one "
    "without an ending for a folder of pictures: these need nothing"
)


class Writer(Protocol):
    """Takes the pictures of a film."""

    def add(self, image: np.ndarray, times: int = 1) -> None:
        """Show ``image`` (``(height, width, 3 or 4)`` uint8) for as many frames."""


def check_video(path: str | os.PathLike[str], fps: float) -> None:
    """Refuse what :func:`film` cannot write, before anything is drawn.

    Raises:
        ValueError: an unknown ending, or a rate that is not above zero or too high for a GIF.
        MissingLibraryError: an MP4, and no ffmpeg.
        FileExistsError: a folder of pictures, and a file of that name is there.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (*SUFFIXES, ""):
        raise ValueError(
            f"cannot write {path.name!r}: a name that ends in {' or '.join(SUFFIXES)}, or one without an ending "
            "(a folder of pictures) expected"
        )
    if not 0 < fps < float("inf"):
        raise ValueError(f"pictures a second above 0 expected, got {fps:g}")
    if suffix == ".gif" and fps > FASTEST_GIF:
        raise ValueError(f"a GIF shows at most {FASTEST_GIF:g} pictures a second, got {fps:g}")
    if suffix == ".mp4" and ffmpeg() is None:
        raise MissingLibraryError(_NO_FFMPEG.format(name=path.name))
    if suffix == "" and path.exists() and not path.is_dir():
        raise FileExistsError(f"{path} is a file: the name of a folder expected, or one that ends in .gif or .mp4")


@contextlib.contextmanager
def write_video(path: str | os.PathLike[str], fps: float) -> Iterator[Writer]:
    """A writer for the pictures of a film of ``fps`` frames a second.

    A file is made beside its place and moved there when complete, so that there is never half of one; in a folder
    the pictures of an earlier film are replaced.

    Raises:
        ValueError, MissingLibraryError, FileExistsError: as :func:`check_film`.
        LandscapeError: ffmpeg failed; with its own words.
        OSError: it cannot be written.
    """
    check_video(path, fps)
    path = Path(path)
    if not path.suffix:
        yield _Folder(path)
        return
    part = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    writer = _Gif(fps) if path.suffix.lower() == ".gif" else _Mp4(part, fps)
    try:
        yield writer
        writer.finish(part)
        os.replace(part, path)
    finally:
        writer.close()
        part.unlink(missing_ok=True)


def ffmpeg() -> str | None:
    """The program: that on the path, else that of the package ``imageio-ffmpeg``; None where there is neither."""
    found = shutil.which("ffmpeg")
    if found:
        return found
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        return None


class _Folder:
    def __init__(self, path: Path) -> None:
        self._path, self._count = path, 0
        path.mkdir(parents=True, exist_ok=True)
        for old in path.glob("frame-[0-9]*.png"):
            old.unlink()

    def add(self, image: np.ndarray, times: int = 1) -> None:
        first = self._path / _FRAME.format(self._count)
        Image.fromarray(image).save(first, "PNG")
        for k in range(1, times):
            shutil.copyfile(first, self._path / _FRAME.format(self._count + k))
        self._count += times


class _Gif:
    """All frames share one palette and none is dithered: what stands still then stays the same to the pixel."""

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._frames: list[bytes] = []
        self._times: list[int] = []

    def add(self, image: np.ndarray, times: int = 1) -> None:
        # Kept packed until the palette is known: hundreds of frames would not fit into memory.
        packed = io.BytesIO()
        Image.fromarray(image[..., :3]).save(packed, "PNG", compress_level=1)
        self._frames.append(packed.getvalue())
        self._times.append(times)

    def finish(self, part: Path) -> None:
        chosen = np.unique(np.linspace(0, len(self._frames) - 1, 6).round().astype(int))
        palette = _palette([Image.open(io.BytesIO(self._frames[k])) for k in chosen])
        first, *others = (
            Image.open(io.BytesIO(frame)).quantize(palette=palette, dither=Image.Dither.NONE) for frame in self._frames
        )
        # In hundredths of a second, rounded such that they add up to the film's length.
        ends = np.round(100 * np.cumsum(self._times) / self._fps)
        durations = [10 * int(d) for d in np.diff(ends, prepend=0)]
        first.save(part, "GIF", save_all=True, append_images=others, duration=durations, loop=0, optimize=False)

    def close(self) -> None:
        self._frames = []


class _Mp4:
    """H.264 in the pixel format that every player knows; frames are handed over raw."""

    def __init__(self, part: Path, fps: float) -> None:
        self._part, self._fps = part, fps
        self._process: subprocess.Popen[bytes] | None = None
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the writer

    def add(self, image: np.ndarray, times: int = 1) -> None:
        # Half as many samples of colour each way: width and height have to be even.
        odd = [(0, n % 2) for n in image.shape[:2]]
        pixels = np.ascontiguousarray(np.pad(image[..., :3], [*odd, (0, 0)], mode="edge"))
        if self._process is None:
            self._process = self._start(pixels.shape[1], pixels.shape[0])
        data = pixels.tobytes()
        for _ in range(times):
            try:
                self._process.stdin.write(data)
            except BrokenPipeError:
                self._fail()

    def finish(self, part: Path) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        if self._process.wait():
            self._fail()

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
            self._process.wait()
        self._said.close()

    def _start(self, width: int, height: int) -> subprocess.Popen[bytes]:
        raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{self._fps:.12g}", "-i", "-"]
        # Told apart from the old television's, or players guess other colours than were drawn.
        colour = ["-vf", "scale=out_color_matrix=bt709:out_range=tv", "-colorspace", "bt709", "-color_range", "tv"]
        colour += ["-color_primaries", "bt709", "-color_trc", "bt709"]
        coding = ["-an", "-c:v", "libx264", "-preset", "medium", "-crf", "17", "-pix_fmt", "yuv420p"]
        # No dates and versions: the same pictures give the same bytes.
        plain = ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-movflags", "+faststart", "-f", "mp4"]
        return subprocess.Popen(
            [ffmpeg(), "-y", "-v", "error", *raw, *colour, *coding, *plain, os.fspath(self._part)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
        )

    def _fail(self) -> None:
        self._process.wait()
        self._said.seek(0)
        said = " ".join(self._said.read().decode(errors="replace").split())[-400:]
        raise LandscapeError(
            f"ffmpeg ended with {self._process.returncode}: {said or 'it said nothing'}. A name that ends in .gif, or "
            "one without an ending (a folder of pictures), works without it"
        )


def _palette(frames: list[Image.Image]) -> Image.Image:
    """Colours for a film, from a few of its frames.

    Colours count by the root of their number: the background would take most of the palette, and a path get none.
    """
    seen = np.concatenate([np.asarray(frame).reshape(-1, 3) for frame in frames])
    coarse = (seen >> 3).astype(np.int64) @ np.array([1024, 32, 1])
    _, group, counts = np.unique(coarse, return_inverse=True, return_counts=True)
    mean = np.stack([np.bincount(group, seen[:, k]) for k in range(3)], -1) / counts[:, None]
    sample = np.repeat(np.round(mean).astype(np.uint8), np.ceil(counts**0.5).astype(int), axis=0)
    return Image.fromarray(sample[None]).quantize(_COLOURS, method=Image.Quantize.MEDIANCUT, kmeans=2)
