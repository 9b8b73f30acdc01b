"""Factors, shifts and biases folded into the layer before them, however the model wrote either."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor

from ..program.channel_scaling import scale_rows, scales_rows
from ..program.program import Program, Step
from ..program.tensor_ops import MOVES


def fold_affine(program: Program) -> Program:
    """A batch norm behind ``F.conv2d`` or behind a layer that is called twice is a step of its own, which takes
    significant bits from what it multiplies; here it goes into the weights, where it alone reads their result, also
    where that is moved in between (convolutions along one or three axes, transposed ones). A row that is added to what
    a linear layer gives (``x @ weight + bias``) is its bias.
    """
    readers, steps, server = program.public.readers(), {}, dict(program.server)
    for step in program.steps:
        layer, moves = _layer_of(step, steps, readers) if step.op == "affine" else (None, [])
        factors = None if layer is None else _by_row(layer, moves, step, server)
        if factors is not None and not moves:
            step = _folded(steps.pop(layer.name), step.name, *factors, server)
        elif factors is not None:
            steps[layer.name] = _folded(layer, layer.name, *factors, server)
            step = dataclasses.replace(steps.pop(moves[-1].name), name=step.name)
        layer = steps.get(step.inputs[0]) if step.op == "add_private" else None
        if layer is not None and layer.op == "linear" and readers[layer.name] == 1:
            row = _row(server[step.secrets["constant"]], layer.shape[-1])
            if row is not None:
                step = _with_bias(steps.pop(layer.name), step.name, row, server)
        steps[step.name] = step
    used = {key for step in steps.values() for key in step.secrets.values()}
    server = {key: value for key, value in server.items() if key in used}
    shapes = {key: tuple(value.shape) for key, value in server.items()}
    return Program(dataclasses.replace(program.public, steps=tuple(steps.values()), secret_shapes=shapes), server)


def _layer_of(affine: Step, steps: dict[str, Step], readers: Mapping[str, int]) -> tuple[Step | None, list[Step]]:
    """The layer whose rows ``affine`` multiplies, and what moves its result in between, nearest to the layer first."""
    moves: list[Step] = []
    step = steps.get(affine.inputs[0])
    while step is not None and readers[step.name] == 1:
        if scales_rows(step):
            return step, moves[::-1]
        crops = step.op == "pad" and max(step.attrs["pads"]) <= 0
        if not crops and step.op not in ("reshape", "permute", "index", "select"):
            break
        moves.append(step)
        step = steps.get(step.inputs[0])
    return None, []


def _by_row(
    layer: Step, moves: list[Step], affine: Step, server: dict[str, Tensor]
) -> tuple[Tensor, Tensor | None] | None:
    """Scale and shift for each row of the layer's weights; None where a row's elements come to several channels."""
    scale, shift = (server.get(affine.secrets.get(role, "")) for role in ("scale", "shift"))
    if not moves:
        return scale, shift
    count = layer.shape[0]
    rows = torch.arange(count).reshape(1, -1, *(1,) * (len(layer.shape) - 1)).expand(1, *layer.shape)
    for step in moves:
        rows = MOVES[step.op](step, rows)
    rows = rows[0].reshape(rows.shape[1], -1)
    pairs = torch.stack([rows, torch.arange(len(rows))[:, None].expand_as(rows)], -1).flatten(0, 1).unique(dim=0)
    row, channel = pairs.T
    if len(row.unique()) != len(row):
        return None
    factors = torch.ones(count, dtype=torch.float64).index_copy(0, row, scale[channel])
    shifts = None if shift is None else torch.zeros(count, dtype=torch.float64).index_copy(0, row, shift[channel])
    return factors, shifts


def _folded(layer: Step, name: str, scale: Tensor, shift: Tensor | None, server: dict[str, Tensor]) -> Step:
    """The layer under a name, with these factors and shifts of its rows. server: gets its tensors."""
    secrets = {role: f"{name}.{role}" for role in layer.secrets}
    made = dataclasses.replace(layer, name=name, secrets=secrets)
    server.update({secrets[role]: server[key] for role, key in layer.secrets.items()})
    scale_rows(made, server, scale)
    if shift is not None:
        role = "shift" if layer.op == "affine" else "bias"
        key = secrets.setdefault(role, f"{name}.{role}")
        server[key] = server[key] + shift if role in layer.secrets else shift
    return made


def _row(constant: Tensor, size: int) -> Tensor | None:
    """The constant, if it is the same row of ``size`` numbers everywhere."""
    if constant.dim() == 0 or any(n != 1 for n in constant.shape[:-1]):
        return None
    return constant.flatten().expand(size)


def _with_bias(layer: Step, name: str, row: Tensor, server: dict[str, Tensor]) -> Step:
    """The layer under another name, and with a row more in its bias. server: gets its tensors."""
    made = dataclasses.replace(layer, name=name, secrets={role: f"{name}.{role}" for role in (*layer.secrets, "bias")})
    server.update({made.secrets[role]: server[key] for role, key in layer.secrets.items()})
    key = layer.secrets.get("bias")
    server[made.secrets["bias"]] = row.clone() if key is None else server[key] + row
    return made
