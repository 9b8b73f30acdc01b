"""Channel factors and shifts folded into the layer before them, however the model wrote either."""

from __future__ import annotations

import dataclasses

from ..program.channel_scaling import scale_rows, scales_rows
from ..program.program import Program, Step


def fold_affine(program: Program) -> Program:
    """A batch norm behind ``F.conv2d`` or behind a layer that is called twice is a step of its own, which takes
    significant bits from what it multiplies; here it goes into the weights, where it alone reads their result."""
    readers, steps, server = program.public.readers(), {}, dict(program.server)
    for step in program.steps:
        layer = steps.get(step.inputs[0]) if step.op == "affine" else None
        if layer is not None and readers[layer.name] == 1 and scales_rows(layer):
            step = _folded(steps.pop(layer.name), step, server)
        steps[step.name] = step
    used = {key for step in steps.values() for key in step.secrets.values()}
    server = {key: value for key, value in server.items() if key in used}
    shapes = {key: tuple(value.shape) for key, value in server.items()}
    return Program(dataclasses.replace(program.public, steps=tuple(steps.values()), secret_shapes=shapes), server)


def _folded(layer: Step, affine: Step, server: dict) -> Step:
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
