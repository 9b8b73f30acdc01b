"""Which exponents, windows and wire forms: as much precision as the ring has room for, layer by layer.

What there is to choose: the exponent f of the input and of every truncated value, the fractional bits of every private
or public factor, and whether a masked wire has 32 bits or 64. Bits are counted from the largest value or weight, so
that small weights get more. A product adds exponents; a square doubles them; at the next masked wire all of it is
truncated to f again. There, with the calibrated reach and the margin, |y| 2**F < 2**62 must hold, or 2**30 on a wire of
32 bits. Each rounding's effect on the output is known (noise_gains.py), so everything starts with bits that add equal
parts of the error that is asked for (bit_allocation.py), at first of sixteen times that, all wires at 32 bits. Where
that finds no room, a wire gets 64 bits, and so does all that leads into it, or there is a truncation before it,
whichever takes less time on the network that the plan is for (cut_or_widen.py). Room that is there for extreme inputs
alone is given up before that, wire by wire. Where it does not fit into 64 because several maps follow one another, a
site between them of which some positions travel has all of them travel; if there is none, one truncation (a message
each way) is put between them. In plans of 32 bits alone there may be one behind a spline or a product of two private
tensors, too, and splines have coefficients of fewer bits; other plans are made with and without that, and the one that
takes less time is taken. Where that does not help either, an error names the layer.
Then bits are raised in turn, one at a time, while every wire keeps its room. If the sum of all errors is still too
large, it starts again with less of it.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from ...errors import CompileError
from ...text import brief
from ..link.network import Network, network_of
from ..makers.maker import Maker
from ..makers.table import DEALT
from ..plan.input_range import InputRange
from ..plan.plan import Plan
from ..plan.ring import WIDTHS
from ..plan.server_numbers import Numbers
from ..program.program import Program
from ..program.spline import SPLINE_ERROR, narrow_bits
from .bit_allocation import added, idle_weights, needed, raise_bits, raise_coefficients
from .bounds import raise_to_bounds
from .build import build
from .cut_or_widen import cheaper_to_cut, seconds_of
from .emit import emit
from .exponents import Exponents, exponents
from .known_gains import UNKNOWN, Gains
from .names import CUT
from .node import Limits, Margins, Node, Nodes, copied
from .planned import Chosen
from .reach import Extremes, Reach
from .room import NoRoom, give_up
from .site_form import spline_allowance
from .spline_errors import set_spline_errors
from .truncate_at import cut, long_results, places_to_cut, travels_in_part

log = logging.getLogger(__name__)

#: Significant bits of what has no known gain, or none on the examples.
_USEFUL = 10

#: With how many bits less than the error asks for a plan starts at first, in what steps there are more, and how many
#: more everything does without where there is no room for them.
_LOOSE, _STEP, _FEWER = 4, 0.5, 3

#: Part of the error down to which precision comes before room for extreme inputs, where no wire gets wider for it.
_FIRM = 0.25

#: Bits that are off by less than one part of so many are the same.
_SAME = 64

#: How often a plan is made anew because its roundings, too, take room.
_TRIES = 8


class Planning:
    """Plans of one program that differ in the error that is asked for: what does not depend on it is found once.

    Args:
        program, reach: of :func:`~.fold_squares.unit_squares`, reach from :mod:`.ranges`.
        within: the inputs that it is for.
        margins: bits by which values may exceed ``reach``.
        limits: the most bits of each kind.
        bounded: hold every wire and window to a bound for all inputs in the range, roundings included (bounds.py).
        spline_error: how far off an activation may be that is kept as a spline.
        gains: what roundings do to the output.
        extremes: what inputs reach that are made for it: there is room for it where nothing else is worse for that.
        useful: significant bits of values and weights whose gain is not known.
        widths: what a wire's ring may have, increasing.
        network: that the plan is for.
        maker: of correlations, likewise: without helpers what happens offline takes the two parties' own time.
    """

    def __init__(
        self,
        program: Program,
        reach: Reach,
        within: InputRange,
        *,
        margins: Margins | None = None,
        limits: Limits | None = None,
        bounded: bool = False,
        spline_error: float = SPLINE_ERROR,
        gains: Gains = UNKNOWN,
        extremes: Extremes | None = None,
        useful: int = _USEFUL,
        widths: tuple[int, ...] = WIDTHS,
        network: Network | str = "lan",
        maker: Maker = DEALT,
    ):
        self.margins, self.within, self.spline_error = margins or Margins(), within, spline_error
        self.widths, self.network, self.maker = widths, network_of(network), maker
        self.useful, self.bounded_for = useful, within if bounded else None
        self._build = lambda whole: build(program, reach, limits or Limits(), self.margins, whole, gains, extremes)
        self._built: dict[frozenset[str], Nodes] = {}
        self._with_room: dict[tuple, Nodes] = {}

    def made(self, error: float) -> tuple[Plan, dict[str, Numbers]]:
        """The public plan, and what the server alone has of it.

        Args:
            error: that all roundings together are to add to the output, as a part of its standard deviation: where
                there is no room for the bits that this takes, wires are wider and truncations are added.

        Raises:
            CompileError: an operation or site that this runtime does not have, or a layer without room.
        """
        return self._made(error, self._precise)

    def drafted(self, error: float, finer: float) -> Plan:
        """The plan, with the bits for a part ``finer`` of the error where its own wires have room for them.

        Raises:
            CompileError: as of :meth:`made`.
        """

        def nodes(means: _Means) -> Nodes:
            found = self._precise(means)
            more = _raised(Exponents(copied(found), means.margins), replace(means, error=finer * means.error))
            return more if added(more) <= finer * means.error else found

        return self._made(error, nodes)[0]

    def _made(self, error: float, nodes_for: Callable[[_Means], Nodes]) -> tuple[Plan, dict[str, Numbers]]:
        means = _Means(self.margins, self.widths, self.network, self.maker, error, self.useful, self.bounded_for,
                       self.spline_error)  # fmt: skip
        splines = not means.narrow and any(node.has_spline for node in self._nodes(frozenset()).values())
        try:
            first = nodes_for(means)
        except CompileError:  # the result of a spline of many octaves has no room, and with fewer coefficient bits may
            if not splines:
                raise
            found, splines = [self._emitted(nodes_for(replace(means, short=True, shortest=True)))], False
        else:
            found = [self._emitted(first)]
        if splines:
            # What is added up behind several splines may take 64 bits whatever one of them has, and then short
            # coefficients take more knots for nothing.
            with contextlib.suppress(CompileError):
                nodes = nodes_for(replace(means, short=True))
                if added(nodes) <= max(error, added(first)):
                    found.append(self._emitted(nodes))
        # Wide rings are dear to two who make correlations themselves, and what leads into one wide wire is wide, too:
        # place by place a truncation may save nothing, and all of them together half.
        if not self.maker.helpers and any(step.width > self.widths[0] for step in found[0][0].steps):
            with contextlib.suppress(CompileError):
                nodes = nodes_for(replace(means, widths=self.widths[:1]))
                if added(nodes) <= error:
                    found.append(self._emitted(nodes))
        if len(found) == 1:
            return found[0]
        return min(found, key=lambda each: seconds_of(each[0], self.network, self.maker))

    def _emitted(self, nodes: Nodes) -> tuple[Plan, dict[str, Numbers]]:
        tables = "mixed" in self.maker.comparisons and len(self.widths) > 1  # a checked plan has one, and keys
        return emit(
            Chosen(nodes, exponents(nodes, self.margins), self.within, self.margins.window, self.spline_error, tables)
        )

    def _precise(self, means: _Means) -> Nodes:
        """The first nodes, from few bits to more, that add no more than the error; those that add least, if none do.
        Where there is no room even for few, weights that do nothing to the output may have none."""
        try:
            return self._searched(means)
        except CompileError:
            idle = idle_weights(self._nodes(frozenset()), means.error * 2**_LOOSE)
            if not idle:
                raise
            return self._searched(replace(means, idle=idle))

    def _searched(self, means: _Means) -> Nodes:
        best: Nodes = {}
        for less in np.arange(_LOOSE, -_STEP, -_STEP):
            try:
                nodes = self._fitted(means, less)
            except CompileError:
                if not best:
                    raise
                break  # no room for so many bits
            best = min(best or nodes, nodes, key=added)
            if added(best) <= means.error:
                break
        return best

    def _fitted(self, means: _Means, less: float) -> Nodes:
        """Nodes with room for all of them. less: bits that they do without at first."""
        # What has room is a matter of the bits that there are at first, and those come up for several errors.
        key = means.widths, means.short, means.shortest, means.idle, round(_SAME * (math.log2(means.error) + less))
        if key in self._with_room:
            return _raised(Exponents(copied(self._with_room[key]), means.margins), means)
        whole: frozenset[str] = frozenset()
        while True:
            nodes = self._nodes(whole)
            for node in nodes.values():
                node.wire = means.widths[0]
                if node.name in means.idle:
                    node.least = min(node.scale, 0)  # all of them are 0
            try:
                fitted = _with_room(nodes, means, less)
                if means.bounded_for is not None:
                    return _with_roundings(_raised(fitted, means), means, less)
            except _Whole as better:
                log.debug("all positions of '%s' travel: no room for the products behind it", better.site)
                whole |= {better.site}
                continue
            self._with_room[key] = copied(fitted.nodes)
            return _raised(fitted, means)

    def _nodes(self, whole: frozenset[str]) -> Nodes:
        if whole not in self._built:
            self._built[whole] = self._build(whole)
        return copied(self._built[whole])


class _Whole(Exception):
    """A site of lines better has all its positions travel: some do anyway, so it truncates all without a round more."""

    def __init__(self, site: str):
        self.site = site


@dataclass(frozen=True)
class _Means:
    """What a plan is fitted with. short: splines may be in rings of 32 bits, with coefficients of as few bits as their
    error takes, and be truncated once more; shortest: those of many octaves, too. idle: layers whose weights may be
    rounded to nothing."""

    margins: Margins
    widths: tuple[int, ...]
    network: Network
    maker: Maker
    error: float
    useful: int
    bounded_for: InputRange | None
    spline_error: float = SPLINE_ERROR
    short: bool = False
    shortest: bool = False
    idle: frozenset[str] = frozenset()

    @property
    def narrow(self) -> bool:
        """Whether there is nothing but rings of 32 bits."""
        return self.widths == (min(WIDTHS),)

    __repr__ = brief


def _with_roundings(nodes: Nodes, means: _Means, less: float) -> Nodes:
    """Fitted nodes whose reach bounds what they compute, with the roundings of the very exponents that this gives."""
    for _ in range(_TRIES):
        if not raise_to_bounds(Chosen(nodes, exponents(nodes, means.margins), means.bounded_for)):
            return nodes
        nodes = _raised(_with_room(nodes, means, less), means)
    raise CompileError("ranges='worst' finds no bound that holds with its own roundings; use ranges='calibrated'")


def _raised(fitted: Exponents, means: _Means) -> Nodes:
    """Nodes that have room, with more bits where there is room for these."""
    if not fitted.found:
        fitted.fit()
    wanted, firm = (needed(fitted.nodes, part * means.error, means.useful) for part in (1.0, _FIRM))
    raise_bits(fitted, wanted, firm)
    raise_coefficients(fitted)
    set_spline_errors(fitted.nodes.values(), means.error, means.spline_error)
    return fitted.nodes


def _with_room(nodes: Nodes, means: _Means, less: float) -> Exponents:
    """Nodes that have room for few bits: ``less`` than the error asks for, and if need be for fewer."""
    widths, failed = means.widths, None
    for fewer in range(_FEWER + 1):
        fitted, at = _with_few_bits(nodes, means, less, fewer), None
        while True:
            try:
                fitted.fit(at)
                return fitted
            except NoRoom as error:
                failed, at = error, error.node.name
                if give_up(error):
                    continue
                if wider := error.node.wire < widths[-1]:
                    place = _cheaper_place(fitted, means, error.node)
                    if place is None:
                        error.node.wire = next(width for width in widths if width > error.node.wire)
                        continue
                else:
                    place = _best_place(fitted, means, error.node, wire=widths[-1])
                if place is None:
                    break
                if travels_in_part(nodes, place):
                    raise _Whole(place) from None
                if not wider:
                    log.debug("truncating '%s': no room for the products behind it", place)
                nodes = cut(nodes, place)
                fitted, at = _with_few_bits(nodes, means, less, fewer), None
    node = failed.node
    raise CompileError(
        f"no room in the ring at '{node.name}': values up to {max(node.reach, node.reach_kept):.3g} with a margin of "
        f"{means.margins.ring} bits and {node.bits} significant bits exceed it by {failed.bits} bits; scale this "
        "layer's input down, or lower the margin"
    )


def _with_few_bits(nodes: Nodes, means: _Means, less: float, fewer: int) -> Exponents:
    """Nodes with the bits that they start with, of which no exponent is known yet."""
    for name, bits in needed(nodes, means.error * 2**less, means.useful).items():
        nodes[name].bits = max(bits - fewer, nodes[name].least)
    splines = [node for node in nodes.values() if node.has_spline and (means.short or means.narrow)]
    if not means.narrow:  # where wires may get wider, none is less precise than it is to be for want of bits
        set_spline_errors(splines, means.error, means.spline_error)
    for node in splines:
        error = spline_allowance(node, means.spline_error) if means.narrow else node.spline_error
        node.coefficient_bits = narrow_bits(node.site.kind, error, means.shortest)
    return Exponents(nodes, means.margins)


def _cheaper_place(fitted: Exponents, means: _Means, sink: Node) -> str | None:
    """The best place, if a truncation there takes less time than a wider ring."""
    nodes = fitted.nodes

    def cheaper(place: str) -> bool:
        return cheaper_to_cut(nodes, place, sink, means.network, means.maker)

    if not any(map(cheaper, places_to_cut(nodes, sink) + (long_results(nodes, sink) if means.short else []))):
        return None  # so the best one is none, either, and need not be found
    place = _best_place(fitted, means, sink)
    return place if place is not None and cheaper(place) else None


def _best_place(fitted: Exponents, means: _Means, sink: Node, wire: int | None = None) -> str | None:
    """Where to truncate so that ``sink`` has room: where no message is added, if there is such a place, and of these
    where the next one without room is furthest behind; of as good ones the smallest value. None: there is none.

    fitted: as far as to ``sink``. wire: that all are to have, and then a place that does not help is better than none.
    None: each what it has.
    """
    nodes = fitted.nodes
    order = {name: i for i, name in enumerate(nodes)}
    places = places_to_cut(nodes, sink) + (
        long_results(nodes, sink) if means.narrow or (means.short and wire is None) else []
    )
    if not places:
        return None
    as_wide = nodes
    if wire is not None:
        as_wide = copied(nodes)
        for node in as_wide.values():
            node.wire = wire

    # Nothing changes up to the first of the places.
    known = dict(islice(fitted.found.items(), min(map(order.__getitem__, places)) + 1))

    def gained(place: str) -> tuple[bool, int, int]:
        trial = cut(as_wide, place)
        trial[place + CUT].wire = wire or trial[place + CUT].wire
        try:
            exponents(trial, means.margins, known)
            reached = len(order)
        except NoRoom as error:
            reached = order.get(error.node.name, order[place])
        return travels_in_part(nodes, place) and reached > order[sink.name], reached, -nodes[place].size

    found = {place: gained(place) for place in places}
    better = [place for place, (_, reached, _) in found.items() if reached > order[sink.name]]
    return max(better or (found if wire else ()), key=found.__getitem__, default=None)
