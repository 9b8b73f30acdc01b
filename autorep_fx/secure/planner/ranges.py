"""How large the values get that a program computes: the ground that windows and exponents stand on."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..plan.input_range import SLACK, InputRange
from ..program import tensor_ops
from ..program.kinds import EXACT
from ..program.plaintext import slope_of, values
from ..program.program import Program, Step
from ..program.spline import largest

#: Largest absolute value of each channel (axis 1 of a batch), (C,) float64, by name of a program's value.
Reach = dict[str, np.ndarray]

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
        bounds[step.name] = BOUNDS[step.op](step, program.secrets(step), *(bounds[name] for name in step.inputs))
    return {name: by_channel(bound) for name, bound in bounds.items()}


def start(within: InputRange, shape: tuple[int, ...]) -> Tensor:
    """Largest |x| of every element of a sample that is let in, (1, *shape)."""
    largest = torch.from_numpy(within.largest * (1 + SLACK))
    return largest.reshape(1, -1, *(1,) * (len(shape) - 1)).expand(1, *shape) if shape else largest.reshape(1)


def by_channel(value: Tensor) -> np.ndarray:
    """Largest |v| over samples and positions of a batch (N, C, ...), (C,)."""
    if value.dim() < 2:
        return value.abs().amax().reshape(1).numpy()
    rows = value.abs().transpose(0, 1).flatten(1)
    return rows.amax(1).numpy() if rows.numel() else np.zeros(len(rows))


def _conv2d(step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    a = step.attrs
    y = F.conv2d(x, secrets["weight"].abs(), None, a["stride"], a["padding"], a["dilation"], a["groups"])
    return y + tensor_ops.channels(secrets["bias"].abs(), 4) if "bias" in secrets else y


def _linear(step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    y = F.linear(x, secrets["weight"].abs())
    return y + secrets["bias"].abs() if "bias" in secrets else y


def _hybrid(step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    a, flat = step.attrs, x.flatten(1)
    out = flat.clone()
    if len(a["kept"]) and a["kind"] in EXACT:
        out[:, a["kept"]] = EXACT[a["kind"]].bound(flat[:, a["kept"]], torch.as_tensor(slope_of(step, secrets)))
    elif len(a["kept"]):
        out[:, a["kept"]] = torch.from_numpy(largest(a["kind"], a["params"], flat[:, a["kept"]].numpy()))
    if len(a["replaced"]):
        z = flat[:, a["replaced"]]
        coeffs = tensor_ops.by_position(step, secrets["coeffs"], "replaced")
        out[:, a["replaced"]] = sum(c.abs() * z**k for k, c in enumerate(coeffs))
    return out.view_as(x)


#: op -> bound on the absolute value of the result from those of the inputs.
BOUNDS: dict[str, Callable[..., Tensor]] = {
    "conv2d": _conv2d,
    "linear": _linear,
    "affine": lambda step, s, x: (
        x * tensor_ops.channels(s["scale"].abs(), x.dim()) + tensor_ops.channels(s["shift"].abs(), x.dim())
    ),
    "add": lambda step, s, x, y: x + y,
    "mul": lambda step, s, x, y: x * y,
    "add_number": lambda step, s, x: x + abs(step.attrs["number"]),
    "add_private": lambda step, s, x: x + s["constant"].abs(),
    "scale": lambda step, s, x: x * abs(step.attrs["factor"]),
    "avg_pool2d": lambda step, s, x: tensor_ops.sum_pool2d(step, x) / step.attrs["divisor"],
    "mean": lambda step, s, x: tensor_ops.sum_over(step, x) / tensor_ops.summed(step, x),
    "max_pool2d": lambda step, s, x: tensor_ops.windows(step, x, 0.0).amax(0),
    "hybrid": _hybrid,
    **{op: (lambda step, s, *inputs, _move=move: _move(step, *inputs)) for op, move in tensor_ops.MOVES.items()},
}
