"""``python -m landscape`` is the program ``landscape``."""

from landscape.cli.main import run

run()
