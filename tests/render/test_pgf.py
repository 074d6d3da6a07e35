from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from landscape.render.pgf import tex
from landscape.render.plots.contour import plot_contour
from landscape.render.plots.curve import plot_curve
from landscape.render.plots.options import ContourOptions
from landscape.render.saving import save
from landscape.surface.surface import Surface

ENGINES = ("pdflatex", "xelatex", "lualatex")
DOCUMENT = r"""\documentclass{article}
\usepackage[papersize={%fin,%fin},margin=0in]{geometry}
\usepackage{pgf}
\pagestyle{empty}\parindent0pt\topskip0pt
\begin{document}
\input{%s}
\end{document}
"""


@pytest.fixture
def contour(slope, walk):
    """A contour figure with a path whose name is full of what means something else to TeX."""

    def draw(style="both"):
        surface = slope(name="a_b")
        path = walk([(0, 0.2), (1, 0.8)], r"50% & #1_{a} ~x^2 \b $3")
        return plot_contour(surface, [path], options=ContourOptions(style=style))

    return draw


def texts(page: str) -> list[tuple[dict[str, str], str]]:
    """Options and content of each text."""
    found = re.findall(r"\\pgftext\[([^]]*)\]\{(.*)\}%", page)
    return [(dict(o.split("=") if "=" in o else (o, "") for o in opts.split(",")), text) for opts, text in found]


@pytest.mark.parametrize(
    ("text", "mathematics", "expected"),
    [
        ("accuracy (%)", False, r"accuracy (\%)"),
        ("$10^{-5}$ & a_b", True, r"$10^{-5}$ \& a\_b"),
        (r"a \$ b", True, r"a \$ b"),
        ("cost in $", False, r"cost in \$"),
        ("{x}~^\\", False, r"\{x\}\textasciitilde{}\textasciicircum{}\textbackslash{}"),
        ("\N{MINUS SIGN}1 \N{PLUS-MINUS SIGN}\N{NO-BREAK SPACE}2", False, r"\ensuremath{-}1 \ensuremath{\pm}~2"),
        ("é", False, "é"),
    ],
)
def test_escapes(text, mathematics, expected):
    assert tex(text, mathematics=mathematics) == expected


@pytest.mark.parametrize("style", ["both", "heat"])
def test_saving_starts_no_process(contour, style, tmp_path, monkeypatch):
    figure = contour(style).axes.get_figure(root=True)
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail(f"started {a}"))
    assert save(figure, tmp_path / "figure.pgf") == tmp_path / "figure.pgf"
    page = (tmp_path / "figure.pgf").read_text("utf-8")
    for what in ("pgfscope", "pgfpicture"):
        assert page.count(rf"\begin{{{what}}}") == page.count(rf"\end{{{what}}}") > 0
    # The colour bar of filled contours is one more picture; none of them under another name, and none left over.
    named = re.findall(r"\\pgfimage\[[^]]*\]\{(.*?)\}", page)
    assert sorted(named) == sorted(path.name for path in tmp_path.glob("*.png"))
    assert len(named) == {"both": 0, "heat": 2}[style]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["figure.pgf", *named])


def test_positions_of_texts(contour, tmp_path):
    artists = contour()
    figure = artists.axes.get_figure(root=True)
    page = save(figure, tmp_path / "figure.pgf").read_text("utf-8")
    found = {re.sub(r".*\\selectfont ", "", text).rstrip("}"): options for options, text in texts(page)}
    figure.set_layout_engine("none")
    box = artists.axes.get_position()
    width, height = figure.get_size_inches()
    label = found["direction 1"]
    assert float(label["x"].removesuffix("in")) == pytest.approx(width * (box.x0 + box.x1) / 2, abs=1e-3)
    turned = found["direction 2"]
    assert float(turned["rotate"]) == 90
    assert float(turned["y"].removesuffix("in")) == pytest.approx(height * (box.y0 + box.y1) / 2, abs=1e-3)
    # Numbers of the y axis hang on their right end, left of the axis by a tick and a gap.
    tick = found["0.2"]
    assert "right" in tick
    assert 0 < width * box.x0 - float(tick["x"].removesuffix("in")) < 0.1


def test_saving_is_reproducible_and_replaces(contour, tmp_path):
    figure = contour("heat").axes.get_figure(root=True)
    names = ("figure.pgf", "figure-img0.png", "figure-img1.png")
    for name in names:
        (tmp_path / name).write_text("old")
    save(figure, tmp_path / "figure.pgf")
    first = [(tmp_path / name).read_bytes() for name in names]
    save(figure, tmp_path / "figure.pgf")
    assert first == [(tmp_path / name).read_bytes() for name in names]
    assert b"old" not in first


def compiled(engine, name, size, folder):
    (folder / "page.tex").write_text(DOCUMENT % (*size, name))
    done = subprocess.run(
        [engine, "-interaction=nonstopmode", "-halt-on-error", "page.tex"],
        cwd=folder, capture_output=True, text=True, errors="replace", timeout=120, check=False,
        # The caches of fonts, which may be made first, are not to lie in somebody's home.
        env={**os.environ, "TEXMFVAR": str(folder / "var"), "max_print_line": "1000"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


@pytest.mark.parametrize(
    ("engine", "kind"),
    [
        # Every engine once, and every kind with the first engine.
        pytest.param(engine, kind, marks=() if kind == "both" or engine == ENGINES[0] else pytest.mark.slow)
        for kind in ("both", "heat", "curve")
        for engine in ENGINES
    ],
)
def test_latex_has_no_warnings(contour, engine, kind, tmp_path):
    if shutil.which(engine) is None:  # before drawing
        pytest.skip(f"{engine} is not installed")
    if kind == "curve":
        x = np.linspace(-1, 2, 7)
        values = {"train_loss": 10**x, "train_acc": 100 / (1 + x**2), "train_loss_stderr": 10**x / 5}
        line = Surface((x,), values, np.ones(7, np.uint8))
        figure = plot_curve(line, second="train_acc").axes.get_figure(root=True)
    else:
        figure = contour(kind).axes.get_figure(root=True)
    save(figure, tmp_path / "figure.pgf")
    log = compiled(engine, "figure.pgf", figure.get_size_inches(), tmp_path)
    assert "(1 page" in log, "as large as the figure, no larger"
    for complaint in ("Missing character", "Overfull", "Undefined", "undefined"):
        assert complaint not in log
    if shutil.which("pdftotext"):
        words = subprocess.run(
            ["pdftotext", "-layout", "page.pdf", "-"], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout
        expected = ["coordinate along the direction", "±"] if kind == "curve" else ["direction 1", "50% & #1"]
        assert all(part in words for part in expected), words


def test_command(slope, tmp_path):
    from landscape.cli.plot import command
    from landscape.surface.metadata import Header
    from landscape.surface.store import FileStore

    surface = replace(slope(), name="surface")
    with FileStore.open(tmp_path / "surface.h5", Header(surface.coordinates, ("train_loss",))) as store:
        for index, loss in enumerate(surface.values["train_loss"].ravel()):
            store.record(index, [loss], 0.0)
    out = tmp_path / "figure.pgf"
    result = CliRunner().invoke(command, [str(tmp_path / "surface.h5"), "--style", "heat", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert r"\begin{pgfpicture}" in out.read_text("utf-8")
    assert (tmp_path / "figure-img0.png").exists()
    out.unlink()
    again = CliRunner().invoke(command, [str(tmp_path / "surface.h5"), "--out", str(out)])
    assert "figure-img0.png exists" in str(again.exception), "nor is a picture replaced unasked"
    help_text = CliRunner().invoke(command, ["--help"]).output
    assert r"\usepackage{pgf} and \input{figure.pgf}" in " ".join(help_text.split())
