"""Seeds for the random numbers of a run, each from the run's seed and its place in the run alone."""

from __future__ import annotations

import hashlib


def derive(seed: int, purpose: str, index: int) -> int:
    """A seed for one purpose at one step or epoch, so that a run can be taken up anywhere.

    Args:
        seed: the run's own seed.
        purpose: what is drawn (``"order"``, ``"dropout"``): different purposes get unrelated numbers.
        index: step or epoch.

    Returns:
        A number below 2**63, the first bytes of a SHA-256. Neighbouring seeds give unrelated numbers.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
