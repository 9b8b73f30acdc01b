"""How the package lays out tables of text."""

from __future__ import annotations

from collections.abc import Container, Sequence

#: Characters between two columns, and the narrowest that a first column becomes to keep a table's width.
_GAP, _NARROW = 2, 12


def table(
    rows: Sequence[Sequence[str]],
    totals: Sequence[Sequence[str]] = (),
    *,
    right: Container[int] = (),
    rule: bool = False,
    width: int | None = None,
) -> str:
    """Rows of cells as columns.

    Args:
        rows: the head first; all of one length.
        totals: rows below a rule of their own.
        right: columns that are aligned right, as numbers are; the others are aligned left.
        rule: whether one is under the head.
        width: characters of a line, where there is a most; then cells of the first column lose their middle.
    """
    widths = [max(map(len, column)) for column in zip(*rows, *totals, strict=True)]
    if width is not None:
        spare = width - sum(widths[1:]) - _GAP * (len(widths) - 1)
        widths[0] = min(widths[0], max(spare, _NARROW))

    def line(cells: Sequence[str]) -> str:
        cells = (elide(cells[0], widths[0]), *cells[1:])
        padded = (c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(cells, widths)))
        return (" " * _GAP).join(padded).rstrip()

    full = sum(widths) + _GAP * (len(widths) - 1)
    dashes = ["-" * (full if width is None else min(full, width))]
    head, *body = map(line, rows)
    return "\n".join([head, *(dashes if rule else []), *body, *(dashes if totals else []), *map(line, totals)])


def elide(text: str, width: int) -> str:
    """``text`` in ``width`` characters, the middle left out where it is longer."""
    if len(text) <= width:
        return text
    head = (width - 1) // 3
    return text[:head] + "…" + text[len(text) - (width - 1 - head) :]
