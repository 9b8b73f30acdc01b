"""State of a run on disk. A file appears whole or not at all, so a kill loses at most the epoch that was running."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from ..errors import FormatError

_NAME = "last.pt"


def write(folder: str | os.PathLike, state: dict[str, Any]) -> None:
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / (_NAME + ".partial")
    torch.save(state, partial)
    os.replace(partial, folder / _NAME)


def read(folder: str | os.PathLike) -> dict[str, Any] | None:
    """The last state in ``folder``, or None if there is none.

    Raises:
        FormatError: the file cannot be read; names it.
    """
    path = Path(folder) / _NAME
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise FormatError(f"{path} is not a readable checkpoint: {error}") from error
