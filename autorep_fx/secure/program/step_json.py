"""Steps as JSON: one text for one step, and what is read back is of the same types. A plan's digest is over it too.

Tuples are lists; what JSON has no word for is a table with one entry: {"slice": [start, stop, step]}, {"ellipsis":
null}, {"table": {...}}, {"positions": bits} (increasing int64 positions within the sample), {"mask": bits} (a bool of
each element), bits being those of all elements in order, packed eight to a byte, in base64. For a tensor in place of an
array, "tensor"; {"places": bits} are positions that reach beyond the sample, bits up to the last one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ...errors import FormatError
from .checks import NAME, PLACES, POSITIONS, SHAPE, check, is_tensor
from .shapes import Shape

if TYPE_CHECKING:
    from torch import Tensor

#: Longest text that is read. Positions take a bit each, so this is beyond any network.
LONGEST = 2**26

T = TypeVar("T")

#: Fields of a step that are tables.
_TABLES = ("attrs", "secrets")


def dumps(value: Any) -> str:
    """JSON data as text, in the order in which it is."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> bytes:
    """SHA-256 of the one text of JSON data whose tables have no order: equal data, and no other, have one digest."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).digest()


def loads(text: bytes | str, where: str) -> Any:
    """JSON data from elsewhere; ``where`` says from where.

    Raises:
        FormatError: no JSON, too long, nested too deeply, or a number that is not finite.
    """
    if len(text) > LONGEST:
        raise FormatError(f"{where} is longer than {LONGEST} bytes")
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where} is damaged: {error}") from error


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number")


def to_json(step: Any) -> dict[str, Any]:
    """A step of a program or of a plan, as JSON data."""
    row = {f.name: getattr(step, f.name) for f in fields(step)}
    return {
        name: {key: _plain(v, step.shape) for key, v in part.items()} if name in _TABLES else _plain(part)
        for name, part in row.items()
    }


def from_json(kind: type[T], row: Any, where: str) -> T:
    """The step that :func:`to_json` got: its fields have their types, the attributes are for the rules to look at.

    Raises:
        FormatError: names the step and the attribute.
    """
    if type(row) is not dict or {*row} != {f.name for f in fields(kind)}:
        raise FormatError(f"{where} does not have the fields of a step")
    parts = {key: _value(value, where) for key, value in row.items() if key not in _TABLES}
    check(parts["name"], NAME, f"the name of {where}")
    where = f"step '{parts['name']}'"
    check(parts["shape"], SHAPE, f"the shape of {where}")
    for field in {*_TABLES} & {*row}:
        if type(row[field]) is not dict:
            raise FormatError(f"{field} of {where} must be a table")
        parts[field] = {k: _value(v, f"'{k[:60]}' of {where}", parts["shape"]) for k, v in row[field].items()}
    return kind(**parts)


def _plain(value: Any, shape: Shape = ()) -> Any:
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {"table": {key: _plain(v) for key, v in value.items()}}
    if isinstance(value, slice):
        return {"slice": [value.start, value.stop, value.step]}
    if value is Ellipsis:
        return {"ellipsis": None}
    if isinstance(value, np.ndarray) and value.dtype == bool and value.shape == (math.prod(shape),):
        return {"mask": _pack(value)}
    if (isinstance(value, np.ndarray) or is_tensor(value)) and POSITIONS.holds(value, shape):
        return {"tensor" if is_tensor(value) else "positions": _chosen(value, math.prod(shape))}
    if PLACES.holds(value, ()):
        return {"places": _chosen(value, int(value[-1]) + 1)}
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise TypeError(f"{type(value).__name__} {str(value)[:60]} has no form in a file")


def _chosen(positions: np.ndarray | Tensor, size: int) -> str:
    chosen = np.zeros(size, bool)
    chosen[np.asarray(positions)] = True
    return _pack(chosen)


def _pack(chosen: np.ndarray) -> str:
    return base64.b64encode(np.packbits(chosen)).decode()


def _value(value: Any, where: str, shape: Shape = ()) -> Any:
    if type(value) is list:  # nothing is nested more deeply, so no depth of the file is a depth of calls here
        if any(type(v) is list for v in value):
            raise FormatError(f"{where} is a list of lists")
        return tuple(_value(v, where) for v in value)
    if type(value) is not dict:
        return value
    ((kind, inner),) = value.items() if len(value) == 1 else ((None, None),)
    if kind == "slice" and type(inner) is list and len(inner) == 3:
        return slice(*inner)
    if kind == "ellipsis":
        return Ellipsis
    if kind == "table" and type(inner) is dict and dict not in map(type, inner.values()):
        return {name: _value(v, where) for name, v in inner.items()}
    if kind in ("mask", "positions", "tensor") and type(inner) is str:
        chosen = _unpack(inner, math.prod(shape), where)
        if kind == "mask":
            return chosen
        positions = np.flatnonzero(chosen).astype(np.int64)
        return _tensor(positions) if kind == "tensor" else positions
    if kind == "places" and type(inner) is str:
        return _places(inner, math.prod(shape), where)
    raise FormatError(f"{where} is a table of no known kind")


def _tensor(positions: np.ndarray) -> Tensor:
    import torch  # no plan has a tensor, and parties have no torch

    return torch.from_numpy(positions)


def _places(text: str, size: int, where: str) -> np.ndarray:
    """In their one form: what lies within the sample is written as positions."""
    data = np.frombuffer(_bytes(text, where), np.uint8)
    found = np.flatnonzero(np.unpackbits(data)).astype(np.int64)
    if not len(found) or found[-1] < size or found[-1] // 8 != len(data) - 1:
        raise FormatError(f"{where} is no list of positions beyond the sample")
    return found


def _unpack(text: str, size: int, where: str) -> np.ndarray:
    data = _bytes(text, where)
    if len(data) != -(-size // 8):
        raise FormatError(f"{where} is of {len(data)} bytes; {size} positions take {-(-size // 8)}")
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    if bits[size:].any():
        raise FormatError(f"{where} has positions beyond the sample")
    return bits[:size].astype(bool)


def _bytes(text: str, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise FormatError(f"{where} is not base64: {error}") from error
