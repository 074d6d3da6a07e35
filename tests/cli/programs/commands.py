"""Run command lines one after another on ranks, as the program runs one; the root prints what became of each as JSON.

Options are a list of command lines. The exit code is that of the last one, after the end that it has on ranks.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys

from mpi4py import MPI

from landscape.cli.main import main
from landscape.cli.ranks import leave

results = []
for words in json.loads(sys.argv[1]):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main(words)
    everyone = MPI.COMM_WORLD.gather((code, said.getvalue()))
    if everyone is not None:
        results.append({"code": everyone[0][0], "said": "".join(text for _, text in everyone)})
if MPI.COMM_WORLD.rank == 0:
    print(json.dumps(results), flush=True)
sys.exit(leave(code))
