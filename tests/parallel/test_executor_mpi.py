"""Execution under mpiexec: every point is computed once, whatever happens to points, ranks and the root."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.mpi

PROGRAM = Path(__file__).with_name("programs") / "executing.py"
RANKS = 3


def squares(points, without=()):
    return {str(point): point**2 for point in range(points) if point not in without}


SCENARIOS = {
    "plain": {"points": 300, "cost": 2e-4, "together": True},
    "one point": {"points": 1},
    "no points": {"points": 0},
    "failing point": {
        "points": 40, "cost": 1e-3, "failing": [7], "accidents": {"1": {"failing": [0, 1, 2, 3, 4]}},
    },
    "broken rank": {"points": 60, "cost": 2e-3, "accidents": {"1": {"broken": True}}},
    "exit": {"points": 20, "cost": 1e-3, "accidents": {"0": {"exit": 2}, "1": {"exit": 3}}},
    "stop on root": {"points": 300, "cost": 2e-2, "accidents": {"0": {"stop": 3}}},
    "stop on worker": {"points": 300, "cost": 2e-2, "accidents": {"1": {"stop": 3}}},
    "blocked root": {"points": 150, "cost": 1e-4, "accidents": {"0": {"blocked": True}}},
    "blocked worker": {"points": 150, "cost": 1e-4, "accidents": {"1": {"blocked": True}}},
    "idle root": {"points": 6, "accidents": {str(rank): {"slow": 0.5} for rank in range(RANKS)}},
}  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(launch, tmp_path_factory):
    """Outcomes of all scenarios that end cleanly, from one job: starting ranks takes longer than all of them."""
    folder = tmp_path_factory.mktemp("release")
    options = [{**options, "release": str(folder / name)} for name, options in SCENARIOS.items()]
    done = launch(PROGRAM, options, RANKS)
    assert done.returncode == 0, done.stderr
    return dict(zip(SCENARIOS, done.said, strict=True))


def test_every_point_is_computed_once(outcomes):
    outcome = outcomes["plain"]
    assert outcome["done"] == squares(300)
    assert sum(outcome["counts"]) == 300
    assert set(outcome["by"]) == set(range(RANKS)), "every rank computes"


def test_more_ranks_than_points(outcomes):
    assert outcomes["one point"]["done"] == squares(1)
    assert outcomes["no points"]["done"] == {}


def test_failing_point_is_retried_once(outcomes):
    outcome = outcomes["failing point"]
    assert list(outcome["failed"]) == ["7"]
    assert "ValueError: point 7 is bad (" in outcome["failed"]["7"]
    assert "executing.py" in outcome["failed"]["7"]
    assert outcome["done"] == squares(40, without=[7])
    assert sum(outcome["counts"]) >= 41, "point 7 was tried twice"


def test_broken_rank_is_excluded(outcomes):
    outcome = outcomes["broken rank"]
    assert outcome["done"] == squares(60)
    # A chunk of at most 1/12 of the points, another one ahead, and the three that reveal it.
    assert outcome["counts"][1] <= 3 + 2 * 5


def test_exit_in_user_code_fails_one_point(outcomes):
    assert outcomes["exit"]["done"] == squares(20)


@pytest.mark.parametrize(("name", "rank"), [("stop on root", 0), ("stop on worker", 1)])
def test_stop_on_one_rank_stops_all(outcomes, name, rank):
    outcome = outcomes[name]
    assert outcome["failed"] == {}
    assert len(outcome["done"]) == sum(outcome["counts"]), "points under way are not lost"
    assert 3 <= len(outcome["done"]) < 300
    if rank > 0:  # on the root, the thread that computes may have begun another point
        assert outcome["counts"][rank] == 3


@pytest.mark.parametrize(("name", "rank"), [("blocked root", 0), ("blocked worker", 1)])
def test_slow_rank_blocks_no_other(outcomes, name, rank):
    """The first point of a rank ends only when the root has received all other points."""
    outcome = outcomes[name]
    assert outcome["done"] == squares(150)
    assert outcome["counts"][rank] == 1


def test_waiting_root_leaves_its_core_to_points(outcomes):
    outcome = outcomes["idle root"]
    assert outcome["wall"] >= 1.0
    assert outcome["cpu"] < 0.15 * outcome["wall"]


def test_write_error_on_root_releases_workers(launch):
    done = launch(PROGRAM, [{"points": 200, "cost": 1e-3, "write_error": 20}], RANKS)
    assert done.returncode != 0
    assert "rank 0: OSError: no space left" in done.stderr
    for rank in (1, 2):
        assert f"rank {rank}: RankError: the root ended before the last point, collective True" in done.stderr


@pytest.mark.parametrize("rank", ["0", "1"])
def test_dead_rank_ends_job_without_fault_tolerance(launch, rank):
    done = launch(PROGRAM, [{"points": 100, "cost": 1e-2, "accidents": {rank: {"die": 3}}}], 2)
    assert done.returncode != 0
    assert done.said is None


def test_fault_tolerance_survives_dead_ranks(launch, fault_tolerance, tmp_path):
    """Two of four ranks die, then the last worker; the root computes the rest alone."""
    scenarios = [
        {"points": 150, "cost": 1e-3, "accidents": {"1": {"die": 4}, "3": {"die": 9}}, "release": str(tmp_path / "1")},
        {"points": 30, "cost": 1e-3, "accidents": {"1": {"die": 3}}, "release": str(tmp_path / "2")},
    ]
    done = launch(PROGRAM, scenarios, 4, fault_tolerance)
    assert done.returncode == 0, done.stderr
    first, second = done.said
    assert first["done"] == squares(150)
    assert first["size"] == 2
    assert "died; the other ranks compute its" in done.stderr
    assert second["done"] == squares(30)
    assert second["size"] == 1


def test_fault_tolerance_gives_up_deadly_point(launch, fault_tolerance, tmp_path):
    # The root is kept busy until all other points are done, so that it is not the rank that tries the point.
    options = {"points": 60, "cost": 4e-3, "deadly": 20, "accidents": {"0": {"blocked": True}}}
    options["release"] = str(tmp_path / "release")
    done = launch(PROGRAM, [options], 4, fault_tolerance)
    assert done.returncode == 0, done.stderr
    (outcome,) = done.said
    assert list(outcome["failed"]) == ["20"]
    assert "died while computing this point" in outcome["failed"]["20"]
    assert outcome["size"] == 2


@pytest.mark.parametrize("ranks", [2, pytest.param(RANKS, marks=pytest.mark.slow)])
def test_fault_tolerance_ends_after_death_of_root(launch, fault_tolerance, ranks):
    """If one rank is left, the launcher would end with code 0 after its ``MPI_Abort``."""
    done = launch(PROGRAM, [{"points": 100, "cost": 4e-3, "accidents": {"0": {"die": 5}}}], ranks, fault_tolerance)
    assert done.returncode != 0
    assert "the root died; the file holds what it had written" in done.stderr
