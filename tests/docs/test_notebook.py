"""The notebook of the documentation runs, and shows what its stored outputs show."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytestmark = [pytest.mark.process, pytest.mark.integration]

ROOT = Path(__file__).resolve().parents[2]


def load_gallery():
    spec = importlib.util.spec_from_file_location("gallery", ROOT / "scripts" / "gallery.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["gallery"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


gallery = load_gallery()


def shown(notebook):
    """Return what each cell of code displays: the kinds of its outputs."""
    return [
        [(output.output_type, *sorted(output.get("data", {}))) for output in cell.outputs]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def test_notebook_runs(tmp_path):
    stored = nbformat.read(gallery.NOTEBOOK, as_version=4)
    executed = gallery.execute(nbformat.from_dict(stored), tmp_path)
    assert shown(executed) == shown(stored)
    kinds = [kind for cell in shown(stored) for output in cell for kind in output]
    assert "text/html" in kinds
    assert kinds.count("image/png") >= 3


def test_notebook_is_small():
    assert gallery.NOTEBOOK.stat().st_size < 600_000
    text = gallery.NOTEBOOK.read_text()
    assert "/tmp/" not in text
    assert str(ROOT) not in text
