"""Open an exported surface in ParaView's own window, on a virtual display, and save a picture of it.

    python scripts/paraview/screenshot.py surface.vtm --out docs/images/paraview.webp

Needs `paraview python3-paraview xvfb` (Debian), and ffmpeg or `pip install imageio-ffmpeg`. The toolbars are cut off.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from landscape.render.video import find_ffmpeg

VIEW = Path(__file__).with_name("view.py")
SIZE = (1400, 1040)
TOOLBARS = 140
"""Height in pixels of menu and toolbars."""
PATIENCE = 180.0
"""Seconds to wait for the window to show the surface."""


@contextmanager
def display(size):
    """Yield the environment of a virtual display."""
    receiving, sending = os.pipe()
    screen = f"{size[0]}x{size[1]}x24"
    command = ["Xvfb", "-displayfd", str(sending), "-noreset", "-screen", "0", screen]
    server = subprocess.Popen(command, pass_fds=(sending,), stderr=subprocess.DEVNULL)
    try:
        os.close(sending)
        with os.fdopen(receiving) as answer:
            number = answer.readline().strip()
        allowed = dict.fromkeys(("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"), "1")
        # ParaView has a Python of its own.
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        yield {**kept, "DISPLAY": f":{number}", **allowed}
    finally:
        server.terminate()
        server.wait()


def grab(environment, size):
    """Return what the display shows, ``(height, width, 3)``."""
    program, geometry = find_ffmpeg(), "{}x{}".format(*size)
    if program is None:
        raise SystemExit("expected ffmpeg: pip install imageio-ffmpeg")
    source = ["-f", "x11grab", "-draw_mouse", "0", "-video_size", geometry, "-i", environment["DISPLAY"]]
    command = [program, "-loglevel", "error", *source, "-frames:v", "1", "-f", "image2pipe", "-c:v", "png", "-"]
    picture = subprocess.run(command, capture_output=True, check=True).stdout
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/images/paraview.webp"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, display(SIZE) as environment:
        home = Path(folder)
        settings = home / ".config" / "ParaView"
        settings.mkdir(parents=True)
        version = subprocess.run(["paraview", "--version"], capture_output=True, text=True, env=environment).stdout
        name = f"ParaView{version.split()[-1]}.ini"
        (settings / name).write_text("[General]\nGeneralSettings.ShowWelcomeDialog=false\n")
        environment |= {"HOME": folder}
        first = home / "view.png"
        proportions = f"{SIZE[0] - 300}x{SIZE[1] - 200}"  # about those of the view in the window
        made = subprocess.run(
            ["pvpython", VIEW, options.file.resolve(), "--out", first, "--size", proportions], env=environment
        )
        if made.returncode:
            return made.returncode
        geometry = "{}x{}+0+0".format(*SIZE)
        command = ["paraview", "-geometry", geometry, f"--state={first.with_suffix('.pvsm')}"]
        window = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            before, end = None, time.monotonic() + PATIENCE
            while True:
                time.sleep(3)
                found = grab(environment, SIZE)
                coloured = (np.ptp(found.astype(int), axis=-1) > 25).mean()
                if coloured > 0.1 and before is not None and np.array_equal(found, before):
                    break
                if time.monotonic() > end:
                    print("the window does not show the surface", file=sys.stderr)
                    return 1
                before = found
        finally:
            window.terminate()
            window.wait()
    picture = Image.fromarray(found[TOOLBARS:])
    for quality in range(90, 40, -5):
        picture.save(options.out, "WEBP", quality=quality, method=6)
        if options.out.stat().st_size <= 150_000:
            break
    print(f"{options.out}: {picture.width} x {picture.height} pixels, {options.out.stat().st_size / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
