"""Video files from frames: GIF (with Pillow), MP4 (with ffmpeg), or a directory of PNG files."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn, Protocol

import numpy as np
from PIL import Image

from landscape._utils.files import replacing
from landscape.errors import LandscapeError, MissingLibraryError

SUFFIXES = (".gif", ".mp4")
"""Suffixes of video files; a name without a suffix is a directory of frames."""
MAX_GIF_FPS = 50.0
"""Highest frame rate of a GIF: viewers slow down faster ones."""
_GIF_COLOURS = 256
_FRAME_NAME = "frame-{:05}.png"
_NO_FFMPEG = (
    "{name}: MP4 needs ffmpeg, which is not installed. Install it (Debian/Ubuntu `apt install ffmpeg`, conda "
    "`conda install ffmpeg`, or with pip alone `pip install imageio-ffmpeg`), or use a name that ends in .gif, or one "
    "without a suffix for a directory of frames, which need no other program"
)


class VideoWriter(Protocol):
    """Receives the frames of a video."""

    def add(self, image: np.ndarray, repeat: int = 1) -> None:
        """Show ``image`` (``(height, width, 3 or 4)`` uint8) for ``repeat`` frames."""


class _FileWriter(VideoWriter, Protocol):
    def finish(self, path: Path) -> None:
        """Complete the file ``path``."""

    def close(self) -> None:
        """Release all resources, also after an error."""


def check_video(path: str | os.PathLike[str], fps: float) -> None:
    """Raise an error for a video that :func:`write_video` cannot write, before anything is drawn.

    Raises:
        ValueError: an unknown suffix, or a frame rate that is not above zero or too high for a GIF.
        MissingLibraryError: an MP4 without ffmpeg.
        FileExistsError: a directory of frames with the name of an existing file.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (*SUFFIXES, ""):
        raise ValueError(
            f"cannot write {path.name!r}: expected a name that ends in {' or '.join(SUFFIXES)}, or one without a "
            "suffix (a directory of frames)"
        )
    if not 0 < fps < float("inf"):
        raise ValueError(f"fps: expected a number of frames per second above 0, got {fps:g}")
    if suffix == ".gif" and fps > MAX_GIF_FPS:
        raise ValueError(f"fps: expected at most {MAX_GIF_FPS:g} frames per second for a GIF, got {fps:g}")
    if suffix == ".mp4" and find_ffmpeg() is None:
        raise MissingLibraryError(_NO_FFMPEG.format(name=path.name))
    if suffix == "" and path.exists() and not path.is_dir():
        raise FileExistsError(f"{path} is a file: expected the name of a directory, or one that ends in .gif or .mp4")


@contextlib.contextmanager
def write_video(path: str | os.PathLike[str], fps: float) -> Iterator[VideoWriter]:
    """Yield a writer for the frames of a video of ``fps`` frames per second.

    A file is replaced in one step when it is complete. In a directory the frames of an earlier video are replaced.

    Raises:
        ValueError, MissingLibraryError, FileExistsError: as in :func:`check_video`.
        LandscapeError: ffmpeg failed; the message contains its output.
        OSError: the file cannot be written.
    """
    check_video(path, fps)
    path = Path(path)
    if not path.suffix:
        yield _Folder(path)
        return
    with replacing(path, keep_suffix=True) as temporary:
        writer: _FileWriter = _Gif(fps) if path.suffix.lower() == ".gif" else _Mp4(temporary, fps)
        try:
            yield writer
            writer.finish(temporary)
        finally:
            writer.close()


def find_ffmpeg() -> str | None:
    """Return the path of ffmpeg, or of the one in the package ``imageio-ffmpeg``; None if there is neither."""
    found = shutil.which("ffmpeg")
    if found:
        return found
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return str(get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        return None


class _Folder:
    def __init__(self, path: Path) -> None:
        self._path, self._count = path, 0
        path.mkdir(parents=True, exist_ok=True)
        for old in path.glob("frame-[0-9]*.png"):
            old.unlink()

    def add(self, image: np.ndarray, repeat: int = 1) -> None:
        first = self._path / _FRAME_NAME.format(self._count)
        Image.fromarray(image).save(first, "PNG")
        for k in range(1, repeat):
            shutil.copyfile(first, self._path / _FRAME_NAME.format(self._count + k))
        self._count += repeat


class _Gif:
    """GIF writer: one palette for all frames and no dithering, so that static parts don't flicker."""

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._frames: list[bytes] = []
        self._repeats: list[int] = []

    def add(self, image: np.ndarray, repeat: int = 1) -> None:
        # Compressed until the palette is known, because hundreds of frames would not fit into memory.
        compressed = io.BytesIO()
        Image.fromarray(image[..., :3]).save(compressed, "PNG", compress_level=1)
        self._frames.append(compressed.getvalue())
        self._repeats.append(repeat)

    def finish(self, path: Path) -> None:
        samples = np.unique(np.linspace(0, len(self._frames) - 1, 6).round().astype(int))
        palette = _palette([Image.open(io.BytesIO(self._frames[k])) for k in samples])
        first, *others = (
            Image.open(io.BytesIO(frame)).quantize(palette=palette, dither=Image.Dither.NONE) for frame in self._frames
        )
        # In hundredths of a second, rounded so that they add up to the duration of the video.
        ends = np.round(100 * np.cumsum(self._repeats) / self._fps)
        durations = [10 * int(d) for d in np.diff(ends, prepend=0)]
        first.save(path, "GIF", save_all=True, append_images=others, duration=durations, loop=0, optimize=False)

    def close(self) -> None:
        self._frames = []


class _Mp4:
    """MP4 writer: H.264 in the pixel format that every player supports; ffmpeg receives raw frames."""

    def __init__(self, path: Path, fps: float) -> None:
        self._path, self._fps = path, fps
        self._process: subprocess.Popen[bytes] | None = None
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the writer

    def add(self, image: np.ndarray, repeat: int = 1) -> None:
        # Chroma has half the resolution, so width and height must be even.
        odd = [(0, n % 2) for n in image.shape[:2]]
        pixels = np.ascontiguousarray(np.pad(image[..., :3], [*odd, (0, 0)], mode="edge"))
        if self._process is None:
            self._process = self._start(pixels.shape[1], pixels.shape[0])
        data = pixels.tobytes()
        for _ in range(repeat):
            try:
                if self._process.stdin is not None:
                    self._process.stdin.write(data)
            except BrokenPipeError:
                self._fail(self._process)

    def finish(self, path: Path) -> None:
        process = self._process
        if process is None:
            raise ValueError("expected at least one frame, got none")
        self._close_input(process)
        if process.wait():
            self._fail(process)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._close_input(self._process)
            self._process.wait()
        self._messages.close()

    def _start(self, width: int, height: int) -> subprocess.Popen[bytes]:
        ffmpeg = find_ffmpeg()
        if ffmpeg is None:
            raise MissingLibraryError(_NO_FFMPEG.format(name=self._path.name))
        raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{self._fps:.12g}", "-i", "-"]
        # Without a declared colour space players assume that of standard-definition television and shift the colours.
        colour = ["-vf", "scale=out_color_matrix=bt709:out_range=tv", "-colorspace", "bt709", "-color_range", "tv"]
        colour += ["-color_primaries", "bt709", "-color_trc", "bt709"]
        coding = ["-an", "-c:v", "libx264", "-preset", "medium", "-crf", "17", "-pix_fmt", "yuv420p"]
        # Without dates and versions the same frames give the same bytes.
        reproducible = ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-movflags", "+faststart", "-f", "mp4"]
        return subprocess.Popen(
            [ffmpeg, "-y", "-v", "error", *raw, *colour, *coding, *reproducible, os.fspath(self._path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._messages,
        )

    @staticmethod
    def _close_input(process: subprocess.Popen[bytes]) -> None:
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()

    def _fail(self, process: subprocess.Popen[bytes]) -> NoReturn:
        process.wait()
        self._messages.seek(0)
        message = " ".join(self._messages.read().decode(errors="replace").split())[-400:]
        raise LandscapeError(
            f"ffmpeg failed with exit code {process.returncode}: {message or 'no message'}. A name that ends in .gif, "
            "or one without a suffix (a directory of frames), works without ffmpeg"
        )


def _palette(frames: list[Image.Image]) -> Image.Image:
    """Return a palette for a video from a few of its frames.

    Colours are weighted by the square root of their number of pixels: otherwise the background would take most of the
    palette, and thin paths would get no colour of their own.
    """
    pixels = np.concatenate([np.asarray(frame).reshape(-1, 3) for frame in frames])
    coarse = (pixels >> 3).astype(np.int64) @ np.array([1024, 32, 1])
    _, group, counts = np.unique(coarse, return_inverse=True, return_counts=True)
    mean = np.stack([np.bincount(group, pixels[:, k]) for k in range(3)], -1) / counts[:, None]
    sample = np.repeat(np.round(mean).astype(np.uint8), np.ceil(counts**0.5).astype(int), axis=0)
    return Image.fromarray(sample[None]).quantize(_GIF_COLOURS, method=Image.Quantize.MEDIANCUT, kmeans=2)
