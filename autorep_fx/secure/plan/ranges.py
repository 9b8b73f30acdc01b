"""How large the values get that a program computes: the ground that windows and exponents stand on."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import structure
from ..plaintext import values
from ..program import Program, Step

#: Largest absolute value by name of a program's value; "name/kept" is that of a site's input where it keeps its
#: activation.
Reach = dict[str, float]


def calibrated(program: Program, examples: Tensor) -> Reach:
    """What the examples reach, in exact arithmetic. Other inputs reach further; the planner's margin is for them."""
    return _reach(program, {name: v.abs() for name, v in values(program, examples).items()})


def worst_case(program: Program, largest: float) -> Reach:
    """What no input with |x| <= ``largest`` exceeds, by interval arithmetic. Grows quickly with depth."""
    bounds = {program.public.input: torch.full((1, *program.public.input_shape), float(largest), dtype=torch.float64)}
    for step in program.steps:
        bounds[step.name] = BOUNDS[step.op](step, program.secrets(step), *(bounds[name] for name in step.inputs))
    return _reach(program, bounds)


def _reach(program: Program, found: dict[str, Tensor]) -> Reach:
    reach = {name: float(v.max()) if v.numel() else 0.0 for name, v in found.items()}
    for step in program.steps:
        if step.op == "hybrid" and len(step.attrs["kept"]):
            reach[f"{step.name}/kept"] = float(found[step.inputs[0]].flatten(1)[:, step.attrs["kept"]].max())
    return reach


def _conv2d(step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    a = step.attrs
    y = F.conv2d(x, secrets["weight"].abs(), None, a["stride"], a["padding"], a["dilation"], a["groups"])
    return y + structure.channels(secrets["bias"].abs(), 4) if "bias" in secrets else y


def _linear(step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    y = F.linear(x, secrets["weight"].abs())
    return y + secrets["bias"].abs() if "bias" in secrets else y


def _hybrid(step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    a, flat = step.attrs, x.flatten(1)
    out = flat.clone()
    if a["kind"] == "leaky_relu":
        out *= max(1.0, abs(a["slope"]))
    elif a["kind"] == "prelu" and len(a["kept"]):
        out[:, a["kept"]] *= structure.by_position(step, secrets["slope"], "kept").abs().clamp(min=1)
    if len(a["replaced"]):
        z = flat[:, a["replaced"]]
        coeffs = structure.by_position(step, secrets["coeffs"], "replaced")
        out[:, a["replaced"]] = sum(c.abs() * z**k for k, c in enumerate(coeffs))
    return out.view_as(x)


#: op -> bound on the absolute value of the result from those of the inputs.
BOUNDS: dict[str, Callable[..., Tensor]] = {
    "conv2d": _conv2d,
    "linear": _linear,
    "affine": lambda step, s, x: (
        x * structure.channels(s["scale"].abs(), x.dim()) + structure.channels(s["shift"].abs(), x.dim())
    ),
    "add": lambda step, s, x, y: x + y,
    "add_number": lambda step, s, x: x + abs(step.attrs["number"]),
    "add_private": lambda step, s, x: x + s["constant"].abs(),
    "scale": lambda step, s, x: x * abs(step.attrs["factor"]),
    "avg_pool2d": lambda step, s, x: structure.sum_pool2d(step, x) / step.attrs["divisor"],
    "mean": lambda step, s, x: structure.sum_over(step, x) / structure.summed(step, x),
    "max_pool2d": lambda step, s, x: structure.windows(step, x, 0.0).amax(0),
    "hybrid": _hybrid,
    **{op: (lambda step, s, *inputs, _move=move: _move(step, *inputs)) for op, move in structure.MOVES.items()},
}
