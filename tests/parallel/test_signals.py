"""Signals that ask for an end: seen, undone afterwards, and the second Ctrl-C is not asked twice."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from landscape.parallel import signals as stopping
from landscape.parallel.signals import SIGNALS, StopSignals


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_is_seen_and_the_handlers_come_back(name):
    number = getattr(signal, name)
    before = signal.getsignal(number)
    with StopSignals() as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
        assert stop.name == name
    assert stop()
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_ends_at_once(monkeypatch):
    monkeypatch.setattr(stopping, "_SAME_INTERRUPT", 0.05)
    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)  # the same one again, to the process and to its group
        assert stop()
        time.sleep(0.06)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_ctrl_c_after_another_signal_is_still_the_first():
    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.name == "SIGTERM"


def test_handlers_come_back_after_an_error():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ZeroDivisionError), StopSignals():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGTERM) is before


def test_in_another_thread_it_catches_nothing():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def enter():
        with StopSignals() as stop:
            seen.append((stop(), signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
