from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import select
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest

from landscape.geometry.trajectory import Trajectory
from landscape.surface.metadata import SurfaceMetadata
from landscape.surface.surface import DONE, Surface

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    *("--headless=new", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    *("--disable-background-networking", "--disable-sync", "--disable-component-update", "--disable-quic"),
    *("--no-first-run", "--hide-scrollbars", "--window-size=840,600", "--remote-debugging-pipe"),
]


class Browser:
    """A headless Chromium, controlled through two pipes by JSON messages that end with a zero byte."""

    def __init__(self, program: str, profile: str) -> None:
        to_read, self._out = os.pipe()
        self._in, to_write = os.pipe()
        # The browser reads from descriptor 3 and writes to 4.
        script = 'exec 3<&"$1" 4>&"$2"; shift 2; exec "$@"'
        command = ["bash", "-c", script, "bash", str(to_read), str(to_write), program, *FLAGS]
        self._process = subprocess.Popen(
            [*command, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(to_read, to_write), start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_read)
        os.close(to_write)
        self._buffer, self._count, self.events = b"", 0, []

    def call(self, method: str, session: str | None = None, **params):
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + 60
        while True:
            answer = self._message(deadline)
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _message(self, deadline: float):
        while b"\0" not in self._buffer:
            assert select.select([self._in], [], [], max(0, deadline - time.monotonic()))[0], "no answer for a minute"
            part = os.read(self._in, 1 << 20)
            assert part, "the browser exited"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def close(self):
        with contextlib.suppress(Exception):
            self.call("Browser.close")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._in)
        os.close(self._out)


DRAWN = "document.documentElement.dataset.drawn >= 1 && views.every((view) => view.spots)"
"""A page whose window has no size yet counts as drawn, but has nothing on it."""


class Tab:
    """A page in a browser."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params):
        return self._browser.call(method, self._session, **params)

    @property
    def events(self):
        return [event for event in self._browser.events if event.get("sessionId") == self._session]

    def open(self, path, drawn: str = DRAWN) -> None:
        """Open a file, and wait until the page is drawn."""
        self.call("Page.navigate", url=path.as_uri())
        self.wait(f"document.readyState === 'complete' && {drawn}")

    def resize(self, width: int, height: int, scheme: str = "light") -> None:
        """Set the size of the window and the preferred colour scheme, and wait until the page is drawn."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.settle()

    def settle(self) -> None:
        """Wait for the next pictures, of which an observer of sizes may request one."""
        frames = "".join("await new Promise(requestAnimationFrame);" for _ in range(4))
        # Reading a pixel waits for the renderer, which may be behind.
        canvases = "(typeof views === 'undefined' ? [] : views)"  # a page of curves has none
        read = f"for (const {{ canvas }} of {canvases}) canvas.getContext('2d').getImageData(0, 0, 1, 1);"
        self.run(f"(async () => {{ {frames} {read} }})()")

    def run(self, script: str):
        """Return the value of a script; promises are awaited."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, condition: str):
        deadline = time.monotonic() + 60
        while not self.run(condition):
            assert time.monotonic() < deadline, f"never true: {condition}"
            time.sleep(0.05)

    def mouse(self, kind: str, x: float, y: float, **more):
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def press(self, key: str):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key)
        self.settle()

    def act(self, script: str):
        """Run a script on the page and wait until everything is drawn."""
        self.run(f"{{ {script} }}")
        self.settle()

    def choose(self, control: str, value, event: str = "change"):
        kind = "checked" if isinstance(value, bool) else "value"
        self.act(f"const e = element({json.dumps(control)}); e.{kind} = {json.dumps(value)};"
                 f"e.dispatchEvent(new Event('{event}', {{bubbles: true}}))")  # fmt: skip

    def picture(self) -> np.ndarray:
        """Return the whole page as an image ``(height, width, 3)`` from 0 to 1."""
        from matplotlib.image import imread

        size = self.run("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1}
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
        return imread(io.BytesIO(base64.b64decode(data)))[..., :3]


MARKS = {"needs_gl": pytest.mark.rendering, "open_page": pytest.mark.browser}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark tests by the fixtures that they use."""
    for item in items:
        for fixture, mark in MARKS.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(mark)


@pytest.fixture(scope="session")
def needs_gl():
    """Skip tests that render where VTK finds no OpenGL library."""
    from landscape.render.scenes.offscreen import can_draw

    if not can_draw():
        pytest.skip("no OpenGL library (EGL or OSMesa) to draw with")


@pytest.fixture
def slope():
    """Return a function that makes a surface with log10 loss ``1 + 2 x - y`` on a non-square, asymmetric grid."""

    def build(nx: int = 9, ny: int = 6, x=(-0.5, 1.5), y=(0.0, 1.0), name: str = "") -> Surface:
        xs, ys = np.linspace(*x, nx), np.linspace(*y, ny)
        loss = 10 ** (1 + 2 * xs[None, :] - ys[:, None])
        number = np.arange(nx * ny, dtype=np.float64).reshape(ny, nx)
        values = {"train_loss": loss, "train_acc": 100 - number, "train_loss_stderr": loss / 10}
        metadata = SurfaceMetadata(other={"model": "mlp"})
        return Surface((xs, ys), values, np.full((ny, nx), DONE, np.uint8), metadata, name)

    return build


@pytest.fixture
def walk():
    """Return a function that makes a trajectory through given points."""

    def build(points, name: str = "run", loss=None) -> Trajectory:
        points = np.asarray(points, np.float64)
        n = len(points)
        return Trajectory(
            name=name,
            step=10 * np.arange(n, dtype=np.int64),
            epoch=np.arange(n) / 4,
            coordinates=points,
            distance=np.linspace(3, 1, n),
            displacement=np.linspace(5, 0, n),
            loss=np.linspace(2, 1, n) if loss is None else np.asarray(loss, np.float64),
            surface_loss=np.full(n, np.nan),
            learning_rate=np.full(n, 0.1),
        )

    return build


@pytest.fixture(scope="session")
def open_page(tmp_path_factory):
    """Return a function that opens a page in a new tab and returns the tab once the page is drawn."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    browser = Browser(program, str(tmp_path_factory.mktemp("profile")))

    def open_page(path, drawn: str = DRAWN) -> Tab:
        tab = Tab(browser)
        tab.open(path, drawn)
        return tab

    with contextlib.closing(browser):
        yield open_page


@pytest.fixture(scope="session")
def paraview():
    """Return a function that runs a script in ParaView; any output on standard error is a failure."""
    if not (shutil.which("pvpython") and shutil.which("xvfb-run")):
        pytest.skip("no ParaView: pvpython and xvfb-run are needed (Debian: paraview python3-paraview xvfb)")

    def run(*arguments, program="pvpython", **environment):
        done = subprocess.run(
            # Without -noreset the display resets when its last client exits, and may refuse the next one meanwhile.
            ["xvfb-run", "-a", "-s", "-noreset -screen 0 1280x1024x24", program, *map(str, arguments)],
            capture_output=True, text=True, timeout=200, check=False,
            env={**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", **environment},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        assert not done.stderr.strip()
        assert "warn" not in done.stdout.lower()
        return done.stdout

    return run
