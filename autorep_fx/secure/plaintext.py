"""The program in float64, in the clear: what the private run must agree with."""

from __future__ import annotations

from typing import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from . import structure
from .fixed_point import on_grid, to_grid
from .program import SecureProgram, Step


def execute(program: SecureProgram, x: Tensor, *, rounded: bool = False) -> Tensor:
    """Run the steps in float64.

    Args:
        rounded: round the input and the server's numbers to the fixed-point grid, as a private run does.
    """
    return values(program, x, rounded=rounded)[program.public.output]


def values(program: SecureProgram, x: Tensor, *, rounded: bool = False) -> dict[str, Tensor]:
    """Every intermediate value, by name."""
    program.check_input(x)

    x = x.detach().to("cpu", torch.float64)
    server = on_grid(program) if rounded else program.server
    found = {program.public.input: to_grid(x, program.frac_bits) if rounded else x}
    for step in program.steps:
        secrets = {role: server[key] for role, key in step.secrets.items()}
        found[step.name] = OPS[step.op](step, secrets, *(found[name] for name in step.inputs))
    return found


def _conv2d(step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    a = step.attrs
    return F.conv2d(x, secrets["weight"], secrets.get("bias"), a["stride"], a["padding"], a["dilation"], a["groups"])


def _max_pool2d(step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    a = step.attrs
    return F.max_pool2d(x, a["kernel"], a["stride"], a["padding"], a["dilation"])


def _affine(step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    return x * structure.channels(secrets["scale"], x.dim()) + structure.channels(secrets["shift"], x.dim())


def _hybrid(step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    a, flat = step.attrs, x.flatten(1)
    out = torch.empty_like(flat)
    if len(a["kept"]):
        out[:, a["kept"]] = _kept(step, secrets, flat[:, a["kept"]])
    if len(a["square"]):
        factor, offset, constant = (structure.by_position(step, secrets[n], "square") for n in ("factor", "offset", "constant"))
        out[:, a["square"]] = factor * (flat[:, a["square"]] + offset) ** 2 + constant
    if len(a["direct"]):
        z, coeffs = flat[:, a["direct"]], structure.by_position(step, secrets["coeffs"], "direct")
        y = coeffs[-1].expand_as(z)
        for c in coeffs[:-1].flip(0):
            y = y * z + c
        out[:, a["direct"]] = y
    return out.view_as(x)


def _kept(step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    kind = step.attrs["kind"]
    if kind == "relu6":
        return x.clamp(0, 6)
    if kind == "leaky_relu":
        return F.leaky_relu(x, step.attrs["slope"])
    if kind == "prelu":
        return torch.where(x >= 0, x, x * structure.by_position(step, secrets["slope"], "kept"))
    return x.relu()


#: op -> function of the step, its secrets and its inputs.
OPS: dict[str, Callable[..., Tensor]] = {
    "conv2d": _conv2d,
    "linear": lambda step, secrets, x: F.linear(x, secrets["weight"], secrets.get("bias")),
    "affine": _affine,
    "add": lambda step, secrets, x, y: x + step.attrs["sign"] * y,
    "add_number": lambda step, secrets, x: x + step.attrs["number"],
    "add_private": lambda step, secrets, x: x + secrets["constant"],
    "scale": lambda step, secrets, x: x * step.attrs["factor"],
    "avg_pool2d": lambda step, secrets, x: structure.sum_pool2d(step, x) / step.attrs["divisor"],
    "mean": lambda step, secrets, x: structure.sum_over(step, x) / structure.summed(step, x),
    "max_pool2d": _max_pool2d,
    "hybrid": _hybrid,
    **{op: structure.without_secrets(move) for op, move in structure.MOVES.items()},
}
