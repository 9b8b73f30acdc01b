"""Channel factors and shifts folded into the layer before them, however the model wrote either."""

from __future__ import annotations

import dataclasses
from collections import Counter

from torch import Tensor

from ..program import Program, Step

_LAYERS = ("conv2d", "linear")


def fold_affine(program: Program) -> Program:
    """A batch norm behind ``F.conv2d`` or behind a layer that is called twice is a step of its own, which takes
    significant bits from what it multiplies; here it goes into the weights, where it alone reads their result."""
    readers = Counter([program.public.output, *(name for step in program.steps for name in step.inputs)])
    steps: dict[str, Step] = {}
    server = dict(program.server)
    for step in program.steps:
        layer = steps.get(step.inputs[0]) if step.op == "affine" else None
        if layer is None or readers[layer.name] != 1 or not _by_channel(layer):
            steps[step.name] = step
            continue
        own = {role: server[key] for role, key in layer.secrets.items()}
        own["weight"] = own["weight"] * _rows(server[step.secrets["scale"]], own["weight"])
        bias = own["bias"] * server[step.secrets["scale"]] if "bias" in own else 0
        if "shift" in step.secrets:
            bias = bias + server[step.secrets["shift"]]
        if isinstance(bias, Tensor):
            own["bias"] = bias
        secrets = {role: f"{step.name}.{role}" for role in own}
        del steps[layer.name]
        steps[step.name] = dataclasses.replace(layer, name=step.name, secrets=secrets)
        server.update({secrets[role]: value for role, value in own.items()})
    used = {key for step in steps.values() for key in step.secrets.values()}
    server = {key: value for key, value in server.items() if key in used}
    shapes = {key: tuple(value.shape) for key, value in server.items()}
    return Program(dataclasses.replace(program.public, steps=tuple(steps.values()), secret_shapes=shapes), server)


def _by_channel(layer: Step) -> bool:
    """Whether the rows of its weights are the channels of its result."""
    return layer.op == "conv2d" or layer.op == "linear" and len(layer.shape) == 1


def _rows(values: Tensor, weight: Tensor) -> Tensor:
    return values.reshape(-1, *(1,) * (weight.dim() - 1))
