"""Checkpoints of a run at even distances."""

from __future__ import annotations

from collections.abc import Sequence


def evenly_chosen(steps: Sequence[int], count: int, kept: Sequence[int] = ()) -> list[int]:
    """Return ``count`` of the steps at even distances in their order, the first and the last among them.

    Args:
        steps: ascending steps.
        count: number of steps; all are returned if there are fewer.
        kept: steps that are chosen already, such as those of a file; further ones are the farthest from them.

    Raises:
        ValueError: ``count`` is below one.
    """
    if count < 1:
        raise ValueError(f"checkpoints: expected a positive number, got {count}")
    last = len(steps) - 1
    if not kept:
        places = {round(k * last / (count - 1)) for k in range(count)} if 1 < count <= last else {last}
        return sorted(steps[place] for place in (places if count <= last else range(last + 1)))
    chosen = [place for place, step in enumerate(steps) if step in kept]
    for _ in range(min(count, len(steps)) - len(kept)):
        chosen.append(max(range(last + 1), key=lambda place: (_distance(place, chosen), place)))
    return sorted({*kept, *(steps[place] for place in chosen)})


def _distance(place: int, others: Sequence[int]) -> int:
    return min((abs(place - other) for other in others), default=place)
