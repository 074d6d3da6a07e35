"""The scheduler: chunk sizes, retries of failed points, dead and broken ranks, and idle time."""

from __future__ import annotations

import heapq

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.parallel.scheduler import CHUNK_POINTS, CHUNK_SECONDS, Scheduler


def take_all(scheduler, rank):
    """Return all points that a rank gets at once."""
    points = []
    while chunk := scheduler.take(rank):
        points += chunk
    return points


def measured(points, ranks, seconds):
    """Return a scheduler with ``points`` left that has measured two of ``seconds`` on each rank."""
    scheduler = Scheduler(range(points + 2 * ranks), ranks)
    for _ in range(2):
        firsts = {rank: scheduler.take(rank) for rank in range(ranks)}
        for rank, chunk in firsts.items():
            scheduler.done(rank, chunk[0], seconds)
            scheduler.returned(rank, chunk[1:])
    return scheduler


def test_first_points_are_handed_out_one_by_one():
    scheduler = Scheduler([5, 3, 8, 1], 2)
    assert take_all(scheduler, 0) == [5]
    assert take_all(scheduler, 1) == [3]
    assert take_all(scheduler, 0) == []
    scheduler.done(0, 5, 10.0)
    assert take_all(scheduler, 0) == [8]
    assert (scheduler.left, scheduler.outstanding) == (3, 2)


def test_chunks_take_a_quarter_of_a_second():
    chunk = measured(100_000, 2, 0.01).take(0)
    assert len(chunk) == pytest.approx(CHUNK_SECONDS / 0.01, abs=1)


def test_slow_rank_gets_smaller_chunks():
    scheduler = Scheduler(range(100_000), 2)
    for _ in range(3):
        for rank, seconds in ((0, 0.005), (1, 0.05)):
            for point in scheduler.take(rank):
                scheduler.done(rank, point, seconds)
    assert len(scheduler.take(0)) == pytest.approx(10 * len(scheduler.take(1)), rel=0.1)


def test_warm_up_is_not_part_of_the_pace():
    scheduler = Scheduler(range(10_000), 1)
    scheduler.done(0, scheduler.take(0)[0], 30.0)
    scheduler.done(0, scheduler.take(0)[0], 0.01)
    assert len(scheduler.take(0)) == pytest.approx(25, abs=1)


def test_chunk_size_is_limited():
    assert len(measured(10**6, 2, 1e-7).take(0)) == CHUNK_POINTS


def test_chunks_shrink_towards_the_end():
    scheduler = measured(1000, 10, 1e-3)
    sizes = []
    while chunk := scheduler.take(len(sizes) % 10):
        sizes.append(len(chunk))
        for point in chunk:
            scheduler.done((len(sizes) - 1) % 10, point, 1e-3)
    assert sizes[0] == 25  # of 1,000 points for 10 ranks, half of half a fair share
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 1


def test_only_short_points_are_handed_out_ahead():
    assert len(take_all(measured(1000, 2, 0.2), 0)) == 1
    short = measured(1000, 2, 0.01)
    assert len(take_all(short, 0)) > len(measured(1000, 2, 0.01).take(0))


def test_points_that_share_a_pass_are_handed_out_together():
    wanted = [1]
    scheduler = Scheduler(range(20), 2, lambda: wanted[0])
    assert take_all(scheduler, 0) == [0]
    assert take_all(scheduler, 1) == [1]
    wanted[0] = 8
    scheduler.done(0, 0, 100.0)
    assert take_all(scheduler, 0) == list(range(2, 10))
    scheduler.done(1, 1, 100.0)
    assert take_all(scheduler, 1) == list(range(10, 15)), "no more than a fair share of what is left"


def test_failed_point_is_retried_on_another_rank():
    scheduler = Scheduler([1, 2], 2)
    assert scheduler.take(0) == [1]
    assert not scheduler.failed(0, 1)
    assert scheduler.take(0) == [2], "not to the rank it failed on"
    assert scheduler.take(1) == [1]
    assert scheduler.failed(1, 1), "the second failure is final"
    scheduler.done(0, 2, 0.1)
    assert scheduler.finished


def test_single_rank_retries_its_own_failures():
    scheduler = Scheduler([1], 1)
    scheduler.take(0)
    assert not scheduler.failed(0, 1)
    assert scheduler.take(0) == [1]
    assert scheduler.failed(0, 1)
    assert scheduler.finished


def test_broken_rank_gets_no_points():
    scheduler = Scheduler(range(100), 2)
    for _ in range(3):
        (point,) = scheduler.take(1)
        scheduler.failed(1, point)
    assert scheduler.take(1) == []
    assert scheduler.take(0)


def test_broken_rank_recovers_with_a_value():
    scheduler = measured(1000, 2, 0.01)
    held = take_all(scheduler, 1)
    for point in held[:3]:
        scheduler.failed(1, point)
    assert scheduler.take(1) == []
    scheduler.done(1, held[3], 0.01)
    for point in held[4:]:
        scheduler.done(1, point, 0.01)
    assert scheduler.take(1)


def test_all_ranks_broken():
    scheduler = Scheduler(range(20), 3)
    given_up, rank = [], 0
    for _ in range(1000):
        for point in scheduler.take(rank):
            if scheduler.failed(rank, point):
                given_up.append(point)
        rank = (rank + 1) % 3
        if scheduler.finished:
            break
    assert sorted(given_up) == list(range(20))


def test_points_of_dead_rank_are_retried_one_by_one():
    scheduler = measured(1000, 3, 0.01)
    held = take_all(scheduler, 2)
    assert len(held) > 2
    assert scheduler.lost(2) == []
    assert 2 not in scheduler
    assert scheduler.ranks == (0, 1)
    for point in sorted(held):
        assert scheduler.take(0) == [point]
        scheduler.done(0, point, 0.01)


def test_point_that_cost_two_ranks_fails():
    scheduler = Scheduler([4, 5], 3)
    scheduler.take(1)
    assert scheduler.lost(1) == []
    assert scheduler.take(2) == [4]
    assert scheduler.lost(2) == [4]
    assert scheduler.take(0) == [5]


def test_stop():
    scheduler = Scheduler(range(10), 2)
    scheduler.take(0)
    scheduler.take(1)
    scheduler.stop()
    assert scheduler.take(0) == []
    assert not scheduler.finished
    scheduler.done(0, 0, 0.1)
    scheduler.returned(1, [1])
    assert scheduler.finished
    assert scheduler.left == 9


def test_wrong_arguments():
    with pytest.raises(ValueError, match="at least one rank"):
        Scheduler([], 0)
    scheduler = Scheduler([1], 1)
    with pytest.raises(KeyError):
        scheduler.done(0, 7, 0.1)


@given(
    points=st.integers(0, 60),
    ranks=st.integers(1, 6),
    events=st.lists(st.tuples(st.integers(0, 5), st.sampled_from("ddddddffl"), st.floats(1e-6, 10)), max_size=300),
)
def test_every_point_is_done_or_failed_once(points, ranks, events):
    """Random returns, failures and deaths; then the remaining ranks finish."""
    scheduler = Scheduler(range(points), ranks)
    holding = {rank: [] for rank in range(ranks)}
    settled = []

    def hand_out():
        for rank, held in holding.items():
            held += take_all(scheduler, rank)

    def settle(rank, kind, seconds):
        held = holding[rank]
        if kind == "l" and len(holding) > 1:
            settled.extend(scheduler.lost(rank))
            del holding[rank]
        elif held:
            point = held.pop(0)
            if kind == "f":
                settled.extend([point] if scheduler.failed(rank, point) else [])
            else:
                scheduler.done(rank, point, seconds)
                settled.append(point)

    for rank, kind, seconds in events:
        hand_out()
        if rank in holding:
            settle(rank, kind, seconds)
        assert scheduler.outstanding == sum(map(len, holding.values())) == sum(scheduler.holds(r) for r in range(ranks))
    for _ in range(4 * points + 4):
        hand_out()
        assert scheduler.finished or any(holding.values()), "points are left and nobody is given any"
        for rank in list(holding):
            settle(rank, "d", 0.01)
    assert scheduler.finished
    assert sorted(settled) == list(range(points))


def simulated(costs, ranks, latency):
    """Return the idle fraction of a simulated run, with messages that take ``latency`` and one reply per chunk."""
    scheduler = Scheduler(range(len(costs)), ranks)
    queues = {rank: [] for rank in range(ranks)}
    free_at = dict.fromkeys(range(ranks), 0.0)
    clock, events = 0.0, []

    def hand_out(rank):
        while chunk := scheduler.take(rank):
            begin = max(free_at[rank], clock + latency)
            free_at[rank] = begin + costs[chunk].sum()
            heapq.heappush(events, (free_at[rank] + latency, rank, chunk))

    for rank in queues:
        hand_out(rank)
    while events:
        clock, rank, chunk = heapq.heappop(events)
        for point in chunk:
            scheduler.done(rank, point, costs[point])
        hand_out(rank)
    assert scheduler.finished
    return 1 - costs.sum() / (ranks * clock)


@pytest.mark.parametrize("ranks", [2, 4, 8])
@pytest.mark.parametrize("cost", [1e-3, 1e-2, 0.1, 10.0])
def test_idle_time_is_below_a_tenth(ranks, cost):
    costs = cost * np.random.default_rng(3).uniform(1, 10, 100 * ranks)
    assert simulated(costs, ranks, 1e-3) < 0.1


def test_success_resets_failures_in_a_row():
    scheduler = Scheduler(range(100), 2)
    for succeeds in (False, False, True, False, False):
        (point,) = scheduler.take(0)[:1]
        if succeeds:
            scheduler.done(0, point, 10.0)
        else:
            scheduler.failed(0, point)
    (point,) = scheduler.take(0)  # never three failures in a row: the rank is not broken
    scheduler.failed(0, point)
    assert scheduler.take(0) == []


def test_point_that_failed_is_alone_on_its_rank():
    """Fast points are sent ahead, but not beside one that may end its rank."""
    scheduler = Scheduler(range(400), 3)
    for rank in (0, 1, 2):
        for _ in range(3):
            for point in scheduler.take(rank):
                scheduler.done(rank, point, 1e-3)
    held = scheduler.take(1)
    assert len(held) > 1
    assert scheduler.lost(1) == []
    taken = scheduler.take(2)
    assert taken[0] in held
    assert len(taken) == 1
    assert scheduler.take(2) == []
    assert scheduler.lost(2) == taken
    rest = []
    while chunk := scheduler.take(0):
        rest += chunk
        for point in chunk:
            scheduler.done(0, point, 1e-3)
    assert set(held) - set(taken) <= set(rest)
    assert scheduler.finished
