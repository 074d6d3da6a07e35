"""Signals as requests to stop: they are caught, handlers are restored, and a second Ctrl-C interrupts."""

from __future__ import annotations

import os
import signal
import threading
from types import SimpleNamespace

import pytest

from landscape.parallel import signals as stopping
from landscape.parallel.signals import SIGNALS, StopSignals


@pytest.mark.parametrize("name", SIGNALS)
def test_signal_is_caught_and_handler_restored(name):
    number = getattr(signal, name)
    before = signal.getsignal(number)
    with StopSignals() as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
        assert stop.name == name
    assert stop()
    assert signal.getsignal(number) is before


def test_second_ctrl_c_interrupts(monkeypatch):
    now = 100.0
    monkeypatch.setattr(stopping, "time", SimpleNamespace(monotonic=lambda: now))
    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        now += stopping._SAME_INTERRUPT / 2
        os.kill(os.getpid(), signal.SIGINT)  # the same one again, to the process and to its group
        assert stop()
        now += stopping._SAME_INTERRUPT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_after_another_signal():
    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.name == "SIGTERM"


def test_handlers_are_restored_after_an_error():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ZeroDivisionError), StopSignals():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGTERM) is before


def test_other_threads_catch_nothing():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def enter():
        with StopSignals() as stop:
            seen.append((stop(), signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
