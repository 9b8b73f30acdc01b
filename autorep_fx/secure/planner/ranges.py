"""How large the values get that a program computes: the ground that windows and exponents stand on."""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from torch import Tensor

from ..plan.input_range import InputRange
from ..program.plaintext import OPS, single, walk
from ..program.program import Program
from .reach import Reach, by_channel, by_sample, start
from .table import SOURCES

#: Seven significant bits, the least that the planner takes, round by less.
ROUNDED = 1 + 2.0**-6

#: Values of all steps that are held at once, about.
_AT_ONCE = 2**25


def at_once(program: Program) -> int:
    """How many samples may be walked at once without filling the memory."""
    sizes = prod(program.public.sample_shape) + sum(prod(step.shape) for step in program.steps)
    return max(_AT_ONCE // sizes, 1)


def evenly(program: Program, x: Tensor) -> tuple[Tensor, ...]:
    """Parts of a batch that may be walked at once, of nearly one size: kernels are made for each size."""
    return x.chunk(max(-(-len(x) // at_once(program)), 1))


def calibrated(program: Program, examples: Tensor) -> Reach:
    """What the examples reach, and what roundings may add. Other inputs reach further; the margin is for them."""
    return together(by_samples(program, examples))


def by_samples(program: Program, examples: Tensor) -> Reach:
    """What each example reaches of every value, (N, C) by name. In float32, where that is large enough."""
    parts = [_by_samples(single(program), part) for part in evenly(program, examples)]
    if not all(np.isfinite(found).all() for part in parts for found in part.values()):
        parts = [_by_samples(program, part) for part in evenly(program, examples)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _by_samples(program: Program, part: Tensor) -> Reach:
    found: Reach = {}
    walk(program, part, lambda name, value: found.update({name: by_sample(value)}))
    return found


def together(found: Reach, which: np.ndarray | slice = slice(None)) -> Reach:
    """What those samples reach together, of :func:`by_samples`, and what roundings may add."""
    return {name: value[which].max(0, initial=0.0) * ROUNDED for name, value in found.items()}


def larger(one: Reach, other: Reach) -> Reach:
    """What either reaches."""
    return {name: np.maximum(one[name], other[name]) for name in one}


def growth(reach: Reach, found: Reach) -> np.ndarray:
    """By how much each input exceeds ``reach`` at the step where it does most, (N,). found: of :func:`by_samples`."""
    most = np.zeros(len(next(iter(found.values()))))
    for name, value in found.items():
        largest, known = value.max(1, initial=0.0), reach[name].max(initial=0.0)
        most = np.maximum(most, largest / known if known else np.where(largest > 0, np.inf, 0.0))
    return most


def worst_case(program: Program, within: InputRange) -> Reach:
    """What no input in the range exceeds in exact arithmetic, by interval arithmetic.

    Of a chain of affine steps it is what an input reaches; behind every other step it is further above that. In float32
    for a :func:`~..program.plaintext.single` program, which then is off by what float32 rounds.
    """
    middle, radius = _ends(program, within)
    for step in program.steps:
        source, secrets = SOURCES[step.op], program.secrets(step)
        middles, radii = ([found[name] for name in step.inputs] for found in (middle, radius))
        if source.affine:
            bound = source.bound(step, secrets, *(torch.cat([r, torch.zeros_like(r)]) for r in radii))
            middle[step.name] = OPS[step.op](step, secrets, *middles)
            radius[step.name] = bound[:1] - bound[-1:]  # less the constant
        else:
            radius[step.name] = source.bound(step, secrets, *(m.abs() + r for m, r in zip(middles, radii)))
            middle[step.name] = torch.zeros_like(radius[step.name])
    return {name: by_channel(middle[name].abs() + radius[name]) for name in middle}


def _ends(program: Program, within: InputRange) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Middle and radius of every input, by its name, (1, *shape)."""
    middles, radii = {}, {}
    for name, sizes in program.public.inputs.items():
        own, largest = within.of(name), start(within.of(name), sizes)
        shape = (1, -1, *(1,) * (len(sizes) - 1)) if sizes else (1,)
        middles[name] = torch.from_numpy((own.low + own.high) / 2).reshape(shape).expand(largest.shape)
        half = torch.from_numpy((own.high - own.low) / 2).reshape(shape).expand(largest.shape)
        radii[name] = half + largest - torch.from_numpy(own.largest).reshape(shape).expand(largest.shape)
    dtype = next((tensor.dtype for tensor in program.server.values()), torch.float64)
    return (
        {name: end.to(dtype) for name, end in middles.items()},
        {name: end.to(dtype) for name, end in radii.items()},
    )
