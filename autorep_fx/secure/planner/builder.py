"""What steps of a program become nodes with (operations/), before any exponent is chosen."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..program.program import Program, Step
from ..program.ranged import RANGED
from .divisors import least_bits
from .known_gains import UNKNOWN, Gains
from .names import OWN
from .node import LEAST, Limits, Margins, Node, Nodes, whole_bits
from .reach import Extremes, Reach
from .site import Site

#: A value that calibration saw as zero may not stay there: it is taken to reach this part of the largest of all.
_LEAST = 2.0**-6


class Builder:
    """The nodes that are there so far, and what there is to know of the program that they are of.

    whole: sites of which all positions travel, also where some are lines. extremes: what there is to be room for.
    """

    def __init__(self, program: Program, reach: Reach, limits: Limits, margins: Margins,
                 whole: frozenset[str] = frozenset(), gains: Gains = UNKNOWN,
                 extremes: Extremes | None = None):  # fmt: skip
        self.whole, self.gains, self.extremes = whole, gains, extremes or Extremes({}, {})
        self.program, self.channels, self.limits, self.margins = program, reach, limits, margins
        self.known = {name: float(found.max(initial=0.0)) for name, found in reach.items()}
        self.floor = _LEAST * (max(self.known.values(), default=0.0) or 1.0)
        self.nodes: Nodes = {}
        self.readers = program.public.readers()
        self.least = least_bits(program, self.known)

    def add(self, node: Node) -> str:
        if node.name in self.nodes:
            raise ValueError(f"two steps are called '{node.name}'")
        if node.reach is None and node.name in self.known:
            node.reach, node.extreme = self.reach(node.name), self.extreme(node.name)
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

    def extreme(self, name: str) -> float:
        """What a value reaches on inputs that are made for it; zero where nothing is known."""
        return float(self.extremes.rings.get(name, np.zeros(1)).max(initial=0.0))

    def compared(self, name: str) -> np.ndarray:
        """The same by channel, as ``channels``, of what is compared."""
        return self.extremes.windows.get(name, np.zeros_like(self.channels[name]))

    def activation(self, name: str, x: str, site: Site, reach: float, reach_kept: float, extreme: float,
                   extreme_kept: float, gain: np.ndarray | None) -> str:  # fmt: skip
        results, scale, spline = self.results(name, site), whole_bits(reach), None
        if results and not len(site.replaced) and site.kind not in RANGED:
            # A sigmoid of next to nothing is a half: what of its argument is below that one's bits is of no use.
            scale = max(scale, whole_bits(results["result"]))
        if site.params is not None and len(site.kept):
            spline = self.gains.spline(site.name.removesuffix(OWN), site.kind in RANGED)
        return self.add(Node(name, "activation", [x], self.nodes[x].shape, bits=0, most=self.limits.value, site=site,
                             scale=scale, reach=reach, reach_kept=reach_kept, extreme=extreme,
                             extreme_kept=extreme_kept, gain=gain, spline_gain=spline,
                             least=self.least.get(site.name, LEAST), **results))  # fmt: skip

    def results(self, name: str, site: Site | None = None) -> dict[str, float]:
        """What is known of a long result; of a site one that has splines."""
        if name not in self.known or site is not None and (site.params is None or not len(site.kept)):
            return {}
        return {"result": self.reach(name), "extreme_result": self.extreme(name)}

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


def _weight_scale(weight: np.ndarray) -> int:
    return whole_bits(float(np.abs(weight).max(initial=0)) * (1 + 2.0**-15))  # rounding must not reach 2**15


def _least_bits(weight: np.ndarray) -> int:
    """So that most weights are not rounded to zero, which would be no random error."""
    rms = math.sqrt(np.square(weight, dtype=np.float64).mean()) if weight.size else 0.0
    return max(_weight_scale(weight) - whole_bits(rms) + 2, LEAST) if rms else LEAST
