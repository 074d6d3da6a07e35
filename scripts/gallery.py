"""Run the commands of the tutorial and of other pages, store their figures, and write docs/gallery.md.

A page shows a figure and, in the next ``sh`` block, the commands that make it. The file of the figure is named like the
output of the command, with dashes for slashes and as WebP: ``optimizers/compare.png`` becomes
``optimizers-compare.webp``. WebP keeps all colours of a shaded surface and sharp text in a third of the size of a PNG.

A recipe (docs/recipes) also has the file of a problem or program, which its commands run in a directory of its own. Its
figure may be written by either. docs/recipes/index.md shows all of them in a table, which is written here.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
IMAGES, GALLERY = DOCS / "images", DOCS / "gallery.md"
PAGES = (*sorted((DOCS / "tutorial").glob("*.md")), DOCS / "connect.md", DOCS / "through.md")
"""Pages with figures; their pictures are in a directory of ``docs/images`` with the name of theirs."""
RECIPES = tuple(sorted(page for page in (DOCS / "recipes").glob("*.md") if page.stem != "index"))
RECIPE_INDEX = DOCS / "recipes" / "index.md"
TABLE = "| kind of model | what is special | on a plane |\n"
"""Head of the table in docs/recipes/index.md, from which on it is written here."""
TIMES = "times.json"
NOTEBOOK = DOCS / "notebook.ipynb"
MAX_PICTURE_BYTES, MAX_RECIPE_BYTES = 150_000, 100_000
MAX_WIDTH, QUALITIES = 1400, (90, 82, 74)
"""Width of pictures, and qualities of WebP to try before a picture gets narrower, which would blur its text."""
REVIEW = "## Which network is sharper?\n"
"""Heading from which on docs/gallery.md is written by hand."""
README_PICTURES = {
    "resnet20-3d": "SGD and Adam on the plane of their paths",
    "paths": "Paths of SGD and Adam over contours, with shortcuts (left) and without (right)",
}
_DEMO = "demo/surfaces/resnet20-paths.h5 --trajectory demo/trajectories/resnet20-paths.h5"
README_FILM = (
    f"landscape animate {_DEMO} --orbit --descent --turn 40 --seconds 4.5 --fps 12.5 --size 560x430 --out descent"
)
LIVE_PAGE = f"landscape export {_DEMO} --out surface.html"


@dataclass(frozen=True)
class Block:
    """A block of commands on a page.

    Attributes:
        page: path of the page.
        commands: the commands, each on one line.
        pictures: ``(alternative text, file name)`` of the figures right above the block.
    """

    page: Path
    commands: tuple[str, ...]
    pictures: tuple[tuple[str, str], ...]


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of commands on a page, in order."""
    found, pictures = [], []
    parts = re.split(r"^```(\w*)\n(.*?)^```$", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for text, language, code in zip(parts[::3], [*parts[1::3], ""], [*parts[2::3], ""], strict=True):
        pictures += [(alt.strip(), Path(target).name) for alt, target in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", text)]
        if language == "sh":
            lines = code.replace("\\\n", " ").splitlines()
            commands = tuple(" ".join(line.split()) for line in lines if line.strip())
            found.append(Block(page, commands, tuple(pictures)))
            pictures = []
    if pictures:
        raise ValueError(f"{page.name}: expected commands below each figure; none below {pictures}")
    return found


def file_of(recipe: Path) -> tuple[str, str]:
    """Return the name and the contents of the Python file of a recipe.

    Raises:
        ValueError: the page has another number of Python blocks than one, or its first line isn't ``# name.py``.
    """
    blocks = re.findall(r"^```python\n(.*?)^```$", recipe.read_text(), flags=re.MULTILINE | re.DOTALL)
    name = re.match(r"# (\w+\.py)\n", blocks[0]) if len(blocks) == 1 else None
    if name is None:
        raise ValueError(f"{recipe.name}: expected one block of Python that begins with '# name.py', got {len(blocks)}")
    return name[1], blocks[0]


def about(recipe: Path) -> tuple[str, str, list[tuple[str, str]]]:
    """Return the title of a recipe, its first paragraph and its figures."""
    title, paragraph = recipe.read_text().removeprefix("# ").split("\n\n")[:2]
    return title, " ".join(paragraph.split()), [picture for block in blocks_of(recipe) for picture in block.pictures]


def outputs_of(command: str) -> list[str]:
    """Return the outputs of a command, as paths in the directory where it runs."""
    words = shlex.split(command)
    if "--out" not in words:
        return []
    out = words[words.index("--out") + 1]
    if "connect" in words:
        return [f"{out}/figures/lines.png"]
    if "compare" in words:
        return [f"{out}/compare.png", *([] if "--flat" in words else [f"{out}/compare-3d.png"])]
    return [out]


def shown_as(output: str) -> str:
    """Return the file name that pages use for an output."""
    return re.sub(r"\.png$", ".webp", output.replace("/", "-"))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", default="", metavar="PREFIX", help="run only pages whose names begin with PREFIX: 04, unet, notebook"
    )
    parser.add_argument(
        "--work", type=Path, default=ROOT / "build" / "gallery", help="directory to run the commands in"
    )
    parser.add_argument("--keep", action="store_true", help="keep outputs that exist (runs, surfaces, figures)")
    parser.add_argument("--no-demo", action="store_true", help="skip the figures of the README, which the demo makes")
    options = parser.parse_args(argv)
    if not options.keep:
        shutil.rmtree(options.work, ignore_errors=True)
    options.work.mkdir(parents=True, exist_ok=True)
    for folder in ("tutorial", "recipes"):
        (IMAGES / folder).mkdir(parents=True, exist_ok=True)
    times = read_times(options.work)
    pages = [page for page in PAGES if page.name.startswith(options.only)]
    for page in pages:  # in a directory of its own: two pages may give their runs the same name
        run_page(page, options.work / page.stem, times, options.keep)
        (options.work / TIMES).write_text(json.dumps(times, indent=1))
    for recipe in RECIPES:
        if recipe.name.startswith(options.only):
            run_page(recipe, options.work / "recipes" / recipe.stem, times, options.keep)
    if "notebook".startswith(options.only):
        run_notebook(options.work)
    if not options.no_demo and not options.only:
        run_demo(options.work, times, options.keep)
        (options.work / TIMES).write_text(json.dumps(times, indent=1))
    if pages:
        write_gallery(times)
    write_recipe_index()
    return 0


def run_notebook(work: Path) -> None:
    """Execute the notebook and store its outputs."""
    import nbformat

    print("[notebook]", flush=True)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        execute(notebook, Path(folder))
    for cell in notebook.cells:
        cell.metadata.clear()  # times of the execution
    text = nbformat.writes(notebook)
    # Places of this machine, which provenance records.
    for place in (f"{folder}/", f"{ROOT}/", f"{sys.prefix}/"):
        text = text.replace(place, "")
    text = re.sub(r"[^\s&;\"]*/ipykernel_launcher.py( -f \S+?\.json)?", "ipykernel_launcher.py", text)
    NOTEBOOK.write_text(text + "\n")


def execute(notebook: Any, folder: Path) -> Any:
    """Execute the cells of a notebook in a directory, in place, and return the notebook."""
    from nbclient import NotebookClient

    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    return notebook


def run_page(page: Path, work: Path, times: dict[str, float], keep: bool) -> None:
    """Run the commands of a page and store its figures; a recipe's file is written first."""
    work.mkdir(parents=True, exist_ok=True)
    if page in RECIPES:
        name, code = file_of(page)
        (work / name).write_text(code)
    for block in blocks_of(page):
        run_block(block, work, times, keep)


def run_block(block: Block, work: Path, times: dict[str, float], keep: bool) -> None:
    """Run the commands of a block and store its figures."""
    for command in block.commands:
        made = [work / out for out in outputs_of(command)]
        if keep and made and all(path.exists() for path in made):
            continue
        begin = time.monotonic()
        print(f"[{block.page.stem}] $ {command}", flush=True)
        run(shlex.split(command), work)
        times[command] = time.monotonic() - begin
    recipe = block.page in RECIPES
    written = {shown_as(out): work / out for command in block.commands for out in outputs_of(command)}
    if recipe:  # its file may write figures, too
        written |= {shown_as(path.name): path for path in work.glob("*.png")}
    for _, name in block.pictures:
        if name not in written:
            raise ValueError(f"{block.page.name}: the commands below {name} write {', '.join(written)} instead")
        keep_picture(written[name], pictures_of(block.page) / name, MAX_RECIPE_BYTES if recipe else MAX_PICTURE_BYTES)


def pictures_of(page: Path) -> Path:
    """Return the directory with the pictures of a page."""
    return IMAGES / page.parent.relative_to(DOCS)


def run(words: list[str], work: Path) -> None:
    """Run a command of this program, or a Python file."""
    assert words[0] in ("landscape", "python"), words
    command = [sys.executable, *(["-m"] if words[0] == "landscape" else []), *words[words[0] == "python" :]]
    if not {"animate", "functions", "plot", "render", "trajectory"}.isdisjoint(words):
        command.append("--overwrite")
    done = subprocess.run(command, cwd=work, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{shlex.join(words)} ended with {done.returncode}:\n{done.stderr[-3000:]}")


def run_demo(work: Path, times: dict[str, float], keep: bool) -> None:
    """Make the figures of the README with the demo."""
    command = "landscape demo --out demo"
    if not (keep and (work / "demo" / "figures").is_dir()):
        begin = time.monotonic()
        print(f"[README] $ {command}", flush=True)
        run(shlex.split(command), work)
        times[command] = time.monotonic() - begin
    for name in README_PICTURES:
        keep_picture(work / "demo" / "figures" / f"{name}.png", IMAGES / f"{name}.webp")
    for command in (README_FILM, LIVE_PAGE):
        run([*shlex.split(command), *(["--overwrite"] if command == LIVE_PAGE else [])], work)
    keep_film(work / "descent", IMAGES / "descent.webp", 12.5)
    page = (work / "surface.html").read_text()
    # Places of this machine, which provenance records.
    for place, name in ((f"{ROOT}/landscape/__main__.py", "landscape"), (f"{work.resolve()}/", "")):
        page = page.replace(place, name)
    (DOCS / "live" / "surface.html").write_text(page)


def keep_film(frames: Path, target: Path, fps: float) -> None:
    """Write a directory of frames as an animated WebP, in full colour and smaller than a GIF."""
    from PIL import Image

    pictures = [Image.open(frame).convert("RGB") for frame in sorted(frames.glob("*.png"))]
    pictures[0].save(
        target, save_all=True, append_images=pictures[1:], duration=round(1000 / fps), loop=0,
        quality=75, method=4, minimize_size=True,
    )  # fmt: skip


def keep_picture(source: Path, target: Path, max_bytes: int = MAX_PICTURE_BYTES) -> None:
    """Copy a figure; a PNG becomes a WebP at the width of a page, of at most ``max_bytes``."""
    if target.suffix != ".webp":
        shutil.copyfile(source, target)
        return
    from PIL import Image

    with Image.open(source) as opened:
        picture = opened.convert("RGB")
    width = min(picture.width, MAX_WIDTH)
    while True:
        size = (width, round(picture.height * width / picture.width))
        small = picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS)
        for quality in QUALITIES:
            buffer = io.BytesIO()
            small.save(buffer, "WEBP", quality=quality, method=6, use_sharp_yuv=True)
            if buffer.tell() <= max_bytes or width < 400:
                target.write_bytes(buffer.getvalue())
                return
        width = int(0.9 * width)


def read_times(work: Path) -> dict[str, float]:
    """Return how many seconds each command took."""
    file = work / TIMES
    return json.loads(file.read_text()) if file.exists() else {}


def write_recipe_index() -> None:
    """Write the table of docs/recipes/index.md: title, first paragraph and figure of each recipe."""
    rows = [TABLE, "|---|---|---|\n"]
    for recipe in RECIPES:
        title, paragraph, pictures = about(recipe)
        # Relative links of a paragraph hold here, too: the page is in the same directory.
        shown = " ".join(f"![{text}](../images/recipes/{name})" for text, name in pictures)
        rows.append(f"| [{title}]({recipe.name}) | {paragraph} | {shown} |\n")
    before = RECIPE_INDEX.read_text()
    RECIPE_INDEX.write_text(before[: before.index(TABLE)] + "".join(rows))


def write_gallery(times: dict[str, float]) -> None:
    """Write docs/gallery.md: each figure with its commands and their run time; the last section is kept."""
    before = GALLERY.read_text() if GALLERY.exists() else ""
    review = before[before.index(REVIEW) :].rstrip() if REVIEW in before else ""
    lines = [
        "# Gallery",
        "",
        "Every figure of the documentation, with the command that makes it and the time it took on two busy cores.",
        "`scripts/gallery` runs all commands and writes this page, except for the sections from *README* on.",
    ]
    for page in PAGES:
        blocks = [block for block in blocks_of(page) if block.pictures]
        if not blocks:
            continue
        title = page.read_text().splitlines()[0].removeprefix("# ")
        lines += ["", f"## [{title}]({page.relative_to(DOCS)})"]
        for block in blocks:
            for text, name in block.pictures:
                lines += ["", f"![{text}]({(pictures_of(page) / name).relative_to(DOCS)})"]
            lines += ["", "```sh", *block.commands, "```"]
            known = [times[command] for command in block.commands if command in times]
            if known:
                lines += ["", f"{sum(known):.0f} s" if sum(known) >= 1 else "under a second"]
    lines += ["", "## README"]
    for name, text in README_PICTURES.items():
        if (IMAGES / f"{name}.webp").exists():
            lines += ["", f"![{text}](images/{name}.webp)"]
    lines += ["", "```sh", "landscape demo --out demo", "```"]
    if "landscape demo --out demo" in times:
        lines += ["", f"{times['landscape demo --out demo']:.0f} s"]
    lines += ["", "![The same as they descend](images/descent.webp)", "", "```sh", README_FILM, "```"]
    lines += ["", "![The same as an interactive page](images/page.webp)", "", "```sh", LIVE_PAGE, "```"]
    lines += ["", review] if review else []
    GALLERY.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
