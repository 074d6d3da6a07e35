"""The documentation as HTML: Sphinx warns about nothing, and formulas need no script."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
pytestmark = pytest.mark.process
pytest.importorskip("sphinx")
pytest.importorskip("myst_parser")
pytest.importorskip("latex2mathml")


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    out = tmp_path_factory.mktemp("html")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-b", "html", "-n", "-W", "--keep-going", "-q", ROOT / "docs", out],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out


def test_every_page_is_built(html):
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert pages
    assert all((html / page).stat().st_size > 1000 for page in pages)


def test_internal_links(html):
    broken = []
    for page in html.rglob("*.html"):
        text = page.read_text()
        for link in re.findall(r"(?:href|src)=\"([^\"]+)\"", text):
            target, _, anchor = link.partition("#")
            if re.match(r"https?:|mailto:|data:", link) or page.name in ("genindex.html", "search.html"):
                continue
            file = (page.parent / target.partition("?")[0]) if target else page
            if not file.exists() or (anchor and file.suffix == ".html" and f'id="{anchor}"' not in file.read_text()):
                broken.append(f"{page.name}: {link}")
    assert not broken


def test_formulas_are_mathml(html):
    text = (html / "tutorial" / "01-slope.html").read_text()
    assert text.count("<math") > 20
    assert "<mfrac>" in text
    assert "$" not in re.sub(r"<(script|pre)\b.*?</\1>", "", text, flags=re.DOTALL)
