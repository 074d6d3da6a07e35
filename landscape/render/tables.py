"""Tables of numbers with intervals: for the terminal, and as Markdown, LaTeX or CSV for a paper."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

from landscape._utils.names import unknown
from landscape.analysis.sharpness.numbers import Comparison, Number

FORMATS = ("text", "markdown", "latex", "csv")
_NUMBER_HEADER = ("network", "measure", "radius", "value", "95% interval", "unit", "over", "directions", "samples")
_COMPARISON_HEADER = ("measure", "radius", "difference", "value", "95% interval", "p", "over")
_LATEX = str.maketrans(
    {"_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
     "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)  # fmt: skip


def number_table(numbers: Sequence[Number], form: str = "text") -> str:
    """Return numbers as a table with radius, value, interval, unit, and the numbers of directions and samples.

    Args:
        numbers: numbers, one row each.
        form: a name in :data:`FORMATS`. ``csv`` has all digits and one column for each end of the interval; ``latex``
            needs the package booktabs.

    Raises:
        ValueError: an unknown form.
    """
    if form == "csv":
        header = ("source", "measure", "radius", "value", "low", "high", "unit", "over", "directions", "n")
        return _csv(header, [tuple(getattr(number, name) for name in header) for number in numbers])
    rows = [
        (n.source, n.measure, "" if n.radius is None else _short(n.radius), _short(n.value), _interval(n.low, n.high),
         n.unit, n.over, str(n.directions or ""), f"{n.n:,}")
        for n in numbers
    ]  # fmt: skip
    if form == "text":  # 80 columns have no room for what is the same everywhere
        return _text(
            ("measure", "radius", "value", "95% interval", "unit", "dirs", "n"),
            [(row[1], row[2], row[3], row[4], row[5], row[7], row[8]) for row in rows],
            [row[0] for row in rows],
        )
    return _table(_NUMBER_HEADER, rows, form)


def comparison_table(comparisons: Sequence[Comparison], form: str = "text") -> str:
    """Return paired differences as a table with interval and p-value; arguments as for :func:`number_table`."""
    if form == "csv":
        header = ("measure", "radius", "first", "second", "difference", "low", "high", "p_value", "over")
        return _csv(header, [tuple(getattr(c, name) for name in header) for c in comparisons])
    rows = [
        (c.measure, "" if c.radius is None else _short(c.radius), f"{c.second} - {c.first}", _short(c.difference),
         _interval(c.low, c.high), _probability(c.p_value), c.over)
        for c in comparisons
    ]  # fmt: skip
    if form == "text":
        return _text(
            ("measure", "radius", "difference", "95% interval", "p"),
            [(row[0], row[1], row[3], row[4], row[5]) for row in rows],
            [row[2] for row in rows],
        )
    return _table(_COMPARISON_HEADER, rows, form)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], form: str) -> str:
    if form == "markdown":
        lines = [header, ["---"] * len(header), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    if form == "latex":
        body = [" & ".join(_latex(cell) for cell in row) + r" \\" for row in (header, *rows)]
        columns = "l" * len(header)
        return "\n".join(
            [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", body[0], r"\midrule", *body[1:], r"\bottomrule",
             r"\end{tabular}"]
        )  # fmt: skip
    raise unknown("table format", form, FORMATS)


def _text(header: Sequence[str], rows: Sequence[Sequence[str]], groups: Sequence[str]) -> str:
    """Return aligned columns, with the name of the group above its rows."""
    widths = [max(len(row[k]) for row in (header, *rows)) for k in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()

    lines, last = [f"  {line(header)}"], None
    for group, row in zip(groups, rows, strict=True):
        if group != last:
            lines.append(group)
            last = group
        lines.append(f"  {line(row)}")
    return "\n".join(lines)


def _csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([["" if cell is None else cell for cell in row] for row in rows])
    return buffer.getvalue().rstrip("\n")


def _latex(text: str) -> str:
    return f"${text}$" if _is_number(text) else text.translate(_LATEX)


def _is_number(text: str) -> bool:
    return bool(text) and not text[0].isalpha() and all(c in "0123456789.,-+e[] " for c in text)


def _short(value: float) -> str:
    return f"{value:.3g}"


def _interval(low: float, high: float) -> str:
    return "" if math.isnan(low) or math.isnan(high) else f"[{_short(low)}, {_short(high)}]"


def _probability(p: float) -> str:
    return "" if math.isnan(p) else "< 0.0001" if p < 1e-4 else f"{p:.2g}"
