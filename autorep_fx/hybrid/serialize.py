"""Transformed models on disk: one safetensors file, no pickle."""

from __future__ import annotations

import json
import os
from pathlib import Path

import safetensors
import safetensors.torch
from torch import fx, nn

from ..errors import FormatError
from ..graph.canonicalize import Canonicalize
from ..graph.trace import trace
from .activation import hybridize, sites

_FORMAT, _VERSION = "autorep_fx hybrid model", 1


def save(gm: fx.GraphModule, path: str | os.PathLike) -> None:
    """Write weights, masks, coefficients and calibrated ranges of a transformed model to one safetensors file.

    The file appears whole or not at all. The architecture is not in it: :func:`load` takes it from the model.
    """
    header = {
        "format": _FORMAT,
        "version": str(_VERSION),
        "sites": json.dumps({name: site.activation.kind for name, site in sites(gm).items()}),
    }
    # Tied tensors are written once for each of their names; loading restores every one.
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in gm.state_dict().items()}
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    safetensors.torch.save_file(tensors, partial, metadata=header)
    os.replace(partial, path)


def load(model: nn.Module, path: str | os.PathLike) -> fx.GraphModule:
    """The transformed model in ``path``. ``model`` gives the architecture, not the weights, and is not changed.

    Raises:
        FileNotFoundError: no such file.
        FormatError: not such a file, a newer version, truncated, or of another architecture.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with safetensors.safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except safetensors.SafetensorError as error:
        raise FormatError(f"{path} is not a readable safetensors file: {error}") from error
    if header.get("format") != _FORMAT:
        raise FormatError(f"{path} was not written by autorep_fx.save")
    if header.get("version") != str(_VERSION):
        raise FormatError(f"{path} has format version {header.get('version')}, this package reads {_VERSION}")

    gm = hybridize(Canonicalize()(trace(model)))
    mine = {name: site.activation.kind for name, site in sites(gm).items()}
    theirs = json.loads(header["sites"])
    if mine != theirs:
        differs = next(n for n in (*mine, *theirs) if mine.get(n) != theirs.get(n))
        raise FormatError(
            f"{path} is of another architecture: site '{differs}' is {theirs.get(differs, 'absent')} there and "
            f"{mine.get(differs, 'absent')} in the model"
        )
    try:
        gm.load_state_dict(tensors)
    except RuntimeError as error:
        raise FormatError(f"{path} does not fit the model: {error}") from error
    return gm
