"""From the steps of a program to those of the native runtime, before any exponent is chosen."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..program.kinds import EXACT
from ..program.program import Program, Step
from .lines import build_lines, lines_of
from .node import LEAST, Limits, Margins, Node, whole_bits
from .noise_gains import UNKNOWN, Gains
from .ranges import Reach
from .site import Site, site_of

#: A value that calibration saw as zero may not stay there: it is taken to reach this part of the largest of all.
_LEAST = 2.0**-6

#: Ends the name of what a max pooling pads with.
LOW = ".low"

#: Of a kept position at least this part of what its whole site reaches is believed.
_LEAST_KEPT = 2.0**-3


class Builder:
    """One pass over the program's steps.

    whole: sites of which all positions travel, also where some are lines.
    """

    def __init__(self, program: Program, reach: Reach, limits: Limits, margins: Margins,
                 whole: frozenset[str] = frozenset(), gains: Gains = UNKNOWN):  # fmt: skip
        self.whole, self.gains = whole, gains
        self.program, self.channels, self.limits, self.margins = program, reach, limits, margins
        self.known = {name: float(found.max(initial=0.0)) for name, found in reach.items()}
        self.floor = _LEAST * (max(self.known.values(), default=0.0) or 1.0)
        self.nodes: dict[str, Node] = {}
        self.readers = program.public.readers()

    def build(self) -> dict[str, Node]:
        public = self.program.public
        scale = whole_bits(self.reach(public.input))
        self.add(Node(public.input, "input", [], public.input_shape, bits=0, most=self.limits.input + max(scale, 0),
                      scale=scale, gain=self.gains.rounded(public.input)))  # fmt: skip
        for step in public.steps:
            BUILD[step.op](self, step)
        reach = self.reach(public.output)
        scale = whole_bits(reach)
        self.add(Node("output", "output", [public.output], public.output_shape, bits=0,
                      most=self.limits.output + max(scale, 0), scale=scale, reach=reach,
                      gain=self.gains.output))  # fmt: skip
        return self.nodes

    def add(self, node: Node) -> str:
        if node.name in self.nodes:
            raise ValueError(f"two steps are called '{node.name}'")
        if node.reach is None and node.name in self.known:
            node.reach = self.reach(node.name)
        node.below = self.gains.truncated(node.name)
        self.nodes[node.name] = node
        return node.name

    def reach(self, name: str) -> float:
        return self.known[name] or self.floor

    def local(self, kind: str, name: str, inputs: list[str], shape: tuple[int, ...], **attrs: Any) -> str:
        return self.add(Node(name, "local", inputs, tuple(shape), {"kind": kind, **attrs}))

    def secret(self, step: Step, role: str) -> np.ndarray | None:
        return self.program.secrets(step)[role].numpy() if role in step.secrets else None

    def map(self, kind: str, step: Step, weight: str, constant: str, **attrs: Any) -> None:
        w, b = self.secret(step, weight), self.secret(step, constant)
        if b is not None and kind != "linear":
            b = b.reshape(-1, *(1,) * (len(step.shape) - 1))
        attrs.update(kind=kind, weight_shape=w.shape)
        chosen = {"bits": 0, "most": self.limits.weight, "scale": _weight_scale(w), "least": _least_bits(w),
                  "gain": self.gains.weight(step.name, weight)}  # fmt: skip
        self.add(Node(step.name, "map", list(step.inputs), step.shape, attrs, **chosen, weight=w, constant=b))

    def times(self, name: str, x: str, shape: tuple[int, ...], factor: float) -> str:
        """A public factor: exact where it is a short integer times a power of two."""
        mantissa, exponent = math.frexp(factor)
        whole, up = int(mantissa * 2**12), 12 - exponent
        if whole == mantissa * 2**12:
            while whole and whole % 2 == 0 and up > 0:
                whole, up = whole // 2, up - 1
            if up < 0:
                whole, up = whole << -up, 0
            return self.local("times", name, [x], shape, factor=whole, up=up)
        node = Node(
            name, "local", [x], tuple(shape), {"kind": "times", "real": factor}, bits=0, most=self.limits.number,
            gain=self.gains.relative(name),
        )  # fmt: skip
        return self.add(node)

    def factors(self, name: str, x: str, weight: np.ndarray, gain: np.ndarray | None = None) -> str:
        """The server's factors of the channels, ``weight`` (C,)."""
        attrs = {"kind": "channel", "weight_shape": weight.shape}
        return self.add(Node(name, "map", [x], self.nodes[x].shape, attrs, bits=0, most=self.limits.weight,
                             scale=_weight_scale(weight), weight=weight, gain=gain))  # fmt: skip

    def activation(self, name: str, x: str, site: Site, reach: float, reach_kept: float,
                   gain: np.ndarray | None) -> str:  # fmt: skip
        return self.add(Node(name, "activation", [x], self.nodes[x].shape, bits=0, most=self.limits.value, site=site,
                             scale=whole_bits(reach), reach=reach, reach_kept=reach_kept, gain=gain))  # fmt: skip

    def takes_factors(self, name: str) -> bool:
        """Whether the channels of a value can be multiplied at no cost of room: it comes from weights, or is a sum of
        which a part does, and one step alone reads it."""
        node = self.nodes[name]
        if self.readers[name] != 1:
            return False
        if node.attrs.get("kind") == "add":
            parts = [self.nodes[part] for part in node.inputs]
            same = all(part.shape == node.shape for part in parts)
            return same and any(self.takes_factors(part.name) for part in parts)
        kinds = ("conv2d", "channel", "linear") if len(node.shape) == 1 else ("conv2d", "channel")
        return node.op == "map" and node.attrs["kind"] in kinds

    def scale_layer(self, name: str, slope: np.ndarray, to: str, constant: np.ndarray | None = None) -> str:
        """Multiply the channels of what ``takes_factors``, and add a constant; it is called ``to`` then.

        Of a sum, a part that comes from no weights is multiplied by a map: its exponent lies below the other part's.
        """
        node = self.nodes.pop(name)
        node.name, node.reach = to, None
        if node.op == "local":
            for i, part in enumerate(node.inputs):
                new = f"{to}.{i}"
                if self.takes_factors(part):
                    signed = constant if i == 0 or constant is None else node.attrs["sign"] * constant
                    node.inputs[i], constant = self.scale_layer(part, slope, new, signed), None
                else:
                    node.inputs[i] = self.factors(new, part, slope)
            return self.add(node)

        def times(numbers: np.ndarray) -> np.ndarray:
            return numbers * slope.reshape(-1, *(1,) * (numbers.ndim - 1))

        node.weight = times(node.weight)
        node.scale, node.least = _weight_scale(node.weight), _least_bits(node.weight)
        if node.gain is not None:
            node.gain = np.divide(node.gain, slope**2, out=np.zeros(len(slope)), where=slope != 0)
        if node.constant is not None:
            node.constant = times(node.constant)
        if constant is not None:
            node.constant = constant if node.constant is None else node.constant + constant
        return self.add(node)

    def constant(self, name: str, x: str, shape: tuple[int, ...], value: np.ndarray) -> str:
        return self.add(Node(name, "constant", [x], tuple(shape), constant=np.asarray(value, np.float64)))


def _pool(b: Builder, step: Step) -> None:
    a = step.attrs
    size = {key: a[key] for key in ("kernel", "stride", "padding")}
    total = b.local("sum_pool", f"{step.name}.sum", [step.inputs[0]], step.shape, **size)
    b.times(step.name, total, step.shape, 1 / a["divisor"])


def _mean(b: Builder, step: Step) -> None:
    a, x = step.attrs, b.nodes[step.inputs[0]]
    count = math.prod(x.shape[d - 1] for d in a["dims"])
    total = b.local("sum", f"{step.name}.sum", [x.name], step.shape, dims=tuple(a["dims"]), keepdim=a["keepdim"])
    b.times(step.name, total, step.shape, 1 / count)


def _add_private(b: Builder, step: Step) -> None:
    x = step.inputs[0]
    if b.nodes[x].shape != step.shape:
        x = b.local("broadcast", f"{step.name}.broadcast", [x], step.shape)
    b.constant(step.name, x, step.shape, b.secret(step, "constant"))


def _max_pool(b: Builder, step: Step) -> None:
    """A tree of ``max(x, y) = y + relu(x - y)`` over the elements of each window; one activation for each level."""
    a, x, name = step.attrs, step.inputs[0], step.name
    reach = b.reach(x)
    (ph, pw), shape = a["padding"], b.nodes[x].shape
    if ph or pw:
        shape = (*shape[:-2], shape[-2] + 2 * ph, shape[-1] + 2 * pw)
        x = b.local("pad", f"{name}.pad", [x], shape, pads=(pw, pw, ph, ph))
        bottom = whole_bits(reach) + min(b.margins.ring, b.margins.window)
        low = np.full(shape, -np.ldexp(1.0, bottom))  # below everything that there is room for
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
                          gain=b.gains.truncated(name)))  # fmt: skip
        best = b.local("add", f"{tag}.max", [second, relu], pair, sign=1)
        if size % 2:
            best = b.local("cat", f"{tag}.rest", [best, part("odd", 2 * half, size)], (half + 1, *step.shape), dim=1)
        x, size, level = best, half + size % 2, level + 1
    b.local("reshape", name, [x], step.shape)


def _hybrid(b: Builder, step: Step) -> None:
    x = step.inputs[0]
    channels = np.maximum(b.channels[x], b.floor * (b.known[x] == 0))
    site = site_of(b.program, step, channels)
    private, kept = len(site.replaced) > 0, 0.0
    if len(site.kept):
        # What one position saw says little: its channel's others are like it.
        kept = max(channels[site.kept // site.per_channel].max(), _LEAST_KEPT * b.reach(x))
    if site.params is not None:
        kept *= 2  # a knot is taken off, which may lie at the other end
    elif kept:
        kept = EXACT[site.kind].compared(kept)
    lines = None if step.name in b.whole else lines_of(site, b.takes_factors(x))
    if lines is not None:
        build_lines(b, step.name, site, lines, x, channels, kept)
        return
    end = step.name
    if len(site.kept) and site.kind in EXACT and EXACT[site.kind].slope == "private":
        site, end = dataclasses.replace(site, kind="relu", name=f"{step.name}.relu"), f"{step.name}.relu"
    name = f"{end}.act" if private else end
    b.activation(name, x, site, b.reach(x), kept, b.gains.site(step.name))
    if private and site.unit:
        b.add(Node(end, "constant", [name], step.shape, site=site))
    elif private:
        attrs = {"kind": "position", "per_channel": site.per_channel, "replaced": site.replaced,
                 "weight_shape": (step.shape[0],)}  # fmt: skip
        b.add(Node(end, "map", [name], step.shape, attrs, bits=0, most=b.limits.factor, scale=_factor_scale(site),
                   site=site, gain=b.gains.squares(step.name, site.coeffs[2] != 0)))  # fmt: skip
    if end != step.name:
        _sloped(b, step, site, x, end)


def _sloped(b: Builder, step: Step, site: Site, x: str, relu: str) -> None:
    """``relu + slope * (x - relu)`` at the kept positions; the slopes are the server's, one a channel."""
    rest = b.local("add", f"{step.name}.rest", [x, relu], step.shape, sign=-1)
    if len(site.replaced):
        rest = b.local("at", f"{step.name}.kept", [rest], step.shape, positions=np.asarray(site.kept, np.int64))
    slope = b.secret(step, "slope")
    b.factors(f"{step.name}.slope", rest, slope, b.gains.weight(step.name, "slope"))
    b.local("add", step.name, [relu, f"{step.name}.slope"], step.shape, sign=1)


def _weight_scale(weight: np.ndarray) -> int:
    return whole_bits(float(np.abs(weight).max(initial=0)) * (1 + 2.0**-15))  # rounding must not reach 2**15


def _least_bits(weight: np.ndarray) -> int:
    """So that most weights are not rounded to zero, which would be no random error."""
    rms = math.sqrt(np.square(weight, dtype=np.float64).mean()) if weight.size else 0.0
    return max(_weight_scale(weight) - whole_bits(rms) + 2, LEAST) if rms else LEAST


def _factor_scale(site: Site) -> int:
    """So that rounding errs by the same part of the site's largest result, whatever the channels are like.

    A factor of the square, rounded to g bits, errs by 2**-(g + 1) x**2, so the channel with the largest inputs needs
    the most bits behind the point, and one whose inputs are small, and whose c2 is large for that, needs none.
    """
    channels = np.unique(site.replaced // site.per_channel)
    (_, c1, c2), reach = np.abs(site.coeffs[:, channels]), site.reach[channels]
    scales = []
    for c, power in ((c2, reach**2), (c1, reach)):
        taken = c2 > 0 if c is c2 else c2 == 0
        if (largest := (c * power)[taken].max(initial=0.0)) > 0:
            scales.append(whole_bits(float(largest / power[taken].max())))
    return min(scales, default=0)


def _mul(b: Builder, step: Step) -> None:
    x, y = step.inputs
    shapes = {"first": b.nodes[x].shape, "second": b.nodes[y].shape}
    reaches = b.reach(x), b.reach(y)
    b.add(Node(step.name, "product", [x, y], step.shape, shapes, bits=0, most=b.limits.value, reach=reaches[0],
               reach_kept=reaches[1], gain=b.gains.product(step.name, tuple(map(whole_bits, reaches)))))  # fmt: skip


def _move(b: Builder, step: Step, **attrs: Any) -> None:
    b.local(step.op, step.name, list(step.inputs), step.shape, **attrs)


#: op of a lowered step -> the nodes that it becomes; the last one carries the step's name.
BUILD: dict[str, Callable[[Builder, Step], Any]] = {
    "conv2d": lambda b, s: b.map("conv2d", s, "weight", "bias", **s.attrs),
    "linear": lambda b, s: b.map("linear", s, "weight", "bias"),
    "affine": lambda b, s: b.map("channel", s, "scale", "shift"),
    "add": lambda b, s: _move(b, s, sign=s.attrs["sign"]),
    "add_number": lambda b, s: b.constant(s.name, s.inputs[0], s.shape, np.array(s.attrs["number"])),
    "add_private": _add_private,
    "scale": lambda b, s: b.times(s.name, s.inputs[0], s.shape, s.attrs["factor"]),
    "avg_pool2d": _pool,
    "mean": _mean,
    "max_pool2d": _max_pool,
    "mul": _mul,
    "hybrid": _hybrid,
    "reshape": _move,
    "permute": lambda b, s: _move(b, s, dims=tuple(s.attrs["dims"])),
    "pad": lambda b, s: _move(b, s, pads=tuple(s.attrs["pads"])),
    "index": lambda b, s: _move(b, s, index=s.attrs["index"]),
    "cat": lambda b, s: _move(b, s, dim=s.attrs["dim"]),
}
