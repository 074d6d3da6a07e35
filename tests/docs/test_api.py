"""The API reference: every public name is on the page, and the examples run from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest

import landscape
from landscape.render.scenes import composition
from landscape.render.scenes.offscreen import can_draw

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text(encoding="utf-8")


def test_every_public_name_is_documented():
    documented = set(re.findall(r"^\.\. auto\w+:: landscape\.(\w+)$", PAGE, re.MULTILINE))
    assert documented == set(landscape.__all__)


@pytest.mark.rendering
@pytest.mark.process
@pytest.mark.skipif(not can_draw(), reason="no OpenGL library (EGL or OSMesa) to draw with")
def test_examples_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    monkeypatch.setattr(composition, "still_size", lambda panels: (480, 360))  # a sixth of the time
    names: dict[str, object] = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        try:
            exec(compile(code, "docs/api.md", "exec"), names)
        except Exception as error:
            raise AssertionError(f"{type(error).__name__}: {error} in\n{code}") from error
    plt.close("all")
    assert (tmp_path / "scene.png").stat().st_size > 10_000
    assert "-0.5" not in capsys.readouterr().err
