"""Programs on disk: a folder with a public part, for everyone, and the server's part. JSON and safetensors, no pickle.

public.json         the program's and the plan's steps: shapes, exponents, windows, comparisons
public.safetensors  positions that keep their activation, by name in the JSON
server.safetensors  weights, biases and coefficients, as numbers and as ring elements; give it to the server only
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..errors import FormatError
from .plan import plan as native
from .plan.numbers import Numbers
from .program import Program, PublicProgram, Step

_FORMAT, _VERSION = "autorep_fx program", 1
_PUBLIC, _ARRAYS, _SERVER = "public.json", "public.safetensors", "server.safetensors"

#: Where the server's file keeps what.
_REAL, _WEIGHT, _CONSTANT = "real/", "weight/", "constant/"


def save_program(
    folder: str | Path, program: Program, plan: native.Plan, numbers: dict[str, Numbers], settings: dict[str, Any]
) -> None:
    """Write both parts; an existing program there is replaced. ``settings``: what else the server needs, plain JSON."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, np.ndarray] = {}
    public = {
        "format": _FORMAT,
        "version": _VERSION,
        "plan version": native.VERSION,
        "program": {
            f.name: _encode(getattr(program.public, f.name), arrays) for f in dataclasses.fields(PublicProgram)
        },
        "plan": [_encode(step, arrays) for step in plan.steps],
    }
    server = {_REAL + key: np.ascontiguousarray(value.numpy()) for key, value in program.server.items()}
    for name, own in numbers.items():
        for prefix, array in ((_WEIGHT, own.weight), (_CONSTANT, own.constant)):
            if array is not None:
                server[prefix + name] = np.ascontiguousarray(array)
    private = {
        "settings": settings,
        "bits": {k: v.bits for k, v in numbers.items()},
    }
    text = {"format": _FORMAT, "version": str(_VERSION), "private": json.dumps(private), "plan": plan.digest().hex()}
    (folder / _PUBLIC).write_text(json.dumps(public))
    save_file(arrays, folder / _ARRAYS)
    save_file(server, folder / _SERVER, metadata=text)


def load_plan(folder: str | Path) -> native.Plan:
    """The public part alone, for client and dealer.

    Raises:
        FormatError: it is missing, damaged or of another version.
    """
    public, arrays = _public(Path(folder))
    return _plan(public, arrays)


def load_program(folder: str | Path) -> tuple[Program, native.Plan, dict[str, Numbers], dict[str, Any]]:
    """Both parts: what :func:`save_program` got.

    Raises:
        FormatError: one is missing, damaged, of another version, or they do not belong together.
    """
    folder = Path(folder)
    public, arrays = _public(folder)
    plan = _plan(public, arrays)
    metadata, server = _tensors(folder / _SERVER)
    if metadata.get("format") != _FORMAT or metadata.get("plan") != plan.digest().hex():
        raise FormatError(f"{folder / _SERVER} belongs to another program than {folder / _PUBLIC}")
    try:
        private = json.loads(metadata["private"])
        parts = {name: _decode(value, arrays) for name, value in public["program"].items()}
        numbers = {
            name: Numbers(server.get(_WEIGHT + name), server.get(_CONSTANT + name), bits)
            for name, bits in private["bits"].items()
        }
        real = {key[len(_REAL) :]: torch.from_numpy(value) for key, value in server.items() if key.startswith(_REAL)}
        program = Program(PublicProgram(**parts), real)
        settings = private["settings"]
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{folder} is damaged: {error}") from error
    return program, plan, numbers, settings


def _plan(public: dict, arrays: dict[str, np.ndarray]) -> native.Plan:
    if public.get("plan version") != native.VERSION:
        raise FormatError(
            f"the plan is of version {public.get('plan version')}, this is {native.VERSION}; compile the model again"
        )
    try:
        return native.Plan(tuple(_decode(step, arrays) for step in public["plan"]))
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"the plan is damaged: {error}") from error


def _public(folder: Path) -> tuple[dict, dict[str, np.ndarray]]:
    path = folder / _PUBLIC
    try:
        public = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise FormatError(f"no program at {folder}: {error}") from error
    if not isinstance(public, dict) or public.get("format") != _FORMAT:
        raise FormatError(f"{path} is not a program of autorep_fx")
    if public.get("version") != _VERSION:
        raise FormatError(f"{path} is of version {public.get('version')}, this is {_VERSION}; compile the model again")
    return public, _tensors(folder / _ARRAYS)[1]


def _tensors(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    try:
        with safe_open(path, "numpy") as file:
            return file.metadata() or {}, {key: file.get_tensor(key) for key in file.keys()}
    except (OSError, SafetensorError) as error:
        raise FormatError(f"{path} cannot be read: {error}") from error


def _encode(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, (Step, native.Step)):
        kind = "step" if isinstance(value, Step) else "native step"
        return {kind: {f.name: _encode(getattr(value, f.name), arrays) for f in dataclasses.fields(value)}}
    if isinstance(value, dict):
        return {"dict": {key: _encode(v, arrays) for key, v in value.items()}}
    if isinstance(value, tuple):
        return {"tuple": [_encode(v, arrays) for v in value]}
    if isinstance(value, list):
        return [_encode(v, arrays) for v in value]
    if isinstance(value, slice):
        return {"slice": [value.start, value.stop, value.step]}
    if value is Ellipsis:
        return {"ellipsis": None}
    if isinstance(value, (np.ndarray, torch.Tensor)):
        key = str(len(arrays))
        arrays[key] = np.ascontiguousarray(value if isinstance(value, np.ndarray) else value.numpy())
        return {"array" if isinstance(value, np.ndarray) else "tensor": key}
    return value.item() if isinstance(value, np.generic) else value


def _decode(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_decode(v, arrays) for v in value]
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind in ("step", "native step"):
        made = Step if kind == "step" else native.Step
        return made(**{name: _decode(v, arrays) for name, v in inner.items()})
    if kind == "dict":
        return {key: _decode(v, arrays) for key, v in inner.items()}
    if kind == "tuple":
        return tuple(_decode(v, arrays) for v in inner)
    if kind == "slice":
        return slice(*inner)
    if kind == "ellipsis":
        return Ellipsis
    if kind == "array":
        return arrays[inner]
    if kind == "tensor":
        return torch.from_numpy(arrays[inner])
    raise ValueError(f"unknown kind of value {kind!r}")
