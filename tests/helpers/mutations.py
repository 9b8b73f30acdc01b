"""One random change of JSON data or of arrays: what a damaged or a hostile file may hold."""

from __future__ import annotations

import base64
import copy
import random
from typing import Any

import numpy as np

VALUES: list[Any] = [
    None, True, False, -1, 0, 1, 2, 3, 63, 64, 255, 2**31, 2**62, 2**63, -(2**63), 2**64, 10**400, 0.5, -1e308, "", "x",
    "relu", "\ud800", "a\x1b[2J", [], [1], [0, 0], [[1]], [1, 2, 3, 4], {}, {"a": 1}, {"slice": [None, None, None]},
    {"slice": [1, "a", None]}, {"slice": [None, None, -1]}, {"slice": [0, 0, 0]}, {"ellipsis": None}, {"mask": "AA=="},
    {"positions": "!"}, {"tensor": "/w=="}, {"slice": 3}, {"positions": 3},
]  # fmt: skip


def changed(data: Any, rng: random.Random) -> Any:
    """A copy of JSON data with one value replaced, removed, repeated or moved."""
    data = copy.deepcopy(data)
    places = list(_places(data))
    holder, key = rng.choice(places)
    value, how = holder[key], rng.random()
    if how < 0.3 and type(value) is int:
        holder[key] = value + rng.choice([-2, -1, 1, 2, 7])
    elif how < 0.5 and type(value) is str:
        holder[key] = _other_text(value, rng)
    elif how < 0.6:
        del holder[key]
    elif how < 0.7 and type(holder) is list:
        holder.insert(rng.randrange(len(holder) + 1), copy.deepcopy(value))
    elif how < 0.8:
        other, at = rng.choice(places)
        holder[key] = copy.deepcopy(other[at])
    else:
        holder[key] = copy.deepcopy(rng.choice(VALUES))
    return data


def _places(data: Any):
    entries = data.items() if type(data) is dict else enumerate(data) if type(data) is list else ()
    for key, value in entries:
        yield data, key
        yield from _places(value)


def _other_text(text: str, rng: random.Random) -> str:
    """Other bits of packed positions, other letters of a name."""
    try:
        data = bytearray(base64.b64decode(text, validate=True))
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        return base64.b64encode(data).decode()
    except (ValueError, IndexError):
        return rng.choice([text[:-1], text + "x", text.upper(), "gmw", "fss", "relu6", "leaky_relu", "local", "map"])


def changed_arrays(arrays: dict[str, np.ndarray], rng: random.Random) -> dict[str, np.ndarray]:
    """A copy with one array of another shape, type, name or content, or without it."""
    arrays = dict(arrays)
    name = rng.choice(sorted(arrays))
    value = arrays.pop(name)
    if how := rng.randrange(7):
        made = {
            1: lambda: value.reshape(-1),
            2: lambda: value[None],
            3: lambda: value.astype(rng.choice([np.float32, np.int8, np.int64, np.float64, bool])),
            4: lambda: value[..., :0],
            5: lambda: np.full_like(value, np.nan if value.dtype == np.float64 else 2**63),
            6: lambda: value,
        }[how]()
        arrays[name + "x" if how == 6 else name] = np.ascontiguousarray(made)
    return arrays
