"""Ranks that hang: their points go to others, they are named, and the job ends without them; or they come back."""

from __future__ import annotations

from pathlib import Path

import pytest

from landscape.parallel.hangs import Patience, Watch
from landscape.parallel.scheduler import Scheduler

PROGRAM = Path(__file__).with_name("programs") / "executing.py"


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def pass_time(watch, clock, seconds, alive=()):
    """Let time pass in small steps, in which some ranks send heartbeats."""
    for _ in range(round(seconds / 0.5)):
        clock.now += 0.5
        watch.look()
        for rank in alive:
            watch.heard(rank, False)


def test_silent_rank_hangs(clock):
    watch = Watch(range(3), Patience(), clock)
    pass_time(watch, clock, 59, alive=[2])
    assert not watch.hangs(1, True)
    pass_time(watch, clock, 2, alive=[2])
    assert watch.hangs(1, False) == "has been silent for 61 s"
    assert not watch.hangs(2, True)
    assert not watch.hangs(0, True), "the root sends no heartbeats to itself"
    watch.heard(1, False)
    assert not watch.hangs(1, True)


def test_root_that_was_stopped_itself_blames_nobody(clock):
    watch = Watch(range(2), Patience(), clock)
    clock.now += 3600
    watch.look()
    assert not watch.hangs(1, True)


def test_long_points_do_not_hang(clock):
    watch = Watch(range(2), Patience(), clock)
    assert not watch.hangs(1, True)
    pass_time(watch, clock, 5000, alive=[1])
    assert not watch.hangs(1, True), "nobody knows how long a point takes"
    watch.heard(1, True)
    pass_time(watch, clock, 20 * 4999, alive=[1])
    assert not watch.hangs(1, True)
    pass_time(watch, clock, 10_000, alive=[1])
    assert watch.hangs(1, True).startswith("has computed nothing for 109")


def test_short_points_that_stall(clock):
    watch = Watch(range(2), Patience(), clock)
    for rank in (0, 1):
        assert not watch.hangs(rank, True)
        pass_time(watch, clock, 1, alive=[1])
        watch.heard(rank, True)
    pass_time(watch, clock, 590, alive=[1])
    assert not watch.hangs(0, True)
    pass_time(watch, clock, 20, alive=[1])
    assert watch.hangs(0, True)
    assert watch.hangs(1, True)
    assert not watch.hangs(1, False), "a rank without points waits"
    assert not watch.hangs(1, True), "the time begins with its next points"


def test_patience_from_environment(monkeypatch):
    monkeypatch.setenv("LANDSCAPE_SILENCE", "6")
    assert Patience.from_environment() == Patience(6, 60)
    assert Patience.from_environment().heartbeat == 1
    monkeypatch.setenv("LANDSCAPE_SILENCE", "0")
    assert Patience.from_environment().silence == float("inf")
    for wrong in ("soon", "-1", "nan"):
        monkeypatch.setenv("LANDSCAPE_SILENCE", wrong)
        with pytest.raises(ValueError, match="LANDSCAPE_SILENCE"):
            Patience.from_environment()


def take(scheduler, rank):
    (point,) = scheduler.take(rank)
    return point


def test_point_of_a_suspended_rank_is_handed_out_again():
    scheduler = Scheduler(range(3), 2)
    assert [take(scheduler, 0), take(scheduler, 1)] == [0, 1]
    assert scheduler.suspend(1) == []
    assert scheduler.take(1) == []
    scheduler.done(0, 0, 1.0)
    assert take(scheduler, 0) == 1
    assert scheduler.accepts(0, 1, True)
    scheduler.done(0, 1, 1.0)
    assert not scheduler.accepts(1, 1, True), "the late result is ignored"
    scheduler.done(0, take(scheduler, 0), 1.0)
    assert scheduler.finished
    assert scheduler.suspended == (1,)


def test_late_result_counts_while_the_point_waits():
    scheduler = Scheduler(range(2), 2)
    assert [take(scheduler, 0), take(scheduler, 1)] == [0, 1]
    scheduler.suspend(1)
    scheduler.resume(1)
    assert scheduler.accepts(1, 1, True)
    scheduler.done(1, 1, 1.0)
    scheduler.done(0, 0, 1.0)
    assert scheduler.finished


def test_first_of_two_results_counts():
    scheduler = Scheduler(range(2), 2)
    assert [take(scheduler, 0), take(scheduler, 1)] == [0, 1]
    scheduler.suspend(1)
    scheduler.done(0, 0, 1.0)
    assert take(scheduler, 0) == 1
    scheduler.resume(1)
    assert not scheduler.accepts(1, 1, False), "a late failure leaves the point to the other rank"
    assert scheduler.accepts(1, 1, True)
    scheduler.done(1, 1, 1.0)
    assert scheduler.finished
    assert not scheduler.accepts(0, 1, True)
    assert not scheduler.accepts(0, 1, False)


def test_point_that_hangs_two_ranks_fails():
    scheduler = Scheduler(range(2), 3)
    assert [take(scheduler, 0), take(scheduler, 1)] == [0, 1]
    assert scheduler.suspend(1) == []
    assert take(scheduler, 2) == 1
    assert scheduler.suspend(2) == [1]
    scheduler.done(0, 0, 1.0)
    assert scheduler.finished


def test_death_after_a_suspension():
    scheduler = Scheduler(range(3), 3)
    assert [take(scheduler, 0), take(scheduler, 1), take(scheduler, 2)] == [0, 1, 2]
    scheduler.suspend(1)
    assert scheduler.lost(1) == []
    assert scheduler.suspended == ()
    assert take(scheduler, 0) == 1 if not scheduler.holds(0) else True
    scheduler.done(0, 0, 1.0)
    assert take(scheduler, 0) == 1
    assert scheduler.lost(2) == []
    scheduler.done(0, 1, 1.0)
    scheduler.done(0, take(scheduler, 0), 1.0)
    assert scheduler.finished


SQUARES = {str(point): point**2 for point in range(60)}
SCENARIOS = {
    "worker": {"1": {"hang": 3}},
    "two workers": {"1": {"hang": 3}, "2": {"hang": 5}},
    "before its first point": {"2": {"hang": 0}},
    "wakes": {"1": {"hang": 3, "wakes": 3}},
    "worker-thread": {"1": {"stall": 3}},
    "root-thread": {"0": {"stall": 3}},
}


@pytest.mark.mpi
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in ("worker", "wakes") else pytest.mark.slow) for name in SCENARIOS]
)
def test_job_ends_without_ranks_that_hang(launch, name, tmp_path):
    accidents = SCENARIOS[name]
    cost = 0.01 if name == "wakes" else 2e-3  # the other ranks need two seconds more
    options = [
        {"points": 60, "cost": cost, "accidents": accidents, "release": str(tmp_path / "release")},
        {"points": 60, "cost": 1e-3},
    ]
    done = launch(PROGRAM, options, 3, environment={"LANDSCAPE_SILENCE": "1"})
    assert done.returncode == 0, done.stderr
    first, second = done.said
    assert first["done"] == second["done"] == SQUARES
    assert first["failed"] == second["failed"] == {}
    for rank in accidents:
        assert f"rank {rank} (" in done.stderr
    if name == "wakes":
        assert "answers again" in done.stderr
    elif name != "root-thread":
        assert second["size"] == 3 - len(accidents)


@pytest.mark.mpi
def test_workers_notice_that_the_root_is_silent(launch):
    options = [{"points": 20, "cost": 0.01, "accidents": {"1": {"slow": 0.1}, "0": {"hang": 3, "wakes": 4}}}]
    done = launch(PROGRAM, options, 2, environment={"LANDSCAPE_SILENCE": "1"})
    assert done.returncode == 0, done.stderr
    assert done.said[0]["done"] == {str(point): point**2 for point in range(20)}
    assert done.stderr.count("has been silent for 1 s; it holds the file") == 1
    assert "answers again" in done.stderr
    assert "rank 1 (" not in done.stderr, "the root was stopped itself"
