"""Every operation of a program on shares. A function, or a line, for each op, with its rounds."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..program import tensor_ops
from ..program.program import Step
from .fixed_point import whole_factor
from .shares import Shares, truncate
from .site import by_position, hybrid


def laid_out(step: Step, numbers: dict[str, Tensor]) -> dict[str, Tensor]:
    """The server's numbers of a step, by role, shaped like what they are used with."""
    if step.op == "hybrid":
        return by_position(step, numbers)
    if step.op in ("conv2d", "affine"):
        dim = len(step.shape) + 1
        return {role: v if role == "weight" else tensor_ops.channels(v, dim) for role, v in numbers.items()}
    return numbers


def _linear(s: Shares, step: Step, numbers: dict[str, Tensor], x: Tensor) -> Tensor:
    """1 round: one way, or (torch) both x and the weights are opened, the weights anew in every run."""
    role, added = ("scale", "shift") if step.op == "affine" else ("weight", "bias")
    (y,) = s.run(s.product(step, role, numbers[role], x))
    y = s.rescale(y)
    return s.add(y, numbers[added]) if added in numbers else y


def _mul(s: Shares, step: Step, numbers: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """1 round."""
    x, y = (v.expand(len(v), *step.shape) for v in (x, y))
    (product,) = s.run(s.multiply(step, "product", x, y))
    return s.rescale(product)


def _matmul(s: Shares, step: Step, numbers: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """1 round."""
    (product,) = s.run(s.matmul(step, "product", x, y))
    return s.rescale(product)


def _scale(s: Shares, step: Step, numbers: dict[str, Tensor], x: Tensor) -> Tensor:
    """No message. A whole factor is exact, a fraction 1/k a division, anything else a product with a rounded number."""
    whole, divisor = whole_factor(step.attrs["factor"])
    if whole is not None:
        return x * whole
    if divisor is not None:
        return truncate(x, divisor)
    return s.rescale(x * round(step.attrs["factor"] * 2.0**s.frac_bits))


def _max_pool2d(s: Shares, step: Step, numbers: dict[str, Tensor], x: Tensor) -> Tensor:
    """A tree of ``max(a, b) = b + relu(a - b)`` over every window, ceil(log2(window)) levels of 5 rounds (torch: 9)."""
    # Below everything that the compiler lets pass, far above the ring's edge; only one party holds it.
    fill = -(2 ** (62 - s.frac_bits)) if s.first else 0
    window, level = tensor_ops.windows(step, x, fill), 0
    while len(window) > 1:
        half = len(window) // 2
        a, b, odd = window[:half], window[half : 2 * half], window[2 * half :]
        (larger,) = s.run(s.relu(step, f"level{level}", a - b))
        window, level = torch.cat([b + larger, odd]), level + 1
    return window[0]


#: op -> function of the shares' arithmetic, the step, the server's numbers and the inputs.
OPS: dict[str, Callable[..., Tensor]] = {
    "conv2d": _linear,
    "linear": _linear,
    "affine": _linear,
    "add": lambda s, step, numbers, x, y: x + step.attrs["sign"] * y,
    "mul": _mul,
    "matmul": _matmul,
    "add_number": lambda s, step, numbers, x: s.add_public(x, step.attrs["number"]),
    "add_private": lambda s, step, numbers, x: x + numbers["constant"],  # x may broadcast, at both parties
    "scale": _scale,
    "avg_pool2d": lambda s, step, numbers, x: truncate(tensor_ops.sum_pool2d(step, x), step.attrs["divisor"]),
    "mean": lambda s, step, numbers, x: truncate(tensor_ops.sum_over(step, x), tensor_ops.summed(step, x)),
    "sum": lambda s, step, numbers, x: tensor_ops.sum_over(step, x),
    "max_pool2d": _max_pool2d,
    "hybrid": hybrid,
    **{op: (lambda s, step, numbers, *x, _move=move: _move(step, *x)) for op, move in tensor_ops.MOVES.items()},
}
