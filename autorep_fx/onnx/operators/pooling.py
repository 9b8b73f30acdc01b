"""Poolings, with paddings that differ at the two ends, too."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from ..call import Call, Unsupported, Value, operator
from .windows import Windows, padded

_MAX = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
_AVERAGE: dict[int, Any] = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
_GLOBAL: dict[str, dict[int, Any]] = {
    "GlobalAveragePool": {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d},
    "GlobalMaxPool": {1: nn.AdaptiveMaxPool1d, 2: nn.AdaptiveMaxPool2d, 3: nn.AdaptiveMaxPool3d},
}


@operator(*_GLOBAL)
def over_all(c: Call) -> Value:
    if c.rank() - 2 not in _GLOBAL[c.name]:
        raise Unsupported(f"its input has {c.rank() - 2} axes behind the channels; 1 to 3 are supported")
    return c.module(_GLOBAL[c.name][c.rank() - 2](1))


@operator("MaxPool")
def max_pool(c: Call) -> Value:
    if len(c.node.output) > 1:
        raise Unsupported("gives indices, too; only the maxima can be computed")
    w = Windows(c)
    options = {"dilation": tuple(w.dilation)}
    return _pool(c, w, _MAX[len(w.pads)], options)


@operator("AveragePool")
def average_pool(c: Call) -> Value:
    w = Windows(c)
    if any(d > 1 for d in w.dilation):
        raise Unsupported("dilations; only dense averages are supported")
    include = bool(c.attribute("count_include_pad", 0))
    if include and not w.symmetric:
        c.inputs = [padded(c.proxy(0), w.pads)]
        w = Windows(c)
        w.pads = [(0, 0)] * len(w.pads)
    return _pool(c, w, _AVERAGE[len(w.pads)], {"count_include_pad": include or not any(w.before)})


def _pool(c: Call, w: Windows, kind: Any, options: dict[str, Any]) -> Value:
    """torch pads both ends alike. Its windows begin at the same places all the same, and what it pads at the end is
    as absent as what the file pads: there are only more windows, which are cut off, or fewer, which ``ceil_mode`` adds.
    """
    up = bool(c.attribute("ceil_mode", 0))
    wanted = [_windows(n, a, b, r, s, up) for n, (a, b), r, s in zip(w.sizes, w.pads, w.reach, w.stride)]
    for ceil in (False, True):
        found = [_windows(n, a, a, r, s, ceil) for n, a, r, s in zip(w.sizes, w.before, w.reach, w.stride)]
        if all(f >= n for f, n in zip(found, wanted)):
            break
    else:
        raise Unsupported(f"pads {w.pads} on windows of {w.kernel}; paddings within half a window are supported")
    if any(2 * a > k for a, k in zip(w.before, w.kernel)):
        raise Unsupported(f"pads {w.before} on windows of {w.kernel}; paddings within half a window are supported")
    y = c.module(kind(tuple(w.kernel), tuple(w.stride), w.before, ceil_mode=ceil, **options))
    if found == wanted:
        return y
    return y[(..., *(slice(None, n) for n in wanted))]


def _windows(size: int, before: int, after: int, reach: int, stride: int, ceil: bool) -> int:
    """How many there are along an axis; of those that ``ceil`` adds, none that begins behind the input."""
    room = (size + before + after - reach) / stride
    count = (math.ceil(room) if ceil else math.floor(room)) + 1
    return count - 1 if ceil and (count - 1) * stride >= size + before else count
