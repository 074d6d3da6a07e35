"""Scripts for SLURM and for one machine, with launchers that only record their calls."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
SLURM = sorted((SCRIPTS / "slurm").iterdir())
LOCAL = sorted((SCRIPTS / "local").iterdir())


@pytest.fixture
def cluster(tmp_path):
    """``cluster(script, *words, returns=[...], gains=True, **environment)``: run it with launchers that record calls.

    ``landscape surface`` ends with the next code of ``returns``; ``landscape info`` reports another number of points
    each time if ``gains``. Returns the finished process and the records.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    notes, codes = tmp_path / "notes", tmp_path / "codes"
    programs = {
        "srun": 'echo "srun $*" >>"$NOTES"; while [[ $1 == --* ]]; do shift; done; exec "$@"',
        "mpiexec": 'echo "mpiexec $*" >>"$NOTES"; shift 2; exec "$@"',
        "sbatch": 'echo "sbatch $*" >>"$NOTES"; echo "$RANDOM;cluster"',
        "scontrol": 'echo "scontrol $*" >>"$NOTES"',
        "landscape": """
            if [ "$1" = info ]; then
                [ -z "$GAINS" ] && echo "  points  5 of 9 done" || echo "  points  $(wc -l <"$NOTES") of 99 done"
                exit 0
            fi
            echo "landscape $*" >>"$NOTES"
            code=$(head -n 1 "$CODES"); sed -i 1d "$CODES"; exit "${code:-0}"
        """,
    }
    for name, text in programs.items():
        program = folder / name
        program.write_text(f"#!/usr/bin/env bash\n{text}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def run(script, *words, returns=(), gains=True, **environment):
        notes.write_text("")
        codes.write_text("".join(f"{code}\n" for code in returns))
        clean = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
        # The scripts put the repository's own environment first, which must not be found here.
        copied = tmp_path / "repository" / "scripts" / script.parent.name / script.name
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(script, copied)
        done = subprocess.run(
            ["bash", str(copied), *words],
            env={
                **clean,
                "PATH": f"{folder}:{os.environ['PATH']}",
                "NOTES": str(notes),
                "CODES": str(codes),
                "GAINS": "yes" if gains else "",
                **environment,
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done, notes.read_text().splitlines()

    return run


@pytest.mark.parametrize("script", SLURM + LOCAL, ids=lambda path: path.name)
def test_scripts_pass_shellcheck(script):
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert os.access(script, os.X_OK)
    if shutil.which("shellcheck") is None:
        pytest.skip("no shellcheck here")
    checked = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("name", ["one-node-gpus.sbatch", "many-nodes.sbatch"])
def test_job_is_requeued_while_it_computes_points(cluster, name):
    script, job = SCRIPTS / "slurm" / name, {"SLURM_JOB_ID": "4711", "SLURM_NTASKS": "8"}
    done, notes = cluster(script, "run", "--x", "-1:1:5", **job)
    assert done.returncode == 0, done.stderr
    assert notes[0].startswith("srun --kill-on-bad-exit=1 landscape surface run --x -1:1:5")
    assert ("--device cuda" in notes[1]) == (name == "one-node-gpus.sbatch")
    assert notes[1].endswith("--out surface.h5")
    assert len(notes) == 2
    done, notes = cluster(script, "run", returns=[3], **job)
    assert (done.returncode, notes[-1]) == (3, "scontrol requeue 4711")
    for code in (3, 137, 138):  # stopped before the first point, by whatever way the signal took
        done, notes = cluster(script, "run", returns=[code], gains=False, **job)
        requeued = any("requeue" in note for note in notes)
        assert (done.returncode, requeued) == (code, code != 138), "the third one in a row would repeat"
    assert "three runs without a new point (codes 3 137 138 ): not requeued" in done.stderr
    for gains, requeued in ((False, True), (False, True), (True, True), (False, True)):
        done, notes = cluster(script, "run", returns=[3], gains=gains, **job)
        assert any("requeue" in note for note in notes) == requeued, "a new point begins the count again"
    done, notes = cluster(script, "run", returns=[1], **job)
    assert done.returncode == 1
    assert not any("requeue" in note for note in notes)


def test_array_task_computes_its_shard(cluster):
    script = SCRIPTS / "slurm" / "array.sbatch"
    task = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "16", "SLURM_ARRAY_TASK_MIN": "0"}
    done, notes = cluster(script, "run", SLURM_ARRAY_JOB_ID="12", returns=[3], **task)
    assert done.returncode == 3
    assert notes == [
        "srun --ntasks=1 landscape surface run --shard 3/16 --out shards/shard-3.h5",
        "landscape surface run --shard 3/16 --out shards/shard-3.h5",
        "scontrol requeue 12_3",
    ]
    done, notes = cluster(script, "run", PARTS="32", SHARDS="other", SLURM_ARRAY_JOB_ID="12", **task)
    assert notes[-1] == "landscape surface run --shard 3/32 --out other/shard-3.h5"
    done, _ = cluster(script, "run", **{**task, "SLURM_ARRAY_TASK_MIN": "1"})
    assert done.returncode == 2
    assert "expected an array that begins at 0" in done.stderr
    assert cluster(script, "run")[0].returncode == 2


@pytest.mark.parametrize(
    "name", ["slurm/one-node-gpus.sbatch", "slurm/many-nodes.sbatch", "slurm/array.sbatch", "local/surface"]
)
def test_restarting_scripts_refuse_overwrite(cluster, name):
    done, notes = cluster(SCRIPTS / name, "run", "--overwrite", SLURM_ARRAY_TASK_ID="0", SLURM_ARRAY_TASK_COUNT="2")
    assert (done.returncode, notes) == (2, [])
    assert "remove the file instead" in done.stderr


def test_submit_array_submits_merge(cluster):
    script = SCRIPTS / "slurm" / "submit-array"
    done, notes = cluster(script, "16", "run", "--x", "-1:1:5")
    assert done.returncode == 0, done.stderr
    assert notes[0].startswith("sbatch --parsable --array=0-15 ")
    assert notes[0].endswith("array.sbatch run --x -1:1:5")
    array = done.stdout.split()[2]
    assert array.isdigit()
    assert f"--dependency=afterany:{array} " in notes[1]
    assert notes[1].endswith("array-merge.sbatch")
    for words in (["16"], ["none", "run"], ["0", "run"]):
        assert cluster(script, *words)[0].returncode == 2


def test_merge_takes_all_shards(cluster, tmp_path):
    (tmp_path / "shards").mkdir()
    for part in range(2):
        (tmp_path / "shards" / f"shard-{part}.h5").touch()
    _, notes = cluster(SCRIPTS / "slurm" / "array-merge.sbatch")
    assert notes == ["landscape merge shards/shard-0.h5 shards/shard-1.h5 --out surface.h5"]


def test_local_surface_restarts_while_it_computes_points(cluster):
    script = SCRIPTS / "local" / "surface"
    done, notes = cluster(script, "run", RANKS="4", returns=[3, 137, 0])
    assert done.returncode == 0, done.stderr
    assert [note.split()[0] for note in notes] == ["mpiexec", "landscape"] * 3
    assert notes[0] == "mpiexec -n 4 landscape surface run --out surface.h5"
    done, notes = cluster(script, "run", RANKS="1", returns=[3], gains=False)
    assert (done.returncode, notes) == (3, ["landscape surface run --out surface.h5"])
    done, notes = cluster(script, "run", RANKS="1", returns=[1])
    assert (done.returncode, len(notes)) == (1, 1)
    assert cluster(script)[0].returncode == 2


def test_local_shards_are_merged_when_done(cluster):
    script = SCRIPTS / "local" / "shards"
    done, notes = cluster(script, "run", PARTS="3")
    assert done.returncode == 0, done.stderr
    assert sorted(notes[:3]) == [
        f"landscape surface run --shard {part}/3 --out shards/shard-{part}.h5" for part in range(3)
    ]
    shards = " ".join(f"shards/shard-{part}.h5" for part in range(3))
    assert notes[3] == f"landscape merge {shards} --out surface.h5 --overwrite"
    done, notes = cluster(script, "run", PARTS="2", returns=[3, 3])
    assert done.returncode == 3
    assert not any("merge" in note for note in notes)
    assert "not merged; the same command resumes" in done.stderr


def test_gpu_check_without_gpu():
    said = subprocess.run(
        [sys.executable, str(SCRIPTS / "gpu_check")],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("skipped: torch ")
