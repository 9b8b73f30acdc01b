"""How large the values get that a program computes: the ground that windows and exponents stand on."""

from __future__ import annotations

from math import prod

import numpy as np
from torch import Tensor

from ..plan.input_range import InputRange
from ..program.plaintext import values
from ..program.program import Program
from .reach import Reach, by_channel, start
from .table import SOURCES

#: Seven significant bits, the least that the planner takes, round by less.
_ROUNDED = 1 + 2.0**-6

#: Values of all steps that are held at once, about.
_AT_ONCE = 2**25


def at_once(program: Program) -> int:
    """How many samples may be walked at once without filling the memory."""
    sizes = prod(program.public.input_shape) + sum(prod(step.shape) for step in program.steps)
    return max(_AT_ONCE // sizes, 1)


def calibrated(program: Program, examples: Tensor) -> Reach:
    """What the examples reach, and what roundings may add. Other inputs reach further; the margin is for them."""
    reach: Reach = {}
    for part in examples.split(at_once(program)):
        found = {name: by_channel(value) for name, value in values(program, part).items()}
        reach = larger(reach, found) if reach else found
    return {name: found * _ROUNDED for name, found in reach.items()}


def larger(one: Reach, other: Reach) -> Reach:
    """What either reaches."""
    return {name: np.maximum(one[name], other[name]) for name in one}


def growth(program: Program, reach: Reach, inputs: Tensor) -> np.ndarray:
    """By how much each input exceeds ``reach`` at the step where it does most, (N,)."""
    most = []
    for part in inputs.split(at_once(program)):
        found = np.zeros(len(part))
        for name, value in values(program, part).items():
            largest = value.abs().reshape(len(part), -1).amax(1).numpy()
            known = reach[name].max(initial=0.0)
            found = np.maximum(found, largest / known if known else np.where(largest > 0, np.inf, 0.0))
        most.append(found)
    return np.concatenate(most)


def worst_case(program: Program, within: InputRange) -> Reach:
    """What no input in the range exceeds in exact arithmetic, by interval arithmetic. Grows quickly with depth."""
    bounds = {program.public.input: start(within, program.public.input_shape)}
    for step in program.steps:
        bounds[step.name] = SOURCES[step.op].bound(step, program.secrets(step), *(bounds[name] for name in step.inputs))
    return {name: by_channel(bound) for name, bound in bounds.items()}
