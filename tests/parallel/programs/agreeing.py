"""Ranks agree, share, differ and end; the root prints what each of them saw."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from landscape.parallel.ranks import Ranks, is_collective

options = json.loads(sys.argv[1])
ranks = Ranks.join()
if options.get("uncaught") == ranks.rank:
    print(1 / 0)
if "code" in options:
    sys.exit(ranks.finalize(options["code"]))


def caught(work):
    try:
        work()
    except Exception as error:
        return f"{type(error).__name__}: {error}" if is_collective(error) else "unknown to others"


def fail():
    if ranks.rank == 1:
        raise ValueError("only here")


def plane():
    import torch

    from landscape.geometry import Direction, DirectionRecipe, Plane, Weights

    assert ranks.is_root
    values = torch.arange(33, dtype=torch.float64).reshape(3, 11) / 7
    origin = Weights({"a": values.half(), "b": values * 3, "empty": torch.zeros(0), "one": torch.tensor(2.0)})
    return Plane(
        origin, (Direction(origin.with_tensors({k: v * 0.1 for k, v in origin}), DirectionRecipe("test", seed=4)),)
    )


def seen():
    from landscape.parallel.devices import local_ranks
    from landscape.parallel.shared_plane import share_plane

    if "hosts" in options:
        ranks.comm = apart(ranks.comm)
    if options.get("full") == ranks.rank:
        from landscape.geometry import arena as room

        room.reserve = no_space
    shared = share_plane(ranks, plane, Path(options["scratch"]) if "scratch" in options else None)
    tensors = shared.origin.tensors
    if ranks.is_root:
        again = plane()
        assert again.origin.digest() == shared.origin.digest()
        assert again.directions[0].weights.digest() == shared.directions[0].weights.digest()
    ranks.comm.Barrier()
    named = [name for name in os.listdir(os.environ["TMPDIR"]) if "landscape" in name]
    assert not named, "the file that the ranks share has no name any more"
    dtypes = [str(tensors[name].dtype).removeprefix("torch.") for name in "ab"]
    here = local_ranks(ranks)
    plane_seen = [shared.directions[0].weights.digest(), *dtypes, shared.directions[0].recipe.to_json()]
    return {"planes": plane_seen, "neighbours": [here.rank, here.size], "files": files_of(shared)}


def no_space(*_):
    raise OSError(28, "No space left on device")


def apart(comm):
    """A communicator whose ranks stand on several hosts, as far as anybody can tell."""
    from mpi4py import MPI

    class Apart(MPI.Intracomm):
        def Split_type(self, kind, key=0):
            return self.Split(self.rank % options["hosts"], key)

    return Apart(comm)


def files_of(shared):
    """Of the mapping in which each of a plane's tensors lies: access and inode."""
    found = set()
    for weights in (shared.origin, *(direction.weights for direction in shared.directions)):
        for _, tensor in weights:
            for line in Path("/proc/self/maps").read_text().splitlines() if tensor.numel() else ():
                first, last = (int(end, 16) for end in line.split()[0].split("-"))
                if first <= tensor.data_ptr() < last:
                    found.add((line.split()[1], line.split()[4]))
    return sorted(found)


mine = {
    "agreed": ranks.collective(lambda: 10 * ranks.rank),
    "failed": caught(lambda: ranks.collective(fail)),
    "shared": ranks.share({"from": ranks.rank}),
    "unequal": caught(lambda: ranks.require_equal({"seed": ranks.rank // 2, "rows": [ranks.rank // 2], "same": 1})),
    **seen(),
}
everyone = ranks.comm.gather(mine)
if ranks.is_root:
    print(json.dumps({key: [each[key] for each in everyone] for key in mine}), flush=True)
