"""Max pooling as comparisons."""

from __future__ import annotations

import math

import numpy as np

from ..program.program import Step
from .builder import Builder
from .names import LOW
from .node import Node, whole_bits
from .site import Site

#: By how many bits what is padded with lies lower for extreme inputs, at most: the wires need room for that.
_LOWER = 4


def gap_names(step: Step) -> list[str]:
    """Of what is compared, level by level."""
    size = math.prod(step.attrs["kernel"])
    return [f"{step.name}.{level}.gap" for level in range((size - 1).bit_length())]


def build_max_pool(b: Builder, step: Step) -> None:
    """A tree of ``max(x, y) = y + relu(x - y)`` over the elements of each window; one activation for each level."""
    a, x, name = step.attrs, step.inputs[0], step.name
    reach, extreme, extreme_kept = b.reach(x), 2 * b.extreme(x), 2 * float(b.compared(x).max(initial=0.0))
    (ph, pw), shape = a["padding"], b.nodes[x].shape
    if ph or pw:
        shape = (*shape[:-2], shape[-2] + 2 * ph, shape[-1] + 2 * pw)
        x = b.local("pad", f"{name}.pad", [x], shape, pads=(pw, pw, ph, ph))
        bottom = whole_bits(reach) + min(b.margins.ring, b.margins.window)
        raised = min(max(whole_bits(extreme_kept / 2) - bottom, 0), _LOWER)
        reach = reach * 2**raised
        low = np.full(shape, -np.ldexp(1.0, bottom + raised))  # below everything that there is room for
        low[..., ph : shape[-2] - ph, pw : shape[-1] - pw] = 0
        x = b.constant(name + LOW, x, shape, low)
    size = a["kernel"][0] * a["kernel"][1]
    x = b.local("windows", f"{name}.windows", [x], (size, *step.shape), kernel=a["kernel"], stride=a["stride"],
                dilation=a["dilation"])  # fmt: skip
    level = 0
    while size > 1:
        half, tag = size // 2, f"{name}.{level}"
        pair = (half, *step.shape)

        def part(which: str, start: int, stop: int, x=x, tag=tag) -> str:
            index = (slice(None), slice(start, stop))
            return b.local("index", f"{tag}.{which}", [x], (stop - start, *step.shape), index=index)

        first, second = part("a", 0, half), part("b", half, 2 * half)
        gap = b.local("add", f"{tag}.gap", [first, second], pair, sign=-1)
        count = math.prod(pair)
        site = Site(
            tag,
            "relu",
            0.0,
            np.arange(count),
            np.arange(0),
            count // half,
            np.zeros((3, half)),
            np.full(half, 2 * reach),
        )
        relu = b.add(Node(f"{tag}.relu", "activation", [gap], pair, bits=0, most=b.limits.value, site=site,
                          scale=whole_bits(reach), reach=2 * reach, reach_kept=2 * reach,
                          extreme=extreme, extreme_kept=extreme_kept,
                          gain=b.gains.truncated(name)))  # fmt: skip
        best = b.local("add", f"{tag}.max", [second, relu], pair, sign=1)
        if size % 2:
            best = b.local("cat", f"{tag}.rest", [best, part("odd", 2 * half, size)], (half + 1, *step.shape), dim=1)
        x, size, level = best, half + size % 2, level + 1
    b.local("reshape", name, [x], step.shape)
