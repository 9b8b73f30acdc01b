"""A digest of what a file holds, so that a flipped bit in it is an error and no wrong answer.

Against accidents: whoever may write a file may write its digest, too.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from .errors import FormatError, FormatWarning


def digest(value: Any) -> str:
    """SHA-256, in hexadecimal, of a number, a text, bytes, None, an array, a tensor, or tables and lists of such.

    Types, shapes and names count; the order of a table does not.

    Raises:
        TypeError: of anything else.
    """
    found = hashlib.sha256()
    _feed(found, value)
    return found.hexdigest()


def check_digest(path: str | os.PathLike, said: str | None, value: Any, what: str, way_out: str) -> None:
    """Compare what was read with what was written; ``said`` is None where a file says nothing.

    Raises:
        FormatError: they differ; names ``what`` and the ``way_out``.
    """
    if said is None:
        text = f"{path} has no digest of its content, as those of earlier versions: damage to it would not show"
        warnings.warn(f"{text}; {way_out} for one that has", FormatWarning, stacklevel=3)
    elif said != digest(value):
        raise FormatError(f"{path} is damaged: {what} not what was written; take a copy of the file, or {way_out}")


def _feed(found: Any, value: Any) -> None:
    if isinstance(value, Mapping):
        found.update(f"table {len(value)};".encode())
        for key in sorted(value, key=lambda key: (type(key).__name__, key)):
            _feed(found, key)
            _feed(found, value[key])
    elif isinstance(value, (list, tuple)):
        found.update(f"{type(value).__name__} {len(value)};".encode())
        for each in value:
            _feed(found, each)
    elif value is None or type(value) in (bool, int, float, str, bytes):
        _feed_bytes(found, type(value).__name__, repr(value).encode())
    elif isinstance(value, np.ndarray):
        flat = np.ascontiguousarray(value).reshape(-1)
        _feed_bytes(found, f"{value.dtype} {tuple(value.shape)}", flat.view(np.uint8).data)
    elif hasattr(value, "untyped_storage"):  # a tensor, so somebody has imported torch
        import torch

        flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        name = str(value.dtype).removeprefix("torch.")
        _feed_bytes(found, f"{name} {tuple(value.shape)}", flat.numpy().data)
    else:
        raise TypeError(f"a {type(value).__name__} has no digest")


def _feed_bytes(found: Any, kind: str, data: Any) -> None:
    found.update(f"{kind} {len(data)};".encode())
    found.update(data)
