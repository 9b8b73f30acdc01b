"""State of a run on disk. A file appears whole or not at all, so a kill loses at most the epoch that was running.

It has a digest of its content.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import fx

from ..content import check_digest, digest
from ..errors import FormatError
from ..hybrid.activation import masks_digest, sites
from ..settings import FinetuneSettings, SearchSettings

_NAME = "last.pt"


def identity(
    settings: SearchSettings | FinetuneSettings, gm: fx.GraphModule, batches: int, teacher: bool
) -> dict[str, Any]:
    """What a run and the one that goes on from its checkpoint must share, in plain types.

    It has the options of a search and of a fine-tuning, whichever it is: a folder may hold one of either.

    Args:
        batches: of an epoch.
        teacher: whether there is one.
    """
    everything = sites(gm).values()
    run = {"epochs": settings.epochs, **SearchSettings().deciding(), **FinetuneSettings().deciding()}
    run |= settings.deciding()
    run |= {"batches an epoch": batches, "teacher": teacher, "degree": max((s.degree for s in everything), default=0)}
    if not isinstance(settings, SearchSettings):  # masks as they are
        kept, total = (sum(getattr(site, name) for site in everything) for name in ("kept", "total"))
        run["masks"] = f"{kept} kept ({masks_digest(gm)})" if kept < total else "all kept"
    return run


def write(folder: str | os.PathLike, state: dict[str, Any]) -> None:
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / (_NAME + ".partial")
    torch.save({**state, "digest": digest(state)}, partial)
    os.replace(partial, folder / _NAME)


def read(folder: str | os.PathLike, run: dict[str, Any]) -> dict[str, Any] | None:
    """The last state in ``folder``, or None if there is none. ``run`` is the :func:`identity` of the one to go on.

    Raises:
        FormatError: the file cannot be read, was changed since it was written, or is of another run; names it, and
            every argument that differs.

    Warns:
        FormatWarning: an earlier version has written it, without a digest.
    """
    path = Path(folder) / _NAME
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        theirs = dict(state["run"])
    except Exception as error:
        raise FormatError(f"{path} is not a readable checkpoint of this version: {error!r}") from error
    check_digest(path, state.pop("digest", None), state, "its content is", "start the run again, in another folder")
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
