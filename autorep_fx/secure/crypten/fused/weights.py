"""The server's factors: weights, coefficients and slopes that shared values are multiplied by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from .... import kernels
from ....text import brief


@dataclass(frozen=True)
class Weight:
    """What is public about a factor.

    Attributes:
        op: "conv2d", "linear", or "mul" (element-wise, the same for all samples).
        options: stride, padding, dilation and groups of a convolution.
        x_shape: shape of what a convolution will be applied to.
    """

    op: str
    shape: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)
    x_shape: tuple[int, ...] = ()

    __repr__ = brief


class Factor:
    """One operand of a product, laid out for the kernels once and used for every inference."""

    def __init__(self, weight: Weight, value: Tensor):
        self._op = weight.op
        self._options = {name: _pair(v) for name, v in weight.options.items() if name != "groups"}
        value = value.contiguous()
        if self._op != "mul":
            # The server's own weights are small; masks take the whole ring.
            bits = 32 if value.numel() and -(2**31) <= int(value.min()) and int(value.max()) < 2**31 else 64
            value = kernels.pack_weight(value, groups=weight.options.get("groups", 1), weight_bits=bits)
        if self._op == "conv2d":
            kernels.prepare_conv2d(weight.x_shape, value, **self._options)
        self._value = value

    def __call__(self, x: Tensor, add: Tensor) -> Tensor:
        """``x * factor + add``; ``add`` is overwritten by it."""
        if self._op == "mul":
            return add.addcmul_(x, self._value)
        if self._op == "linear":  # on the last axis, whatever is before it
            rows = add.view(-1, add.shape[-1])
            kernels.linear(x.reshape(-1, x.shape[-1]), self._value, add=rows, out=rows.numpy())
        else:
            kernels.conv2d(x.contiguous(), self._value, add=add, out=add.numpy(), **self._options)
        return add


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)
