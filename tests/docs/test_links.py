"""Links and images of the pages; external links are not checked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
IMAGES = ROOT / "docs" / "images"


def links_of(page: Path) -> list[str]:
    """Return the targets of links and images outside code blocks."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`\n]*`", "", text)
    return re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"<img[^>]*src=\"([^\"]+)\"", text)


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of all headings, by the rule of GitHub."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ +(.*)$", text, flags=re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_internal_links(page):
    broken = []
    for link in links_of(page):
        if re.match(r"https?://|mailto:", link):
            continue
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and anchor not in anchors_of(file)):
            broken.append(link)
    assert not broken


def test_every_image_is_used():
    shown = {(page.parent / link).resolve() for page in PAGES for link in links_of(page)}
    assert {path for path in IMAGES.rglob("*") if path.is_file()} <= shown


def test_images_are_small():
    sizes = {path: path.stat().st_size for path in IMAGES.rglob("*") if path.is_file()}
    assert sum(sizes.values()) < 8_000_000  # three films take 3.0 MB of them
    # Images of the README keep all their colours; one of them moves.
    first = {(ROOT / link).resolve() for link in links_of(ROOT / "README.md")}
    limits = {path: 400_000 if path in first else 150_000 for path in sizes if path.suffix in (".png", ".webp")}
    limits[IMAGES / "descent.webp"] = 800_000
    assert not {str(path): sizes[path] for path, limit in limits.items() if sizes[path] > limit}
