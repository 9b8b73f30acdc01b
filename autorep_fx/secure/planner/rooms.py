"""What the values of a program take of the room on a plan's masked wires, step by step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ...text import brief
from ..plan import wire
from ..plan.input_headroom import RINGS
from ..plan.plan import Plan, Step
from ..plan.ring import decode
from ..plan.server_numbers import Numbers
from ..program import tensor_ops
from ..program.program import Program
from ..program.program import Step as ProgramStep
from .names import ACT, CUT, LOW, TAKEN


@dataclass(frozen=True)
class Looked:
    """A batch that is looked at.

    Attributes:
        program: with the values that the plan has; sources: its steps by name.
        plan, numbers: made of it.
        values: of the program, by name.
    """

    program: Program
    plan: Plan
    numbers: Mapping[str, Numbers]
    values: Mapping[str, Tensor]

    __repr__ = brief

    @cached_property
    def sources(self) -> dict[str, ProgramStep]:
        return {step.name: step for step in self.program.steps}


def of_wire(looked: Looked, step: Step, y: Tensor) -> Iterator[tuple[tuple[str, str], np.ndarray]]:
    """The rooms of a step with one wire, on which ``y`` is but for what the server adds."""
    flat = y.reshape(len(y), -1)
    offset = _offset(step, looked.numbers.get(step.name))
    yield (step.name, RINGS[0]), largest(flat if offset is None else flat + offset)
    kept = step.attrs.get("kept", ())
    if len(kept):
        compared = flat if len(kept) == step.size or flat.shape[1] != step.size else flat[:, kept]
        unit = 2.0 ** -(step.frac_bits - step.attrs["align"])
        points = [0.0] if "knots" in step.attrs else [point * unit for point in wire.points(step)]
        yield (step.name, "window"), np.max([largest(compared - point) for point in points], 0)


def of_activation(looked: Looked, step: Step) -> Iterator[tuple[tuple[str, str], np.ndarray]]:
    """The rooms of a site, of a truncation in between, or of a level of a max pooling, which pads."""
    found, sources = looked.values, looked.sources
    if (source := step.inputs[0].removesuffix(CUT)) in found:  # a site, or a truncation in between
        yield from of_wire(looked, step, found[source])
    elif step.inputs[0].endswith(TAKEN):
        x = found[sources[step.name.removesuffix(ACT)].inputs[0]]
        yield from of_wire(looked, step, _taken(looked.plan, step, looked.numbers, x))
    else:
        pool = sources[_pool_of(step.name, sources)]
        x = found[pool.inputs[0]]
        padding = next((s for s in looked.plan.steps if s.name == pool.name + LOW), None)
        low = math.inf if padding is None else bottom(padding, looked.numbers[padding.name])
        if padding is not None:
            yield (padding.name, "padding"), largest(-x.reshape(len(x), -1).clamp(max=0.0))
        yield from of_wire(looked, step, _gaps(pool, x, low))


def _taken(plan: Plan, step: Step, numbers: Mapping[str, Numbers], x: Tensor) -> Tensor:
    """The positions of a site of lines that travel, times what its layer was multiplied by."""
    taken, scale = next(s for s in plan.steps if s.name == step.inputs[0]), np.ones(step.size)
    own = next((s for s in plan.steps if s.inputs == (step.name,) and s.op == "map"), None)
    if own is not None:
        kept = step.attrs["kept"]
        scale[kept] = 1 / decode(numbers[own.name].weight, own.attrs["weight_bits"])[kept]
    return x.flatten(1)[:, taken.attrs["positions"]] * torch.from_numpy(scale)


def _offset(step: Step, own: Numbers | None) -> Tensor | None:
    """What the server adds to a wire before it is masked: the offsets of the completed squares."""
    if own is None or own.constant is None:
        return None
    offset = np.broadcast_to(decode(own.constant, wire.wire_bits(step)), step.shape)
    return torch.from_numpy(offset.reshape(1, -1).copy())


def largest(flat: Tensor) -> np.ndarray:
    """Of each sample of (N, P)."""
    return flat.abs().amax(1).numpy() if flat.shape[1] else np.zeros(len(flat))


def _pool_of(name: str, sources: Mapping[str, ProgramStep]) -> str:
    """The max pooling that a comparison of its tree belongs to."""
    while name not in sources:
        name = name.rpartition(".")[0]
    return name


def bottom(padding: Step, own: Numbers) -> float:
    """What a max pooling pads with lies so far below zero."""
    return float(-decode(own.constant, padding.frac_bits).min())


def _gaps(step: ProgramStep, x: Tensor, bottom: float) -> Tensor:
    """Largest difference that a max pooling may compare in each window; padded elements are ``-bottom``."""
    padded = any(step.attrs["padding"])
    low = tensor_ops.windows(step, x, -bottom if padded else math.inf).amin(0)
    return tensor_ops.windows(step, x, -bottom if padded else -math.inf).amax(0) - low
