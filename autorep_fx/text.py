"""How the package lays out tables of text, and what its objects show of themselves in a line."""

from __future__ import annotations

import dataclasses
import inspect
import math
import os
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from typing import Any

#: In place of a number that is not known.
UNKNOWN = "-"

#: Characters between two columns, and the narrowest that a first column becomes to keep a table's width.
_GAP, _NARROW = 2, 12

#: Characters of an object's line, of an object or a collection in it, and of a word.
_LINE, _PART, _WORD = 400, 150, 60

#: Most shapes that are shown.
_SHAPES = 4


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


def number(value: float | None) -> str:
    """Three significant digits at most, without an exponent where that is short."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    size = abs(value)
    if size < 1e-12:  # what is left of a zero
        return "0"
    if size >= 99_999.5 or size < 5e-4:
        return f"{value:.0e}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
    digits = 0 if size >= 99.95 else 1 if size >= 9.995 else 2 if size >= 0.0995 else 3
    return f"{value:.{digits}f}"


def elide(text: str, width: int) -> str:
    """``text`` in ``width`` characters, the middle left out where it is longer."""
    if len(text) <= width:
        return text
    head = (width - 1) // 3
    return text[:head] + "…" + text[len(text) - (width - 1 - head) :]


def brief(self: Any) -> str:
    """One line that says what an object of named fields is: ``__repr__ = brief`` in a dataclass.

    Numbers and words are shown; of arrays, tensors and bytes their sizes alone, for they may be weights, masks, seeds
    or somebody's input. What has its default, or ``field(repr=False)``, is left out.
    """
    parts = ", ".join(f"{name}={_short(value)}" for name, value in _fields(self))
    return elide(f"{type(self).__name__}({parts})", _LINE)


def shape(sizes: Sequence[int], batch: str = "") -> str:
    """``1x8x8``, or with ``batch="N"`` the shape of a batch of those, ``Nx1x8x8``."""
    return "x".join(map(str, (*([batch] if batch else []), *sizes)))


def shapes(several: Iterable[Sequence[int]], batch: str = "") -> str:
    """A few shapes, or how many there are."""
    found = [shape(sizes, batch) for sizes in several]
    return ", ".join(found) if len(found) <= _SHAPES else f"{len(found)} inputs"


def _fields(record: Any) -> list[tuple[str, Any]]:
    if not dataclasses.is_dataclass(record):
        return list(zip(record._fields, record))
    found = [(f, getattr(record, f.name)) for f in dataclasses.fields(record) if f.repr]
    return [(f.name, value) for f, value in found if not _is_default(f, value)]


def _is_default(field: dataclasses.Field, value: Any) -> bool:
    if field.default_factory is not dataclasses.MISSING:
        return isinstance(value, (dict, list, tuple)) and not value
    return type(value) is type(field.default) and bool(value == field.default)


def _short(value: Any) -> str:
    """A value in at most ``_PART`` characters."""
    if value is None or isinstance(value, (bool, int)):
        return str(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (str, os.PathLike)):
        return repr(elide(str(value), _WORD))
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"<{str(value.dtype).removeprefix('torch.')} {shape(value.shape)}".rstrip() + ">"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(value)} bytes>"
    if inspect.isroutine(value):
        return f"<{value.__name__}>"
    if dataclasses.is_dataclass(value) or hasattr(value, "_fields"):
        text = repr(value)
        return text if len(text) <= _PART else f"<{type(value).__name__}>"
    if isinstance(value, Collection):
        return _collection(value)
    return f"<{type(value).__name__}>"


def _collection(values: Collection) -> str:
    """Its entries where they are few numbers and words, else how many they are."""
    parts = [*values, *values.values()] if isinstance(values, Mapping) else values
    if all(part is None or isinstance(part, (bool, int, float, str)) for part in parts):
        text = str(values)
        if len(text) <= _PART:
            return text
    return f"<{len(values)} {'entry' if len(values) == 1 else 'entries'}>"
