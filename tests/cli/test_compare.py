from __future__ import annotations

import pytest

pytestmark = pytest.mark.integration

WORDS = (
    "compare", "--model", "mlp", "--model-arg", "widths=(8,)", "--samples", "60", "--epochs", "1",
    "--batch-size", "30", "--checkpoint-steps", "1", "--points", "5", "--ranks", "1", "--flat",
    "--optimizer", "sgd:lr=0.1",
)  # fmt: skip


def test_compare(program, tmp_path):
    out = tmp_path / "out"
    code, err, _ = program(*WORDS, "--optimizer", "adam:lr=0.01", "--out", out)
    assert code == 0, err
    assert "training: 2 of 2 epochs" in err
    assert "surface: 25 of 25 points" in err
    assert err.splitlines()[-1] == f"  {out / 'compare.png'}"
    runs = sorted((out / "runs").iterdir())
    words = ("--points", 5, "--ranks", 1, "--flat", "--out", tmp_path / "again")
    code, err, _ = program("compare", *runs, *words)
    assert code == 0, err


def test_error_of_a_run(program, tmp_path):
    code, err, _ = program(*WORDS, "--optimizer", "adam:lr=1e30", "--out", tmp_path / "out")
    assert code == 1
    assert "training loss" in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "expected a network to train (--model or --problem), or finished RUNs"),
        (("--model", "mlp", "--optimizer", "sgd"), "expected 2 to 6 optimizers"),
        (("--model", "mlp", "--plane", "pcx"), "Invalid value for '--plane'"),
    ],
)
def test_wrong_usage(program, tmp_path, words, message):
    code, err, _ = program("compare", *words, "--out", tmp_path / "out")
    assert code == 2
    assert message in " ".join(err.split())
