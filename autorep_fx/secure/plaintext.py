"""The program in float64, in the clear: what the private run must agree with.

It computes in the order of the private run and calls ``cut`` wherever that one divides shares and so makes an error.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from . import structure
from .fixed_point import on_grid, to_grid, whole_factor
from .program import SecureProgram, Step

#: Gets a value and the public integer that shares are divided by to get it (None: 2**frac_bits); returns the value,
#: with an error if it likes.
Cut = Callable[[Tensor, int | None], Tensor]


def exact(value: Tensor, divisor: int | None) -> Tensor:
    """The ``cut`` of exact arithmetic."""
    return value


def execute(program: SecureProgram, x: Tensor, *, rounded: bool = False, cut: Cut = exact) -> Tensor:
    """Run the steps in float64 and return the output.

    Args:
        rounded: round the input and the server's numbers to the fixed-point grid, as a private run does.
        cut: what happens where the private run divides shares.
    """
    return values(program, x, rounded=rounded, cut=cut)[program.public.output]


def values(program: SecureProgram, x: Tensor, *, rounded: bool = False, cut: Cut = exact) -> dict[str, Tensor]:
    """Every intermediate value, by name."""
    program.check_input(x)
    x = x.detach().to("cpu", torch.float64)
    server = on_grid(program) if rounded else program.server
    found = {program.public.input: to_grid(x, program.frac_bits) if rounded else x}
    for step in program.steps:
        secrets = {role: server[key] for role, key in step.secrets.items()}
        found[step.name] = OPS[step.op](step, secrets, cut, *(found[name] for name in step.inputs))
    return found


def simulated(frac_bits: int, generator: torch.Generator) -> Cut:
    """The ``cut`` of two parties: up or down to the grid, unbiased (error_bound.py)."""
    scale = 2.0**frac_bits

    def cut(value: Tensor, divisor: int | None) -> Tensor:
        return (value * scale + torch.rand(value.shape, generator=generator, dtype=torch.float64)).floor() / scale

    return cut


def _conv2d(step: Step, secrets: dict[str, Tensor], cut: Cut, x: Tensor) -> Tensor:
    a = step.attrs
    y = cut(F.conv2d(x, secrets["weight"], None, a["stride"], a["padding"], a["dilation"], a["groups"]), None)
    return y + structure.channels(secrets["bias"], 4) if "bias" in secrets else y


def _linear(step: Step, secrets: dict[str, Tensor], cut: Cut, x: Tensor) -> Tensor:
    y = cut(F.linear(x, secrets["weight"]), None)
    return y + secrets["bias"] if "bias" in secrets else y


def _affine(step: Step, secrets: dict[str, Tensor], cut: Cut, x: Tensor) -> Tensor:
    return cut(x * structure.channels(secrets["scale"], x.dim()), None) + structure.channels(secrets["shift"], x.dim())


def _scale(step: Step, secrets: dict[str, Tensor], cut: Cut, x: Tensor) -> Tensor:
    whole, divisor = whole_factor(step.attrs["factor"])
    y = x * step.attrs["factor"]
    return y if whole is not None else cut(y, divisor)


def _avg_pool2d(step: Step, secrets: dict[str, Tensor], cut: Cut, x: Tensor) -> Tensor:
    return cut(structure.sum_pool2d(step, x) / step.attrs["divisor"], step.attrs["divisor"])


def _mean(step: Step, secrets: dict[str, Tensor], cut: Cut, x: Tensor) -> Tensor:
    return cut(structure.sum_over(step, x) / structure.summed(step, x), structure.summed(step, x))


def _max_pool2d(step: Step, secrets: dict[str, Tensor], cut: Cut, x: Tensor) -> Tensor:
    return structure.windows(step, x, float("-inf")).amax(0)


def _hybrid(step: Step, secrets: dict[str, Tensor], cut: Cut, x: Tensor) -> Tensor:
    a, flat = step.attrs, x.flatten(1)
    out = torch.empty_like(flat)
    if len(a["kept"]):
        out[:, a["kept"]] = _kept(step, secrets, cut, flat[:, a["kept"]])
    if len(a["square"]):
        factor, offset, constant = (
            structure.by_position(step, secrets[n], "square") for n in ("factor", "offset", "constant")
        )
        squared = cut((flat[:, a["square"]] + offset) ** 2, None)
        out[:, a["square"]] = cut(factor * squared, None) + constant
    if len(a["direct"]):
        z, coeffs = flat[:, a["direct"]], structure.by_position(step, secrets["coeffs"], "direct")
        y = coeffs[-1].expand_as(z)
        for c in coeffs[:-1].flip(0):
            y = cut(y * z, None) + c
        out[:, a["direct"]] = y
    return out.view_as(x)


def _kept(step: Step, secrets: dict[str, Tensor], cut: Cut, x: Tensor) -> Tensor:
    kind = step.attrs["kind"]
    if kind == "relu6":
        return x.clamp(0, 6)
    if kind == "leaky_relu":
        return x.relu() + cut((x - x.relu()) * step.attrs["slope"], None)
    if kind == "prelu":
        return x.relu() + cut((x - x.relu()) * structure.by_position(step, secrets["slope"], "kept"), None)
    return x.relu()


#: op -> function of the step, its secrets, ``cut`` and the inputs.
OPS: dict[str, Callable[..., Tensor]] = {
    "conv2d": _conv2d,
    "linear": _linear,
    "affine": _affine,
    "add": lambda step, secrets, cut, x, y: x + step.attrs["sign"] * y,
    "add_number": lambda step, secrets, cut, x: x + step.attrs["number"],
    "add_private": lambda step, secrets, cut, x: x + secrets["constant"],
    "scale": _scale,
    "avg_pool2d": _avg_pool2d,
    "mean": _mean,
    "max_pool2d": _max_pool2d,
    "hybrid": _hybrid,
    **{
        op: (lambda step, secrets, cut, *inputs, _move=move: _move(step, *inputs))
        for op, move in structure.MOVES.items()
    },
}
