"""Signals before a command has begun its work, and ranks whose launcher dies while they load."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from landscape.cli import guard

pytestmark = pytest.mark.process

PAUSING = """if True:
    import signal, sys, time
    from landscape.cli import start

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it

    class Slow:
        def find_spec(self, name, path=None, target=None):
            if name == "{module}":
                print("loading", flush=True)
                time.sleep(60)

    sys.argv = ["landscape", *{words}]
    sys.meta_path.insert(0, Slow())
    start.run()
"""


def interrupt(module, words, number, environment=None):
    """Run a command, send it a signal while it imports a module, and return its code and what it said."""
    code = PAUSING.format(module=module, words=words)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **(environment or {})},
    ) as process:  # fmt: skip
        assert process.stdout.readline() == "loading\n"
        process.send_signal(number)
        said = process.stderr.read()
    return process.returncode, said


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2"])
def test_signal_while_a_resumable_command_loads(name):
    code, said = interrupt("click", ["surface", "run"], getattr(signal, name))
    assert (code, said) == (3, f"landscape: stopped by {name}; the same command continues\n")


def test_signal_while_torch_loads():
    code, said = interrupt("torch", ["train", "--model", "mlp"], signal.SIGTERM)
    assert (code, said) == (3, "landscape: stopped by SIGTERM; the same command continues\n")


def test_ctrl_c_while_another_command_loads():
    assert interrupt("click", ["info", "run"], signal.SIGINT) == (1, "landscape: interrupted\n")
    code, said = interrupt("h5py", ["info", __file__], signal.SIGINT)
    assert code == 1
    assert said.strip().startswith("landscape: ")
    assert said.strip().count("\n") == 0


def test_signal_that_ends_another_command_loading():
    assert interrupt("click", ["plot"], signal.SIGTERM)[0] == -signal.SIGTERM


def test_ignored_signals_stay_ignored(monkeypatch):
    """``nohup`` and shells start background commands with signals that they shall ignore."""
    before = {name: signal.getsignal(getattr(signal, name)) for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2")}
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        guard.guard_start(["surface"])
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is guard._stop
        guard.loaded()
        guard.ended()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


def test_rank_ends_with_its_launcher_while_it_loads(tmp_path):
    """The launcher is killed, so it cannot tell its ranks; the rank is then the child of another process."""
    code = PAUSING.format(module="click", words=["surface", "run"])
    launcher = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"
    environment = {**os.environ, "PMI_SIZE": "2", "PMI_RANK": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", launcher], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout.readline() == "loading\n"
        rank = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
        process.kill()
        end = time.monotonic() + 30
        while Path(f"/proc/{rank}").exists():
            assert time.monotonic() < end, "the rank lives on"
            time.sleep(0.05)
