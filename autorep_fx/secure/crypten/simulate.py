"""A run on CrypTen in float64, in the clear, in its order: ``cut`` is called wherever it divides shares and so errs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..program import plaintext, tensor_ops
from ..program.kept import kept
from ..program.program import Step
from .fixed_point import FixedProgram, on_grid, to_grid, whole_factor

#: Gets a value and the public integer that shares are divided by to get it (None: 2**frac_bits); returns the value,
#: with an error if it likes.
Cut = Callable[[Tensor, int | None], Tensor]


def exact(value: Tensor, divisor: int | None) -> Tensor:
    """The ``cut`` of exact arithmetic."""
    return value


def execute(program: FixedProgram, x: Tensor, *, rounded: bool = False, cut: Cut = exact) -> Tensor:
    """Run the steps in float64 and return the output.

    Args:
        rounded: round the input and the server's numbers to the fixed-point grid, as a private run does.
        cut: what happens where the private run divides shares.
    """
    return values(program, x, rounded=rounded, cut=cut)[program.public.output]


def values(program: FixedProgram, x: Tensor, *, rounded: bool = False, cut: Cut = exact) -> dict[str, Tensor]:
    """Every intermediate value, by name."""
    program.check_input(x)
    x = x.detach().to("cpu", torch.float64)
    server = on_grid(program) if rounded else program.server
    found = program.public.given(to_grid(x, program.frac_bits) if rounded else x)
    for step in program.steps:
        secrets = {role: server[key] for role, key in step.secrets.items()}
        found[step.name] = OPS[step.op](step, secrets, cut, *(found[name] for name in step.inputs))
    return found


def simulated(frac_bits: int, generator: torch.Generator) -> Cut:
    """The ``cut`` of two parties: up or down to the grid, unbiased (precision.py)."""
    scale = 2.0**frac_bits

    def cut(value: Tensor, divisor: int | None) -> Tensor:
        return (value * scale + torch.rand(value.shape, generator=generator, dtype=torch.float64)).floor() / scale

    return cut


def _product(step: Step, secrets: dict[str, Tensor], cut: Cut, x: Tensor) -> Tensor:
    """A linear step: its product is divided, its bias is added behind that."""
    bias = secrets.get("bias", secrets.get("shift"))
    y = cut(plaintext.OPS[step.op](step, {r: v for r, v in secrets.items() if r not in ("bias", "shift")}, x), None)
    if bias is None:
        return y
    return y + (bias if step.op == "linear" else tensor_ops.channels(bias, y.dim()))


def _scale(step: Step, secrets: dict[str, Tensor], cut: Cut, x: Tensor) -> Tensor:
    whole, divisor = whole_factor(step.attrs["factor"])
    y = x * step.attrs["factor"]
    return y if whole is not None else cut(y, divisor)


def _mean(step: Step, secrets: dict[str, Tensor], cut: Cut, x: Tensor) -> Tensor:
    return cut(plaintext.OPS[step.op](step, secrets, x), step.attrs.get("divisor") or tensor_ops.summed(step, x))


def _kept(step: Step, secrets: dict[str, Tensor], cut: Cut, x: Tensor) -> Tensor:
    if "knots" not in step.attrs:
        return kept(step, secrets, x, lambda y: cut(y, None))
    c0, c1, c2 = coefficients(step, x)
    return cut((cut(c2 * x, None) + c1) * x, None) + c0


def coefficients(step: Step, x: Tensor) -> tuple[Tensor, ...]:
    """Those of the piece of a spline that each element lies in."""
    piece = torch.searchsorted(torch.tensor(step.attrs["knots"], dtype=torch.float64), x.detach(), right=True)
    return tuple(torch.tensor(step.attrs[f"c{k}"], dtype=torch.float64)[piece] for k in range(3))


def _hybrid(step: Step, secrets: dict[str, Tensor], cut: Cut, x: Tensor) -> Tensor:
    a, flat = step.attrs, x.flatten(1)
    out = torch.empty_like(flat)
    if len(a["kept"]):
        out[:, a["kept"]] = _kept(step, secrets, cut, flat[:, a["kept"]])
    if len(a["square"]):
        factor, offset, constant = (
            tensor_ops.by_position(step, secrets[n], "square") for n in ("factor", "offset", "constant")
        )
        squared = cut((flat[:, a["square"]] + offset) ** 2, None)
        out[:, a["square"]] = cut(factor * squared, None) + constant
    if len(a["direct"]):
        z, coeffs = flat[:, a["direct"]], tensor_ops.by_position(step, secrets["coeffs"], "direct")
        y = coeffs[-1].expand_as(z)
        for c in coeffs[:-1].flip(0):
            y = cut(y * z, None) + c
        out[:, a["direct"]] = y
    return out.view_as(x)


#: op -> function of the step, its secrets, ``cut`` and the inputs.
OPS: dict[str, Callable[..., Tensor]] = {
    **{op: (lambda step, secrets, cut, *x, _op=plain: _op(step, secrets, *x)) for op, plain in plaintext.OPS.items()},
    "conv2d": _product,
    "linear": _product,
    "affine": _product,
    "mul": lambda step, secrets, cut, x, y: cut(x * y, None),
    "matmul": lambda step, secrets, cut, x, y: cut(x @ y, None),
    "scale": _scale,
    "avg_pool2d": _mean,
    "mean": _mean,
    "hybrid": _hybrid,
}
