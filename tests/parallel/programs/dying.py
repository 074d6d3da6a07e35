"""Collective operations, one after another, while one rank is killed at some time.

Options: ``victim`` (rank), ``seconds`` (until its death, at whatever operation that is). The others continue for some
operations. The root prints which ranks were left, and the exit code is that of :meth:`Ranks.finalize`.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time

from landscape.parallel.devices import local_ranks
from landscape.parallel.ranks import RankError, Ranks, is_collective

options = json.loads(sys.argv[1])
ranks = Ranks.join()
ranks.abort_on_uncaught_errors()
mine, texts = ranks.rank, random.Random(0)
if mine == options["victim"]:
    threading.Timer(options["seconds"], lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
before, left, end = ranks.size, 20, time.monotonic() + 100
try:
    while left:
        text = "x" * texts.randrange(3000)
        gathered = ranks.gather((mine, text))
        assert all(entry[1] == text for entry in gathered), "the values of one operation"
        assert ranks.collective(lambda text=text: len(text)) == len(text)
        here = local_ranks(ranks)
        assert (here.rank, here.size) == (ranks.rank, ranks.size)
        ranks.require_equal({"text": text})
        left = ranks.share(left - (ranks.size < before) if time.monotonic() < end else 0)
except RankError as error:
    print(f"rank {mine}: {error}, collective {is_collective(error)}", file=sys.stderr, flush=True)
    sys.exit(ranks.finalize(1))
alive = [entry[0] for entry in ranks.gather((mine, ""))]
if ranks.is_root:
    print(json.dumps({"alive": alive, "places": len(ranks.places)}), flush=True)
sys.exit(ranks.finalize(3))
