"""Collective operations and shared planes on ranks; the root prints what each rank saw as JSON.

Options: ``uncaught`` (rank with an uncaught exception), ``code`` (exit code, nothing else), ``planes`` (by name,
options of shared planes: ``scratch`` directory, number of ``hosts``, rank ``full`` whose host has no disk space).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from landscape.parallel.ranks import Ranks, is_collective

options = json.loads(sys.argv[1])
ranks = Ranks.join()
ranks.abort_on_uncaught_errors()
if options.get("uncaught") == ranks.rank:
    print(1 / 0)
if "code" in options:
    sys.exit(ranks.finalize(options["code"]))


def caught(work):
    try:
        work()
    except Exception as error:
        return f"{type(error).__name__}: {error}" if is_collective(error) else "not collective"


def fail():
    if ranks.rank == 1:
        raise ValueError("only here")


def make_plane():
    import torch

    from landscape.geometry import Direction, Plane, Weights
    from landscape.geometry.recipe import DirectionRecipe

    values = torch.arange(33, dtype=torch.float64).reshape(3, 11) / 7
    origin = Weights({"a": values.half(), "b": values * 3, "empty": torch.zeros(0), "one": torch.tensor(2.0)})
    along = origin.with_tensors({k: v * 0.1 for k, v in origin})
    return Plane(origin, (Direction(along, DirectionRecipe(kind="random", seed=4)),))


def make_on_root():
    assert ranks.is_root
    return make_plane()


def shared_plane(scratch=None, hosts=None, full=None):
    """Share a plane, and return what this rank sees of it."""
    from landscape.geometry import arena
    from landscape.parallel.devices import local_ranks
    from landscape.parallel.shared_plane import share_plane

    comm, reserve_space = ranks.comm, arena.reserve_space
    if hosts:
        ranks.comm = on_hosts(comm, hosts)
    if full == ranks.rank:
        arena.reserve_space = no_space
    try:
        shared = share_plane(ranks, make_on_root, Path(scratch) if scratch else None)
        here = local_ranks(ranks)
    finally:
        ranks.comm, arena.reserve_space = comm, reserve_space
    if ranks.is_root:
        again = make_plane()
        assert again.origin.digest() == shared.origin.digest()
        assert again.directions[0].weights.digest() == shared.directions[0].weights.digest()
    ranks.comm.Barrier()
    assert not [name for name in os.listdir(os.environ["TMPDIR"]) if "landscape" in name], "the file is unlinked"
    tensors, direction = shared.origin.tensors, shared.directions[0]
    dtypes = [str(tensors[name].dtype).removeprefix("torch.") for name in "ab"]
    plane = [direction.weights.digest(), *dtypes, direction.recipe.to_json()]
    return {"plane": plane, "local": [here.rank, here.size], "files": files_of(shared)}


def no_space(*_):
    raise OSError(28, "No space left on device")


def on_hosts(comm, hosts):
    """Return a communicator whose ranks seem to be on several hosts."""
    from mpi4py import MPI

    class Hosts(MPI.Intracomm):
        def Split_type(self, kind, key=0):
            return self.Split(self.rank % hosts, key)

    return Hosts(comm)


def files_of(shared):
    """Return access and inode of the mappings in which the tensors of a plane are."""
    found = set()
    for weights in (shared.origin, *(direction.weights for direction in shared.directions)):
        for _, tensor in weights:
            for line in Path("/proc/self/maps").read_text().splitlines() if tensor.numel() else ():
                first, last = (int(end, 16) for end in line.split()[0].split("-"))
                if first <= tensor.data_ptr() < last:
                    found.add((line.split()[1], line.split()[4]))
    return sorted(found)


mine = {
    "collective": ranks.collective(lambda: 10 * ranks.rank),
    "failed": caught(lambda: ranks.collective(fail)),
    "shared": ranks.share({"from": ranks.rank}),
    "gathered": ranks.gather(ranks.rank),
    "unequal": caught(lambda: ranks.require_equal({"seed": ranks.rank // 2, "rows": [ranks.rank // 2], "same": 1})),
    "planes": {name: shared_plane(**plane) for name, plane in options["planes"].items()},
}
everyone = ranks.comm.gather(mine)
if ranks.is_root:
    print(json.dumps(everyone), flush=True)
sys.exit(ranks.finalize(0))
