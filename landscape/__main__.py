"""``python -m landscape`` is the program ``landscape``."""

import os
import sys

if not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:
    del sys.path[0]  # a file in the working directory, such as numpy.py, must not take the place of a library

from landscape.cli.start import run

run()
