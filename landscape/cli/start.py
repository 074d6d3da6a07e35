"""The entry point of the installed command, which handles signals before the libraries of the program are loaded."""

import sys

from landscape.cli.guard import guard_start


def run() -> None:
    """Run the program with the command line of this process."""
    guard_start(sys.argv[1:])
    from landscape.cli import main

    main.run()
