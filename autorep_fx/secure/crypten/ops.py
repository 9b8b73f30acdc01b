"""Every operation of a program on shares. One function, or a line, for each op; rounds in its comment."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..program import tensor_ops
from ..program.program import Step
from .beaver import Shares
from .fixed_point import whole_factor
from .site import hybrid, relu
from .values import Values


def _conv2d(s: Shares, step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    """One round: x and the weights are opened under masks, the weights anew in every run (CrypTen does so)."""
    a = step.attrs
    options = {name: a[name] for name in ("stride", "padding", "dilation", "groups")}
    y = s.rescale(s.linear("conv2d", x, secrets["weight"], **options))
    return y + tensor_ops.channels(secrets["bias"], 4) if "bias" in secrets else y


def _linear(s: Shares, step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    """One round."""
    y = s.rescale(s.linear("matmul", x, secrets["weight"].t().contiguous()))
    return y + secrets["bias"] if "bias" in secrets else y


def _affine(s: Shares, step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    """One round."""
    y = s.rescale(s.linear("mul", x, tensor_ops.channels(secrets["scale"], x.dim())))
    return y + tensor_ops.channels(secrets["shift"], x.dim())


def _mul(s: Shares, step: Step, secrets: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """One round."""
    (product,) = s.open_round([], [(x.expand(len(x), *step.shape), y.expand(len(y), *step.shape))])[1]
    return s.rescale(product)


def _scale(s: Shares, step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    """No message. A whole factor is exact, a fraction 1/k a division, anything else a product with a rounded number."""
    whole, divisor = whole_factor(step.attrs["factor"])
    if whole is not None:
        return x * whole
    if divisor is not None:
        return s.kernels.truncate(x, divisor)
    return s.rescale(x * round(step.attrs["factor"] * 2.0**s.frac_bits))


def _max_pool2d(s: Shares, step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    """9 rounds a level."""
    return max_tree(s, step, x, lambda difference: relu(s, difference))


def max_tree(s: Values, step: Step, x: Tensor, relu: Callable[[Tensor], Tensor]) -> Tensor:
    """A tree of ``max(a, b) = b + relu(a - b)`` over every window, ceil(log2(window)) levels."""
    # Below everything that the compiler lets pass, far above the ring's edge; only one party holds it.
    fill = -(2 ** (62 - s.frac_bits)) if s.first else 0
    window = tensor_ops.windows(step, x, fill)
    while len(window) > 1:
        half = len(window) // 2
        a, b, odd = window[:half], window[half : 2 * half], window[2 * half :]
        window = torch.cat([b + relu(a - b), odd])
    return window[0]


#: op -> function of the shares' arithmetic, the step, its secrets and its inputs.
OPS: dict[str, Callable[..., Tensor]] = {
    "conv2d": _conv2d,
    "linear": _linear,
    "affine": _affine,
    "add": lambda s, step, secrets, x, y: x + step.attrs["sign"] * y,
    "mul": _mul,
    "add_number": lambda s, step, secrets, x: s.add_public(x, step.attrs["number"]),
    "add_private": lambda s, step, secrets, x: x + secrets["constant"],
    "scale": _scale,
    "avg_pool2d": lambda s, step, secrets, x: s.kernels.truncate(tensor_ops.sum_pool2d(step, x), step.attrs["divisor"]),
    "mean": lambda s, step, secrets, x: s.kernels.truncate(tensor_ops.sum_over(step, x), tensor_ops.summed(step, x)),
    "max_pool2d": _max_pool2d,
    "hybrid": hybrid,
    **{op: (lambda s, step, secrets, *x, _move=move: _move(step, *x)) for op, move in tensor_ops.MOVES.items()},
}
