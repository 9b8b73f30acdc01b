"""State of a run on disk. A file appears whole or not at all, so a kill loses at most the epoch that was running."""

from __future__ import annotations

import numbers
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import fx

from ..errors import FormatError
from ..hybrid.activation import masks_digest, sites
from ..secure.link.network import Network
from .settings import Settings

_NAME = "last.pt"


def identity(settings: Settings, gm: fx.GraphModule, batches: int, teacher: bool) -> dict[str, Any]:
    """What a run and the one that goes on from its checkpoint must share, in plain types.

    Args:
        batches: of an epoch.
        teacher: whether there is one.
    """
    everything = sites(gm).values()
    run = {name: _plain(value) for name, value in settings.deciding().items()}
    run |= {"batches an epoch": batches, "teacher": teacher, "degree": max((s.degree for s in everything), default=0)}
    if not settings.moves_masks:  # as they are
        kept, total = (sum(getattr(site, name) for site in everything) for name in ("kept", "total"))
        run["masks"] = f"{kept} kept ({masks_digest(gm)})" if kept < total else "all kept"
    return run


def write(folder: str | os.PathLike, state: dict[str, Any]) -> None:
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / (_NAME + ".partial")
    torch.save(state, partial)
    os.replace(partial, folder / _NAME)


def read(folder: str | os.PathLike, run: dict[str, Any]) -> dict[str, Any] | None:
    """The last state in ``folder``, or None if there is none. ``run`` is the :func:`identity` of the one to go on.

    Raises:
        FormatError: the file cannot be read, or is of another run; names it, and every argument that differs.
    """
    path = Path(folder) / _NAME
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        theirs = dict(state["run"])
    except Exception as error:
        raise FormatError(f"{path} is not a readable checkpoint of this version: {error!r}") from error
    check_same(path, theirs, run)
    return state


def check_same(path: Path, theirs: Mapping[str, Any], mine: Mapping[str, Any]) -> None:
    """Raise FormatError, which names what differs, unless the run in ``path`` is the one that is asked for."""
    differs = [f"{key} is {theirs.get(key)} there and {mine.get(key)} here"
               for key in {**mine, **theirs} if theirs.get(key) != mine.get(key)]  # fmt: skip
    if differs:
        raise FormatError(
            f"{path} is of another run: {'; '.join(differs)}. Resume with the same arguments, or use another folder"
        )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Network):
        return {"rtt_ms": float(value.rtt_ms), "mbps": float(value.mbps)}
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return value
    return int(value) if isinstance(value, numbers.Integral) else float(value)  # NumPy's too
