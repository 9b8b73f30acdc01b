"""Windows that convolutions and poolings slide: kernels, strides and paddings of each axis."""

from __future__ import annotations

import math

import torch.nn.functional as F

from ..call import Call, Unsupported, Value


class Windows:
    """Of a node, along the axes behind the channels."""

    def __init__(self, call: Call, kernel: list[int] | None = None):
        self.sizes = call.shape()[2:]
        n = len(self.sizes)
        if n not in (1, 2, 3):
            raise Unsupported(f"its input has {n} axes behind the channels; 1 to 3 are supported")
        self.kernel: list[int] = call.attribute("kernel_shape") or kernel or [1] * n
        self.stride: list[int] = call.attribute("strides") or [1] * n
        self.dilation: list[int] = call.attribute("dilations") or [1] * n
        self.reach = [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation)]
        automatic = call.attribute("auto_pad", "NOTSET")
        if automatic in ("SAME_UPPER", "SAME_LOWER"):
            pairs = [self._same(i, automatic == "SAME_LOWER") for i in range(n)]
        elif automatic == "VALID":
            pairs = [(0, 0)] * n
        else:
            pads = call.attribute("pads") or [0] * (2 * n)
            pairs = [*zip(pads[:n], pads[n:])]
        self.pads: list[tuple[int, int]] = pairs

    def _same(self, i: int, lower: bool) -> tuple[int, int]:
        """As many outputs as strides fit, the odd element at the end, or at the beginning."""
        out = math.ceil(self.sizes[i] / self.stride[i])
        total = max(0, (out - 1) * self.stride[i] + self.reach[i] - self.sizes[i])
        small, large = total // 2, total - total // 2
        return (large, small) if lower else (small, large)

    @property
    def symmetric(self) -> bool:
        return all(a == b for a, b in self.pads)

    @property
    def before(self) -> tuple[int, ...]:
        return tuple(a for a, _ in self.pads)


def padded(x: Value, pads: list[tuple[int, int]], value: float = 0.0) -> Value:
    """``x`` with more of its last axes, by explicit padding; torch names the last axis first."""
    flat = tuple(n for pair in reversed(pads) for n in pair)
    return F.pad(x, flat, value=value) if any(flat) else x
