from __future__ import annotations

import shutil
import sys

import numpy as np
import pytest
from PIL import Image, ImageSequence

from landscape.errors import LandscapeError, MissingLibraryError
from landscape.render import video
from landscape.render.video import check_video, write_video

MP4 = pytest.param("a.mp4", marks=pytest.mark.process)


def frame(k, size=(48, 30)):
    """Return a white image with a red square that moves to the right."""
    image = np.full((size[1], size[0], 4), 255, np.uint8)
    image[8:16, 4 + 4 * k : 12 + 4 * k, 1:3] = 20
    return image


def square(image):
    """Return the left border of the square."""
    return int(np.flatnonzero((np.asarray(image, int)[12, :, 0] - np.asarray(image, int)[12, :, 1]) > 100)[0])


@pytest.fixture
def mp4():
    if video.find_ffmpeg() is None:
        pytest.skip("no ffmpeg")
    return pytest.importorskip("av")


def write(path, fps, times=(1, 1, 1, 5), size=(48, 30)):
    with write_video(path, fps) as writer:
        for k, count in enumerate(times):
            writer.add(frame(k, size), count)
    return path


@pytest.mark.parametrize("fps", [10, 12.5, 30, 24])
def test_gif_frames_and_duration(tmp_path, fps):
    with Image.open(write(tmp_path / "a.gif", fps)) as moving:
        assert moving.info["loop"] == 0, "repeats forever"
        shown = [(square(f.convert("RGB")), f.info["duration"]) for f in ImageSequence.Iterator(moving)]
    assert [left for left, _ in shown] == [4, 8, 12, 16]
    assert abs(sum(duration for _, duration in shown) - 8000 / fps) <= 5
    for _, duration in shown[:3]:
        assert abs(duration - 1000 / fps) <= 10


def test_gif_palette_is_stable(tmp_path):
    shades = np.linspace(0, 255, 300 * 200).reshape(200, 300)
    ground = np.stack([shades, 255 - shades, np.full_like(shades, 90)], -1).astype(np.uint8)
    with write_video(tmp_path / "a.gif", 10) as writer:
        for k in range(5):
            image = ground.copy()
            image[5:8, 10 * k : 10 * k + 3] = (230, 20, 240)
            writer.add(image)
    with Image.open(tmp_path / "a.gif") as moving:
        shown = [np.asarray(f.convert("RGB"), int) for f in ImageSequence.Iterator(moving)]
    assert len(shown) == 5
    for k, image in enumerate(shown):
        np.testing.assert_array_equal(image[20:], shown[0][20:])
        assert np.abs(image[20:] - ground[20:]).max() < 12
        assert np.abs(image[6, 10 * k + 1] - (230, 20, 240)).max() < 12


@pytest.mark.process
@pytest.mark.parametrize("size", [(48, 30), (49, 31)])
def test_mp4_is_readable(mp4, tmp_path, size):
    with mp4.open(write(tmp_path / "a.mp4", 12.5, size=size)) as opened:
        stream = opened.streams.video[0]
        assert float(stream.average_rate) == 12.5
        assert stream.codec_context.pix_fmt == "yuv420p"
        shown = [f.to_ndarray(format="rgb24") for f in opened.decode(stream)]
    assert len(shown) == 8
    assert shown[0].shape == (size[1] + size[1] % 2, size[0] + size[0] % 2, 3)
    assert [abs(square(image) - at) <= 1 for image, at in zip(shown, [4, 8, 12, *[16] * 5], strict=True)] == [True] * 8
    assert shown[0][2, 2].min() > 248, "white stays white"
    assert shown[0][-1, -1].min() > 240, "the border of an odd size is repeated"


@pytest.mark.parametrize("name", ["a.gif", MP4])
def test_video_is_reproducible(tmp_path, name):
    if name == "a.mp4" and video.find_ffmpeg() is None:
        pytest.skip("no ffmpeg")
    assert write(tmp_path / name, 10).read_bytes() == write(tmp_path / f"again-{name}", 10).read_bytes()


def test_folder_of_frames(tmp_path):
    folder = tmp_path / "frames"
    write(folder, 10, times=(1,) * 9)
    (folder / "notes.txt").write_text("kept")
    write(folder, 10)
    names = sorted(path.name for path in folder.glob("*.png"))
    assert names == [f"frame-{k:05}.png" for k in range(8)]
    for name, at in zip(names, [4, 8, 12, *[16] * 5], strict=True):
        with Image.open(folder / name) as picture:
            assert square(picture.convert("RGB")) == at
    assert (folder / "notes.txt").exists()


@pytest.mark.parametrize("name", ["a.gif", MP4])
def test_interrupted_video_leaves_no_file(tmp_path, name):
    if name == "a.mp4" and video.find_ffmpeg() is None:
        pytest.skip("no ffmpeg")
    (tmp_path / name).write_text("the one before")

    def broken_off():
        with write_video(tmp_path / name, 10) as writer:
            writer.add(frame(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "the one before"


def test_missing_ffmpeg_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(MissingLibraryError, match=r"pip install imageio-ffmpeg.*\.gif.*directory"):
        check_video(tmp_path / "a.mp4", 25)
    check_video(tmp_path / "a.gif", 25)
    check_video(tmp_path / "a", 25)


@pytest.mark.process
def test_ffmpeg_on_path_is_preferred(tmp_path, monkeypatch):
    own = tmp_path / "ffmpeg"
    own.write_text("#!/bin/sh\necho this one cannot >&2\nexit 3\n")
    own.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert video.find_ffmpeg() == str(own)
    with pytest.raises(LandscapeError, match="failed with exit code 3: this one cannot"):
        write(tmp_path / "a.mp4", 10, size=(800, 600))
    assert not (tmp_path / "a.mp4").exists()


def test_ffmpeg_from_package(tmp_path, monkeypatch):
    package = pytest.importorskip("imageio_ffmpeg")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert video.find_ffmpeg() == package.get_ffmpeg_exe()


@pytest.mark.parametrize(
    ("name", "fps", "said"), [("a.avi", 25, "directory of frames"), ("a.gif", 60, "at most 50"), ("a", 0, "above 0")]
)
def test_video_errors(tmp_path, name, fps, said):
    with pytest.raises(ValueError, match=said), write_video(tmp_path / name, fps):
        pass
    (tmp_path / "b").write_text("a file")
    with pytest.raises(FileExistsError, match="is a file"):
        check_video(tmp_path / "b", 25)
