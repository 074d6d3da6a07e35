"""``landscape curvature``: output for people and scripts, checkpoints, stops, kills, and ranks."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest

from landscape import Run, read_curvature

QUICK = ("-k", "2", "--trace-probes", "4", "--density-probes", "1", "--density-steps", "6")


def test_json_has_the_agreed_names(run, tmp_path, program):
    out = tmp_path / "c.h5"
    code, said, printed = program("curvature", run, *QUICK, "--json", "--out", out)
    assert code == 0
    found = json.loads(printed)
    assert found["eigenvalues"] == sorted(found["eigenvalues"], reverse=True)
    assert len(found["eigenvalues"]) == len(found["residuals"]) == 2
    assert found["trace_stderr"] > 0
    assert found["complete"] is True
    with h5py.File(out) as file:
        assert file["eigenvalues"][()].tolist() == found["eigenvalues"]
        assert file["trace"][()] == found["trace"]
    assert "landscape plot" in said
    code, _, shown = program("info", out)
    assert code == 0
    assert f"{found['eigenvalues'][0]:.6g}" in shown
    assert json.loads(program("info", out, "--json")[2])["eigenvalues"] == found["eigenvalues"]


def test_text_fits_a_terminal(run, tmp_path, program):
    words = ("curvature", run, *QUICK, "--checkpoints", "0,4", "--out", tmp_path / "c.h5")
    code, _, printed = program(*words)
    assert code == 0
    assert max(map(len, printed.splitlines())) <= 80
    assert "largest eigenvalues" in printed
    history = read_curvature(tmp_path / "c.h5").history
    assert history.step.tolist() == [0, 4]
    rates = Run.open(run).load(4).learning_rate
    assert history.stability_limit[1] == pytest.approx(2 / rates)
    # The same numbers as for a checkpoint on its own.
    checkpoint = Run.open(run).checkpoint_path(4)
    assert program("curvature", checkpoint, *QUICK, "--smallest", "0", "--out", tmp_path / "d.h5")[0] == 0
    assert history.eigenvalues[1].tolist() == read_curvature(tmp_path / "d.h5").eigenvalues.tolist()
    last = read_curvature(tmp_path / "c.h5").eigenvalues
    assert history.eigenvalues[1].tolist() != last.tolist()


def test_usage_errors(run, tmp_path, program):
    for words, message in (
        (("--checkpoints", "a"), "all, or steps"),
        (("--checkpoints", "1"), "no checkpoint of step 1"),
        (("--dtype", "bfloat16"), "float32"),
        (("--only", "nothing*"), "matches no parameter"),
        (("-k", "0"), "-k"),
    ):
        code, said, _ = program("curvature", run, "--out", tmp_path / "c.h5", *words)
        assert code in (1, 2)
        assert message in said
        assert not (tmp_path / "c.h5").exists()


DYING = """if True:
    import os, signal, sys
    from landscape.analysis.curvature.product_log import ProductLog
    from landscape.cli import start

    number, left, append = int(sys.argv[1]), int(sys.argv[2]), ProductLog._append

    def die_at_last(log, contents):
        global left
        left -= 1
        if left:
            return append(log, contents)
        log._file.write(contents[:40])  # a part of a record
        log._file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    def interrupt_at_last(log, contents):
        global left
        left -= 1
        append(log, contents)
        if not left:
            os.kill(os.getpid(), signal.SIGINT)

    signal.signal(signal.SIGINT, signal.default_int_handler)  # background processes of a shell ignore it
    ProductLog._append = die_at_last if number == signal.SIGKILL else interrupt_at_last
    sys.argv = ["landscape", *sys.argv[3:]]
    start.run()
"""


@pytest.mark.process
def test_killed_and_interrupted_runs_are_resumed_bit_for_bit(run, tmp_path, program):
    out, whole = tmp_path / "c.h5", tmp_path / "whole.h5"
    words = ["curvature", str(run), "-k", "3", "--trace-probes", "8", "--density-probes", "2", "--tolerance", "1e-5"]
    assert program(*words, "--out", whole)[0] == 0
    for number, records, code in ((signal.SIGKILL, 20, -signal.SIGKILL), (signal.SIGINT, 8, 3)):
        command = [sys.executable, "-c", DYING, str(int(number)), str(records), *words, "--out", str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert out.with_name(".c.h5.products").stat().st_size > 20_000
    assert program(*words, "--out", out)[0] == 0
    a, b = read_curvature(whole), read_curvature(out)
    assert a.to_json() == b.to_json()
    assert a.density.values.tobytes() == b.density.values.tobytes()
    for name, vectors in a.eigenvectors.items():
        assert vectors.tobytes() == b.eigenvectors[name].tobytes()


@pytest.mark.mpi
def test_ranks_share_the_data(run, tmp_path, program):
    few = ("-k", "1", "--smallest", "0", "--trace-probes", "2", "--density-probes", "0", "--dtype", "float64")
    for ranks in ("1", "2"):
        out = tmp_path / f"{ranks}.h5"
        words = ("curvature", run, "--ranks", ranks, *few, "--checkpoints", "0", "--out", out)
        assert program(*words)[0] == 0
    one, two = (read_curvature(tmp_path / f"{ranks}.h5") for ranks in (1, 2))
    np.testing.assert_allclose(two.eigenvalues, one.eigenvalues, rtol=1e-10)
    np.testing.assert_allclose(two.history.eigenvalues, one.history.eigenvalues, rtol=1e-10)
    assert two.trace.value == pytest.approx(one.trace.value, rel=1e-10)
    assert two.metadata.provenance["ranks"] == 2


def test_plot_draws_a_curvature_file(run, tmp_path, program):
    out = tmp_path / "c.h5"
    assert program("curvature", run, *QUICK, "--checkpoints", "0,4", "--out", out)[0] == 0
    for words in ((), ("--part", "layers")):
        figure = tmp_path / f"{len(words)}.png"
        assert program("plot", out, *words, "--out", figure, "--dpi", "40")[0] == 0
        assert figure.stat().st_size > 2000
    code, said, _ = program("plot", out, out, "--part", "density", "--out", tmp_path / "x.png")
    assert code == 2
    assert "--part" in said
