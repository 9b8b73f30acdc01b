"""Whether one more truncation takes less time than a wider ring: what either sends and computes more."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator

import numpy as np

from ...errors import CompileError
from ..cost.cost import plan_cost
from ..link.network import Network
from ..makers.maker import Maker
from ..plan.plan import Plan, Step
from ..plan.ring import WIDTHS
from ..rates import Rates
from .exponents import untruncated
from .node import Node
from .truncate_at import travels_in_part

#: Not those of this machine: the same model has the same plan everywhere.
_RATES = Rates()

#: Bits of a mask of 32 that a truncation leaves, about; and of a comparison's window.
_LEFT, _WINDOW = 20, 12

#: Of each element of a spline: what is opened beside its result, each way; numbers that are shared; and its knots.
_OPENED, _SHARED, _KNOTS = 2, 8, 6


def cheaper_to_cut(nodes: dict[str, Node], place: str, sink: Node, network: Network, maker: Maker) -> bool:
    """Truncate the value ``place``, with all wires at 32 bits, rather than widen ``sink`` and all that leads into it.

    With a dealer time is what passes online, and a site of which only some positions travel is left as it is: what all
    of them would send is what it is there to save. Two who make correlations themselves have the time before that to
    count as well: there each bit of a mask takes transfers, and maps in wide rings more than twice as long.
    """
    in_part = travels_in_part(nodes, place)
    if in_part and maker.helpers:
        return False

    def seconds(sent: int) -> float:
        return network.seconds(sent) + 3 * sent / _RATES.bytes  # made, sent, and read again

    # Where some positions travel there are messages already.
    waits = 0.0 if in_part else 2 * (network.delay + _RATES.message + _RATES.step)
    cut = seconds(8 * nodes[place].size) + waits
    before = list(untruncated(nodes, sink.inputs))
    sources = {name for node in before for name in node.inputs} - {node.name for node in before}
    elements = sink.size + sum(nodes[name].size for name in sources)
    of_splines = sum(len(nodes[name].site.kept) for name in sources if nodes[name].has_spline)
    widened = seconds(4 * (elements + _OPENED * of_splines)) + sum(map(_macs, before)) / (2 * _RATES.macs)
    widened += 4 * (_SHARED + _KNOTS) * of_splines / _RATES.bytes
    if not maker.helpers:
        narrow, wide = _offline(nodes, place, sink, before, sources, network, maker)
        cut, widened = cut + narrow, widened + wide
    return cut < widened


def seconds_of(plan: Plan, network: Network | str, maker: Maker) -> float:
    """Predicted, with the rates that every machine plans with: online, and offline, too, where nobody helps.

    Raises:
        CompileError: a map that two parties cannot prepare.
    """
    if not maker.helpers:
        return _seconds_of_two(plan, network, maker)
    costs = (plan_cost(plan.with_comparison(name), network, rates=_RATES, maker=maker) for name in maker.comparisons)
    return min(cost.online_seconds for cost in costs)


def _seconds_of_two(plan: Plan, network: Network | str, maker: Maker) -> float:
    """Of an inference that two parties prepare by themselves, offline and online."""
    plans = map(plan.with_comparison, maker.comparisons)
    with _by_two():
        return min(plan_cost(each, network, rates=_RATES, maker=maker).total_seconds for each in plans)


@contextlib.contextmanager
def _by_two() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise CompileError(f"two parties cannot prepare it without a dealer (dealer=True can): {error}") from error


def _macs(node: Node) -> int:
    if node.attrs.get("kind") not in ("conv2d", "linear"):
        return 0
    return node.size * math.prod(node.attrs["weight_shape"][1:])


def _offline(
    nodes: dict[str, Node], place: str, sink: Node, before: list[Node], sources: Iterable[str], network: Network,
    maker: Maker,
) -> tuple[float, float]:  # fmt: skip
    """Seconds of the offline phase either way, of what differs."""
    low, high = min(WIDTHS), max(WIDTHS)
    maps = [node for node in before if node.op == "map"]
    read = [nodes[name] for name in sources if nodes[name].masked]
    # Of the longest chain there is one for all wires.
    longest = [_wire("longest", 1, high, high)] if any(n.masked and n.wire == high for n in nodes.values()) else []

    def all_in(width: int) -> list[Step]:
        found = [_wire(node.name, node.size, node.wire, width, node.has_spline) for node in read]
        return [*longest, *found, *(_map(node, width) for node in maps), _wire(sink.name, sink.size, width, width)]

    cut = [_wire("cut", nodes[place].size, low, low)]
    with _by_two():
        narrow, wide = (
            maker.offline(Plan(tuple(steps)), 1, network, _RATES).seconds for steps in (all_in(low) + cut, all_in(high))
        )
    return narrow, wide


def _map(node: Node, width: int) -> Step:
    return Step(node.name, "map", (), node.shape, 0, width, {**node.attrs, "weight_bits": node.frac_bits})


def _wire(name: str, size: int, wire: int, width: int, has_spline: bool = False) -> Step:
    """A truncation of so many elements on a wire, or a spline of each, to a result in a ring of ``width``."""
    attrs = {"kind": "truncate", "wire": wire, "shift": min(WIDTHS) - _LEFT, "align": 0, "powers": 1,
             "kept": np.arange(0), "linear": None, "comparison": None}  # fmt: skip
    if has_spline:
        knots, pieces = tuple(range(_KNOTS)), dict.fromkeys(("c0", "c1", "c2"), (0, *[1] * _KNOTS))
        attrs |= {
            "powers": 2,
            "kept": np.arange(size),
            "comparison": "gmw",
            "window": _WINDOW,
            "knots": knots,
            **pieces,
        }
    return Step(name, "activation", (), (size,), 0, width, attrs)
