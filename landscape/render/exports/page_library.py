"""The drawing library of a page, plotly.js: in the page as it is or compressed, or loaded from the web."""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
from typing import Literal, TypeAlias

from landscape.errors import MissingLibraryError

LibraryPlace: TypeAlias = Literal["inside", "compressed", "web"]
"""Place of the library: in the page (4.8 MB), compressed in it (2 MB), or on cdn.plot.ly, checked by its digest."""
LIBRARY_PLACES: tuple[LibraryPlace, ...] = ("inside", "compressed", "web")
WEB = "https://cdn.plot.ly"
_UNPACK = """
(async () => {
  try {
    const packed = Uint8Array.from(atob(document.getElementById("library").textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    for (const code of [await new Response(stream).text(), document.getElementById("program").textContent]) {
      const script = document.createElement("script");
      script.textContent = code;
      document.body.append(script);
    }
  } catch (error) {
    document.getElementById("failure").textContent = `This page cannot unpack its drawing library: ${error.message}`;
    document.getElementById("failure").hidden = false;
  }
})();
"""


def page_scripts(program: str, place: LibraryPlace) -> tuple[str, str]:
    """Return the script elements of a page, and the source outside of it that they need, or an empty text.

    Args:
        program: the script of the page, which uses the library.
        place: place of the library.

    Raises:
        MissingLibraryError: plotly, which provides the library, is not installed.
        ValueError: an unknown place.
    """
    if place == "inside":
        return f"<script>{plotly_source()}</script>\n<script>\n{program}\n</script>", ""
    if place == "compressed":
        kept = '<script type="text/plain" id='
        packed = f'{kept}"library">{_packed()}</script>\n{kept}"program">\n{program}\n</script>'
        return f"{packed}\n<script>{_UNPACK}</script>", ""
    if place == "web":
        digest = base64.b64encode(hashlib.sha256(plotly_source().encode()).digest()).decode()
        from plotly.offline import get_plotlyjs_version

        address = f"{WEB}/plotly-{get_plotlyjs_version()}.min.js"
        # It may not arrive; the page's own script then says so.
        library = f'<script src="{address}" integrity="sha256-{digest}" crossorigin="anonymous"></script>'
        return f"{library}\n<script>\n{program}\n</script>", WEB
    raise ValueError(f"place of the drawing library: expected one of {', '.join(LIBRARY_PLACES)}, got {place!r}")


def plotly_source() -> str:
    """Return the source of plotly.js from the Python package."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise MissingLibraryError(
            "a page needs plotly, which is not installed: pip install 'landscape[html]'"
        ) from error
    return str(get_plotlyjs())


@functools.cache
def _packed() -> str:
    """Return the library as gzip in base64; the same bytes each time."""
    return base64.b64encode(gzip.compress(plotly_source().encode(), mtime=0)).decode()
