"""Call ``jobs.wait`` on two ranks; how this process ends is for the test to see."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from landscape.parallel.job import run_on_ranks
from landscape.parallel.signals import StopSignals

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background processes of a shell ignore it
    folder, mode = sys.argv[1:]
    if mode == "signals":
        with StopSignals() as stop:
            print(run_on_ranks("jobs:wait", {"folder": folder}, 2, stop=stop))
    else:
        try:
            print(run_on_ranks("jobs:wait", {"folder": folder}, 2))
        except KeyboardInterrupt:
            print("interrupted")
