"""How the pages become HTML: Sphinx reads them by MyST, and formulas become MathML, which browsers draw themselves."""

from __future__ import annotations

from latex2mathml.converter import convert

project = "landscape"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
napoleon_attr_annotations = False
napoleon_google_docstring = True
napoleon_use_ivar = True
# Docstrings name types as a reader says them ("(ny, nx)", "Path"), and inner modules have no pages of their own.
nitpick_ignore_regex = [("py:.*", ".*")]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
# Links between headings of one page are written as the hosting site makes them.
source_suffix = {".md": "markdown"}
master_doc = "index"
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_extra_path = ["live"]  # interactive pages, which scenes.md shows in a frame
html_theme_options = {"page_width": "60rem", "fixed_sidebar": True, "show_powered_by": False}
html_show_copyright = False
html_show_sourcelink = False
math_numfig = False


def _inline(translator, node):
    translator.body.append(convert(node.astext(), display="inline"))
    raise _skip()


def _block(translator, node):
    translator.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise _skip()


def _skip():
    from docutils.nodes import SkipNode

    return SkipNode()


def setup(app):
    """Sphinx's hook: formulas as MathML, without a script and without a network."""
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_block, None))


html_math_renderer = "mathml"
