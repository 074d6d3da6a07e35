"""Write points to a surface file, print the flushed ones, and stop at a limit of the file size.

python writing.py PATH [LIMIT_AT_START LIMIT_AFTER]: largest size of a file in bytes, when it is created and afterwards.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import numpy as np

from landscape.errors import StoreError
from landscape.surface import FileStore
from landscape.surface.metadata import Header

header = Header((np.arange(40.0), np.arange(30.0)), ("train_loss", "train_acc"))


def limit(size):
    if size >= 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def main(path, at_start=-1, after=-1):
    limit(at_start)
    with FileStore.open(path, header) as store:
        limit(after)
        for index in store.pending():
            store.record(index, [index, -index], 0.1)
            if index % 7 == 0:
                store.flush()
                print(index, flush=True)


try:
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
except StoreError as error:
    print(error, flush=True)
    sys.exit(1)
