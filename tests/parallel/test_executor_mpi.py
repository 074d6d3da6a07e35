"""Execution under mpiexec: every point once, whatever happens to points, ranks and the root."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.mpi


def squares(points):
    return {str(index): index**2 for index in range(points)}


def test_every_point_is_computed_once_and_by_all_ranks(launch):
    ranks = 4
    done = launch("executing.py", {"points": 300, "cost": 2e-4}, ranks)
    assert done.returncode == 0, done.stderr
    assert done.said["done"] == squares(300)
    assert sum(done.said["counts"]) == 300
    assert len(set(done.said["by"])) == ranks


def test_more_ranks_than_points_and_no_points(launch):
    assert launch("executing.py", {"points": 1}, 3).said["done"] == squares(1)
    assert launch("executing.py", {"points": 0}, 2).said["done"] == {}


def test_a_failing_point_is_tried_elsewhere_once_and_others_go_on(launch):
    options = {"points": 40, "cost": 1e-3, "failing": [7], "accidents": {"1": {"failing": [0, 1, 2, 3, 4]}}}
    said = launch("executing.py", options, 2).said
    assert list(said["failed"]) == ["7"]
    assert "ValueError: point 7 is bad (" in said["failed"]["7"]
    assert "executing.py" in said["failed"]["7"]
    assert said["done"] == {key: value for key, value in squares(40).items() if key != "7"}
    assert sum(said["counts"]) >= 41  # 7 was tried twice


def test_a_rank_that_fails_every_point_does_not_spoil_the_run(launch):
    said = launch("executing.py", {"points": 60, "cost": 2e-3, "accidents": {"1": {"broken": True}}}, 3).said
    assert said["done"] == squares(60)
    assert said["counts"][1] <= 8


def test_code_that_leaves_fails_its_point_only(launch):
    said = launch(
        "executing.py", {"points": 20, "cost": 1e-3, "accidents": {"0": {"leave": 2}, "1": {"leave": 3}}}
    ).said
    assert said["done"] == squares(20)


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_rank_asked_to_stop_stops_all_after_the_points_under_way(launch, rank):
    done = launch("executing.py", {"points": 200, "cost": 2e-2, "accidents": {rank: {"stop": 3}}}, 2)
    assert done.returncode == 0, done.stderr
    said = done.said
    assert said["failed"] == {}
    assert len(said["done"]) == sum(said["counts"])  # nothing that was computed is lost
    assert 3 <= len(said["done"]) <= 12


def test_an_error_while_the_root_writes_releases_the_workers(launch):
    done = launch("executing.py", {"points": 200, "cost": 1e-3, "disk_full": 20}, 3)
    assert done.returncode != 0
    assert "rank 0: OSError: no space left" in done.stderr
    for rank in (1, 2):
        assert f"rank {rank}: RankError: the root ended before the last point, known True" in done.stderr


def test_a_dead_rank_ends_the_job_where_the_library_knows_nothing_better(launch):
    for rank in ("0", "1"):
        done = launch("executing.py", {"points": 100, "cost": 1e-2, "accidents": {rank: {"die": 3}}}, 3, timeout=40)
        assert done.returncode != 0
        assert done.said is None


def test_a_dead_rank_is_survived_and_its_points_are_computed_by_others(launch, survival):
    accidents = {"1": {"die": 4}, "3": {"die": 9}}
    done = launch("executing.py", {"points": 150, "cost": 4e-3, "accidents": accidents}, 4, survival)
    assert done.returncode == 0, done.stderr
    assert done.said["done"] == squares(150)
    assert done.said["size"] == 2
    assert "died; the other ranks compute its" in done.stderr


def test_the_last_worker_may_die(launch, survival):
    done = launch("executing.py", {"points": 30, "cost": 4e-3, "accidents": {"1": {"die": 3}}}, 2, survival)
    assert done.said["done"] == squares(30)
    assert done.said["size"] == 1


def test_a_point_that_kills_is_given_up_after_two_ranks(launch, survival):
    # The root is kept busy, so that it is not the one that tries it.
    options = {"points": 60, "cost": 4e-3, "deadly": 20, "accidents": {"0": {"slow": 3.0}}}
    done = launch("executing.py", options, 4, survival)
    assert done.returncode == 0, done.stderr
    assert list(done.said["failed"]) == ["20"]
    assert "died while it held this point" in done.said["failed"]["20"]
    assert done.said["size"] == 2


def test_the_roots_death_ends_the_job_in_order(launch, survival):
    done = launch("executing.py", {"points": 100, "cost": 4e-3, "accidents": {"0": {"die": 5}}}, 3, survival)
    assert done.returncode != 0
    assert "the root died; the file holds what it had written" in done.stderr


@pytest.mark.parametrize("ranks", [2, 8])
def test_ranks_are_idle_less_than_a_tenth_of_the_time(launch, ranks):
    # Costs vary by ten; a busy machine may spoil a run, but not three.
    for _ in range(3):
        said = launch("executing.py", {"points": 40 * ranks, "cost": 8e-3}, ranks).said
        idle = 1 - said["busy"] / (ranks * said["wall"])
        if idle < 0.1:
            break
    assert idle < 0.1
    assert said["done"] == squares(40 * ranks)


def test_a_root_that_waits_leaves_its_core_to_the_points(launch):
    said = launch("executing.py", {"points": 8, "cost": 0.08}, 2).said
    assert said["wall"] > 1.0
    assert said["cpu"] < 0.15 * said["wall"]


@pytest.mark.parametrize("slow", ["0", "1"])
def test_a_slow_rank_holds_nobody_up_not_even_as_the_root(launch, slow):
    options = {"points": 150, "cost": 4e-3, "accidents": {slow: {"slow": 0.3}}}
    for _ in range(3):
        said = launch("executing.py", options, 3).said
        quick = 150 * 4e-3 * 5.5 / 2  # by the other two alone
        if said["wall"] < quick + 0.3:
            break
    assert said["wall"] < quick + 0.3
    assert 1 <= said["counts"][int(slow)] <= 10
    assert said["done"] == squares(150)
