"""Transformed models on disk: one safetensors file, no pickle."""

from __future__ import annotations

import json
import os
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, fx, nn

from ..content import check_digest, digest
from ..errors import FormatError
from ..graph.canonicalize import Canonicalize
from ..graph.concrete import shapes_held
from ..graph.several import batch_of
from ..graph.trace import trace
from .activation import hybridize, sites
from .clips import drop_clip

#: Of the versions that are read, a file has the first one that says all that is in it: 2 has lines.
_FORMAT, _VERSIONS = "autorep_fx hybrid model", ("1", "2")


def save(gm: fx.GraphModule, path: str | os.PathLike) -> None:
    """Write weights, masks, coefficients and calibrated ranges of a transformed model to one safetensors file.

    The file appears whole or not at all, and has a digest of its content. The architecture is not in it: :func:`load`
    takes it from the model.
    """
    held = shapes_held(gm)
    header = {
        "format": _FORMAT,
        "version": _VERSIONS[any(site.line is not None for site in sites(gm).values())],
        "input_shape": json.dumps(held if len(held) > 1 else next(iter(held), None)),
        "sites": json.dumps({name: site.activation.kind for name, site in sites(gm).items()}),
    }
    # Tied tensors are written once for each of their names; loading restores every one.
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in gm.state_dict().items()}
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    safetensors.torch.save_file(tensors, partial, metadata=sealed(header, tensors))
    os.replace(partial, path)


def load(model: nn.Module, path: str | os.PathLike) -> fx.GraphModule:
    """The transformed model in ``path``. ``model`` gives the architecture, not the weights, and is not changed.

    Raises:
        FileNotFoundError: no such file.
        FormatError: not such a file, a newer version, truncated, changed since it was written, of another architecture,
            or with tensors whose types or shapes do not fit; names the site or the tensor.

    Warns:
        FormatWarning: an earlier version has written it, without a digest, so that damage would not show.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with safetensors.safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, safetensors.SafetensorError) as error:
        raise FormatError(
            f"{path} is not a readable safetensors file: {error}; what torch.save wrote is read by torch.load"
        ) from error
    if header.get("format") != _FORMAT:
        raise FormatError(
            f"{path} was not written by autorep_fx.save; plain weights are loaded into the model itself: "
            "model.load_state_dict(safetensors.torch.load_file(path))"
        )
    if header.get("version") not in _VERSIONS:
        raise FormatError(
            f"{path} has format version {header.get('version')}, this package reads {' and '.join(_VERSIONS)}"
        )
    check_digest(path, header.pop("digest", None), [header, tensors], "its content is", "save the model again")

    shapes = _shapes(header.get("input_shape", "null"), path)
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.get_default_dtype())
    example = None if not shapes else lambda: batch_of([torch.zeros(2, *shape, dtype=dtype) for shape in shapes])
    theirs = _kinds(header.get("sites", ""), path)
    gm = hybridize(Canonicalize()(trace(model, example)), named=theirs)
    mine = {name: site.activation.kind for name, site in sites(gm).items()}
    for name, kind in mine.items():
        if kind == "relu6" and theirs.get(name) == "relu":  # simplify_clips
            drop_clip(sites(gm)[name])
            mine[name] = "relu"
    if mine != theirs:
        differs = next(n for n in (*mine, *theirs) if mine.get(n) != theirs.get(n))
        raise FormatError(
            f"{path} is of another architecture: site '{differs}' is {theirs.get(differs, 'absent')} there and "
            f"{mine.get(differs, 'absent')} in the model"
        )
    for name, tensor in gm.state_dict().items():
        if name in tensors and _type(tensors[name]) != _type(tensor):
            raise FormatError(f"{path}: '{name}' is of {tensors[name].dtype} there and of {tensor.dtype} in the model")
    for name in mine:
        _check_site(name, tensors, path)
    try:
        gm.load_state_dict(tensors)
    except RuntimeError as error:
        raise FormatError(f"{path} does not fit the model: {error}") from error
    return gm


def sealed(header: dict[str, str], tensors: dict[str, Tensor]) -> dict[str, str]:
    """The header with a digest of all that is in the file."""
    return {**header, "digest": digest([header, tensors])}


def is_saved(path: str | os.PathLike) -> bool:
    """Whether :func:`save` has written this file, whatever became of it since."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("format") == _FORMAT
    except (OSError, safetensors.SafetensorError):
        return False


def _shapes(text: str, path: str | os.PathLike) -> list[list[int]]:
    """Of the samples of each input that the graph holds for; none, where it holds for any."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: its input shape is damaged: {error}") from error
    if found is None:
        return []
    several = isinstance(found, list) and found and all(isinstance(shape, list) for shape in found)
    shapes = found if several else [found]
    for shape in shapes:
        if not isinstance(shape, list) or not all(type(n) is int and 0 < n < 2**20 for n in shape):
            raise FormatError(f"{path}: its input shape is damaged")
    return shapes


def _kinds(text: str, path: str | os.PathLike) -> dict[str, str]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: its list of sites is damaged: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(kind, str) for kind in found.values()):
        raise FormatError(f"{path}: its list of sites is damaged")
    return found


def _type(tensor: Tensor) -> str:
    """What load_state_dict may convert into one another: the precision of a file need not be the model's."""
    return "floating point" if tensor.is_floating_point() else str(tensor.dtype)


def _check_site(name: str, tensors: dict[str, Tensor], path: str | os.PathLike) -> None:
    """A site takes the shapes of its tensors from the file, so they must fit one another. Raises FormatError."""

    def need(condition: bool, part: str, what: str) -> None:
        if not condition:
            raise FormatError(f"{path}: '{name}.{part}' must be {what}")

    parts = {part: tensors.get(f"{name}.{part}")
             for part in ("keep", "coeffs", "line", "line_coeffs", "input_range", "fit_error")}  # fmt: skip
    keep, line, coeffs = parts.pop("keep"), parts.pop("line"), parts["coeffs"]
    if keep is None:
        rest = (line, *parts.values())
        need(all(value is None for value in rest), "keep", "there, as its coefficients or ranges are")
        return
    need(keep.dtype == torch.bool and keep.numel() > 0 and keep.dim() > 0, "keep", "a boolean mask with a channel axis")
    need(coeffs is not None and coeffs.dim() == 2 and len(coeffs) > 1, "coeffs", "(degree + 1, C), with degree >= 1")
    fits = line is None or line.dtype == torch.bool and line.shape == keep.shape
    need(fits, "line", f"a boolean mask of shape {tuple(keep.shape)}")
    need((line is None) == (parts["line_coeffs"] is None), "line_coeffs", "there if and only if 'line' is")
    rows = 0 if coeffs is None else len(coeffs)
    shapes = {"coeffs": (rows, len(keep)), "line_coeffs": (2, len(keep)), "input_range": (2,),
              "fit_error": (len(keep),)}  # fmt: skip
    for part, value in parts.items():
        fits = value is None or value.is_floating_point() and tuple(value.shape) == shapes[part]
        need(fits, part, f"floating point of shape {shapes[part]}")
    for part in ("coeffs", "line_coeffs"):
        value = parts[part]
        need(value is None or bool(torch.isfinite(value).all()), part, "finite")
