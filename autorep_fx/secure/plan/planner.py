"""Which exponents, windows and wire forms: as much precision as the ring has room for, layer by layer.

What there is to choose: the exponent f of the input and of every truncated value, the fractional bits of every private
or public factor, and whether a masked wire has 32 bits or 64. Bits are counted from the largest value or weight, so
that small weights get more. A product adds exponents; a square doubles them; at the next masked wire all of it is
truncated to f again. There, with the calibrated reach and the margin, |y| 2**F < 2**62 must hold, or 2**30 on a wire of
32 bits. All choices start at the least that is useful, all wires at 32 bits, and bits are raised in turn, one at a
time, weights before factors before values, while every wire keeps its room. Where even the least does not fit a wire of
32 bits it gets 64, and so does all that leads into it, or there is a truncation before it, whichever takes less time on
the network that the plan is for (rounds.py). Where it does not fit into 64 because several maps follow one another, a
site between them of which some positions travel has all of them travel; if there is none, one truncation (a message
each way) is put between them; where that does not help either, an error names the layer.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from ...errors import CompileError
from ..network import Network, network_of
from ..program import Program
from ..ring import WIDTHS
from ..spline import SPLINE_ERROR
from .bounds import raise_to_bounds
from .build import Builder, Limits, Margins, Node
from .cut import cut, places_to_cut, travels_in_part
from .emit import emit
from .exponents import NoRoom, exponents
from .input_range import InputRange
from .numbers import Numbers
from .plan import Plan
from .ranges import Reach
from .rounds import cheaper_to_cut
from .squares import unit_squares

log = logging.getLogger(__name__)

#: Significant bits below which a wider wire is better at first, and below which nothing is worth computing.
_USEFUL = _LEAST = 7

#: What to try until a plan is precise enough, in this order: significant bits that are worth a wider wire or a
#: truncation in between, and the most that values and factors get, which makes the windows of comparisons longer.
BITS = ((_USEFUL, Limits.value), (8, 14), (9, 14), (10, 14), (12, 14), (14, 14), (14, 16), (14, 18), (14, 20))

#: How often a plan is made anew because its roundings, too, take room.
_TRIES = 8

#: What to raise first at equal bits.
_ORDER = {"map": 0, "local": 1, "activation": 2, "product": 2, "input": 3, "output": 4}


def make_plan(
    program: Program,
    reach: Reach,
    within: InputRange,
    *,
    margins: Margins | None = None,
    limits: Limits | None = None,
    bounded: bool = False,
    spline_error: float = SPLINE_ERROR,
    useful: int = _USEFUL,
    widths: tuple[int, ...] = WIDTHS,
    network: Network | str = "lan",
) -> tuple[Plan, dict[str, Numbers]]:
    """The public plan, and what the server alone has of it.

    Args:
        reach: from :mod:`.ranges`.
        within: the inputs that it is for.
        margins: bits by which values may exceed ``reach``.
        limits: the most bits of each kind.
        spline_error: how far off an activation may be that is kept as a spline.
        useful: significant bits of values and weights; where there is no room for them, wires are wider and truncations
            are added.
        widths: what a wire's ring may have, increasing.
        network: that the plan is for.
        bounded: hold every wire and window to a bound for all inputs in the range, roundings included (bounds.py).

    Raises:
        CompileError: an operation or site that this runtime does not have, or a layer without room.
    """
    margins = margins or Margins()
    means = _Means(margins, widths, network_of(network))
    program, reach = unit_squares(program, reach)
    whole: set[str] = set()
    while True:
        nodes = Builder(program, reach, limits or Limits(), margins, frozenset(whole)).build()
        for node in nodes.values():
            node.wire = widths[0]
        try:
            nodes = _fit(nodes, means, useful)
            if bounded:
                nodes = _with_roundings(nodes, means, within, useful)
            break
        except _Whole as better:
            log.info("all positions of '%s' travel: no room for the products behind it", better.site)
            whole.add(better.site)
    return emit(nodes, exponents(nodes, margins), margins.window, within, spline_error)


class _Whole(Exception):
    """A site of lines better has all its positions travel: some do anyway, so it truncates all without a round more."""

    def __init__(self, site: str):
        self.site = site


@dataclass(frozen=True)
class _Means:
    """What a plan is fitted with."""

    margins: Margins
    widths: tuple[int, ...]
    network: Network


def _with_roundings(nodes: dict[str, Node], means: _Means, within: InputRange, useful: int) -> dict[str, Node]:
    """Fitted nodes whose reach bounds what they compute, with the roundings of the very exponents that this gives."""
    for _ in range(_TRIES):
        if not raise_to_bounds(nodes, exponents(nodes, means.margins), within):
            return nodes
        nodes = _fit(nodes, means, useful)
    raise CompileError("ranges='worst' finds no bound that holds with its own roundings; use ranges='calibrated'")


def _fit(nodes: dict[str, Node], means: _Means, useful: int) -> dict[str, Node]:
    margins, widths = means.margins, means.widths
    for least in (useful, _LEAST):
        while True:
            for node in nodes.values():
                if node.bits is not None:
                    node.bits = min(least, node.most)
            try:
                exponents(nodes, margins)
                return _raise(nodes, margins, least)
            except NoRoom as error:
                failed = error
                if error.node.wire < widths[-1]:
                    place = _best_place(nodes, margins, error.node)
                    if place is not None and cheaper_to_cut(nodes, place, error.node, means.network):
                        nodes = cut(nodes, place)
                    else:
                        error.node.wire = next(width for width in widths if width > error.node.wire)
                    continue
                place = _best_place(nodes, margins, error.node, wire=widths[-1])
                if place is None:
                    break
                if travels_in_part(nodes, place):
                    raise _Whole(place) from None
                log.info("truncating '%s': no room for the products behind it", place)
                nodes = cut(nodes, place)
    node = failed.node
    raise CompileError(
        f"no room in the ring at '{node.name}': values up to {max(node.reach, node.reach_kept):.3g} with a margin of "
        f"{margins.ring} bits and "
        f"{_LEAST} significant bits exceed it by {failed.bits} bits; scale this layer's input down, or lower the margin"
    )


def _best_place(nodes: dict[str, Node], margins: Margins, sink: Node, wire: int | None = None) -> str | None:
    """Where to truncate so that ``sink`` has room: where no message is added, if there is such a place, and of these
    where the next one without room is furthest behind; of as good ones the smallest value. None: there is none.

    wire: that all are to have, and then a place that does not help is better than none. None: each what it has.
    """
    order = {name: i for i, name in enumerate(nodes)}

    def gained(place: str) -> tuple[bool, int, int]:
        trial = cut({name: replace(node) for name, node in nodes.items()}, place)
        for node in trial.values():
            node.wire = wire or node.wire
        try:
            exponents(trial, margins)
            reached = len(order)
        except NoRoom as error:
            reached = order.get(error.node.name, order[place])
        return travels_in_part(nodes, place) and reached > order[sink.name], reached, -nodes[place].size

    found = {place: gained(place) for place in places_to_cut(nodes, sink)}
    better = [place for place, (_, reached, _) in found.items() if reached > order[sink.name]]
    return max(better or (found if wire else ()), key=found.__getitem__, default=None)


def _raise(nodes: dict[str, Node], margins: Margins, least: int) -> dict[str, Node]:
    free = sorted((n for n in nodes.values() if n.bits is not None), key=lambda n: _ORDER[n.op])
    for level in range(least + 1, max((n.most for n in free), default=0) + 1):
        for node in free:
            if node.bits != level - 1 or node.most < level:
                continue
            node.bits = level
            try:
                exponents(nodes, margins)
            except NoRoom:
                node.bits = level - 1
    return nodes
