"""Factors, shifts and biases folded into the layer before them, however the model wrote either."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from ..program.channel_scaling import scale_rows, scales_rows
from ..program.program import Program, Step


def fold_affine(program: Program) -> Program:
    """A batch norm behind ``F.conv2d`` or behind a layer that is called twice is a step of its own, which takes
    significant bits from what it multiplies; here it goes into the weights, where it alone reads their result. A row
    that is added to what a linear layer gives (``x @ weight + bias``) is its bias.
    """
    readers, steps, server = program.public.readers(), {}, dict(program.server)
    for step in program.steps:
        layer = steps.get(step.inputs[0]) if step.op == "affine" else None
        if layer is not None and readers[layer.name] == 1 and scales_rows(layer):
            step = _folded(steps.pop(layer.name), step, server)
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


def _folded(layer: Step, affine: Step, server: dict[str, Tensor]) -> Step:
    """The layer with the factors and shifts of ``affine``. server: gets its tensors."""
    secrets = {role: f"{affine.name}.{role}" for role in layer.secrets}
    made = dataclasses.replace(layer, name=affine.name, secrets=secrets)
    server.update({secrets[role]: server[key] for role, key in layer.secrets.items()})
    scale_rows(made, server, server[affine.secrets["scale"]])
    if "shift" in affine.secrets:
        role = "shift" if layer.op == "affine" else "bias"
        shift, key = server[affine.secrets["shift"]], secrets.setdefault(role, f"{affine.name}.{role}")
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
