"""Which exponents, windows and wire forms: as much precision as the ring has room for, layer by layer.

What there is to choose: the exponent f of the input and of every truncated value, and the fractional bits of every
private or public factor. They are counted from the largest value or weight, so that small weights get more. A product
adds exponents; a square doubles them; at the next masked wire all of it is truncated to f again. There, with the
calibrated reach and the margin, |y| 2**F < 2**61 must hold. All choices start at the least that is useful and are
raised in turn, one bit at a time, weights before factors before values, while every wire keeps its room. Where even
the least does not fit because several maps follow one another, one truncation (a message each way) is put between
them; where that does not help either, an error names the layer.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np

from ...errors import CompileError
from ..program import SecureProgram
from .build import Builder, Limits, Node
from .plan import ROOM, Plan, Step
from .ranges import Reach
from .ring import encode
from .site import Rounded, Site

log = logging.getLogger(__name__)

#: Significant bits below which a truncation in between is better, and below which nothing is worth computing.
_USEFUL, _LEAST = 10, 7

#: Fractional bits of a leaky ReLU's slope where the site has no squares.
_SLOPE_BITS = 12

#: What to raise first at equal bits.
_ORDER = {"map": 0, "local": 1, "activation": 2, "input": 3, "output": 4}


@dataclass(frozen=True)
class Numbers:
    """The server's part of one step, ring elements (uint64).

    Attributes:
        weight: of a map; None elsewhere.
        constant: added to the step's result, or to the wire before it is masked; broadcasts over the sample.
        bits: 16, 32 or 64, the width that holds every weight, signed.
    """

    weight: np.ndarray | None = None
    constant: np.ndarray | None = None
    bits: int = 64


class _NoRoom(Exception):
    def __init__(self, node: Node, bits: int):
        self.node, self.bits = node, bits


def make_plan(
    program: SecureProgram, reach: Reach, *, margin: int = 2, limits: Limits | None = None
) -> tuple[Plan, dict[str, Numbers]]:
    """The public plan, and what the server alone has of it.

    Args:
        reach: from :mod:`.ranges`.
        margin: bits by which values may exceed ``reach``.
        limits: the most bits of each kind.

    Raises:
        CompileError: an operation or site that this runtime does not have, or a layer without room.
    """
    nodes = Builder(program, reach, limits or Limits(), margin).build()
    nodes = _fit(nodes, margin)
    return _emit(nodes, _exponents(nodes, margin), margin)


def _bits(reach: float, margin: int) -> int:
    """|v| < 2**result for all |v| <= reach * 2**margin."""
    return math.floor(math.log2(max(reach, 2.0**-20))) + 1 + margin


def _factor_of(nodes: dict[str, Node], site: Site) -> int:
    return nodes[site.name].frac_bits if len(site.replaced) else 0


def _used(site: Site, rounded: Rounded) -> tuple[bool, float]:
    """Is any replaced position a square; the largest offset."""
    channels = np.unique(site.replaced // site.per_channel)
    return bool(rounded.square[channels].any()), float(np.abs(rounded.offset[channels]).max(initial=0.0))


def _exponents(nodes: dict[str, Node], margin: int) -> dict[str, int]:
    """Exponent of every result.

    Raises:
        _NoRoom: at the first masked wire that does not fit.
    """
    e: dict[str, int] = {}
    for node in nodes.values():
        given = [e[name] for name in node.inputs]
        e[node.name] = max(given, default=0)
        if node.op == "input":
            e[node.name] = node.frac_bits
        elif node.op == "map":
            e[node.name] += node.frac_bits
        elif node.attrs.get("kind") == "times":
            e[node.name] += _number(node)[1]
        elif node.op == "output":
            _check(node, given[0], node.reach, margin)
            e[node.name] = min(node.frac_bits, given[0])
        elif node.op == "activation":
            square, offset = _site_form(nodes, node)
            _check(node, given[0], max(node.reach + offset, node.reach_kept), margin)
            f = min(node.frac_bits, given[0])
            e[node.name] = f + _align(node, f, square)
    return e


def _check(node: Node, exponent: int, reach: float, margin: int) -> None:
    over = exponent + _bits(reach, margin) - ROOM
    if over > 0:
        raise _NoRoom(node, over)


def _site_form(nodes: dict[str, Node], node: Node) -> tuple[bool, float]:
    if node.site is None or not len(node.site.replaced):
        return False, 0.0
    factor_bits = _factor_of(nodes, node.site)
    cache = node.attrs.setdefault("forms", {})
    if factor_bits not in cache:
        cache[factor_bits] = _used(node.site, node.site.round(factor_bits, 40))
    return cache[factor_bits]


def _align(node: Node, f: int, square: bool) -> int:
    """By how much the result's exponent exceeds f."""
    if square:
        return f
    leaky = node.site is not None and node.site.kind == "leaky_relu" and len(node.site.kept)
    return _SLOPE_BITS if leaky else 0


def _number(node: Node) -> tuple[int, int]:
    """(integer, what it adds to the exponent) of a public factor."""
    if "factor" in node.attrs:
        return node.attrs["factor"], node.attrs["up"]
    real = node.attrs["real"]
    up = max(node.bits - math.floor(math.log2(abs(real))), 0) if real else 0
    return round(math.ldexp(real, up)), up


def _fit(nodes: dict[str, Node], margin: int) -> dict[str, Node]:
    for least in (_USEFUL, _LEAST):
        while True:
            for node in nodes.values():
                if node.bits is not None:
                    node.bits = min(least, node.most)
            try:
                _exponents(nodes, margin)
                return _raise(nodes, margin, least)
            except _NoRoom as error:
                failed = error
                place = _place_to_cut(nodes, error.node)
                if place is None:
                    break
                log.info("truncating '%s': no room for the products behind it", place)
                nodes = _cut(nodes, place)
    node = failed.node
    raise CompileError(
        f"no room in the ring at '{node.name}': values up to {max(node.reach, node.reach_kept):.3g} with a margin of "
        f"{margin} bits and "
        f"{_LEAST} significant bits exceed it by {failed.bits} bits; scale this layer's input down, or lower the margin"
    )


def _raise(nodes: dict[str, Node], margin: int, least: int) -> dict[str, Node]:
    free = sorted((n for n in nodes.values() if n.bits is not None), key=lambda n: _ORDER[n.op])
    for level in range(least + 1, max((n.most for n in free), default=0) + 1):
        for node in free:
            if node.bits != level - 1 or node.most < level:
                continue
            node.bits = level
            try:
                _exponents(nodes, margin)
            except _NoRoom:
                node.bits = level - 1
    return nodes


def _place_to_cut(nodes: dict[str, Node], sink: Node) -> str | None:
    """The input of the last map before ``sink`` that itself follows a map; None if there is none."""
    names, seen = list(sink.inputs), set()
    while names:
        name = names.pop(0)
        node = nodes[name]
        if name in seen or node.op in ("activation", "input"):
            continue
        seen.add(name)
        if node.op == "map":
            before = _named(nodes, node.inputs[0])
            if before is not None and _follows_map(nodes, before):
                return before
        names += node.inputs
    return None


def _named(nodes: dict[str, Node], name: str) -> str | None:
    """The nearest value at or above whose reach is known."""
    while nodes[name].reach is None:
        if len(nodes[name].inputs) != 1:
            return None
        name = nodes[name].inputs[0]
    return None if nodes[name].op in ("activation", "input") else name


def _follows_map(nodes: dict[str, Node], name: str) -> bool:
    node = nodes[name]
    if node.op in ("activation", "input"):
        return False
    return node.op == "map" or any(_follows_map(nodes, i) for i in node.inputs)


def _cut(nodes: dict[str, Node], place: str) -> dict[str, Node]:
    """Truncate ``place`` for all of its readers."""
    result: dict[str, Node] = {}
    name = f"{place}.cut"
    for node in nodes.values():
        result[node.name] = node
        node.inputs = [name if i == place else i for i in node.inputs]
        if node.name == place:
            most = max(n.most for n in nodes.values() if n.op == "input")
            scale = math.floor(math.log2(max(node.reach, 2.0**-6))) + 1
            result[name] = Node(
                name, "activation", [place], node.shape, bits=0, most=most, scale=scale, reach=node.reach
            )
    return result


# --- the plan --------------------------------------------------------------------------------------------------------


def _emit(nodes: dict[str, Node], e: dict[str, int], margin: int) -> tuple[Plan, dict[str, Numbers]]:
    steps: list[Step] = []
    numbers: dict[str, Numbers] = {}
    for node in nodes.values():
        attrs = {k: v for k, v in node.attrs.items() if k not in ("forms", "real")}
        inputs, out = tuple(node.inputs), e[node.name]
        if node.op == "local":
            attrs["shifts"] = [max(e[i] for i in inputs) - e[i] for i in inputs]
            if attrs["kind"] == "times":
                attrs["factor"], attrs["up"] = _number(node)
        elif node.op == "constant":
            numbers[node.name] = Numbers(constant=encode(node.constant, out))
        elif node.op == "map":
            attrs["weight_bits"] = node.frac_bits
            numbers[node.name] = _map_numbers(nodes, node, e)
        elif node.op in ("activation", "output"):
            shift = e[inputs[0]] - min(node.frac_bits, e[inputs[0]])
            attrs["shift"] = shift
            if node.op == "activation":
                found, offset = _activation(nodes, node, e[inputs[0]], shift, margin)
                attrs.update(found)
                if offset is not None:
                    numbers[node.name] = Numbers(constant=offset)
        steps.append(Step(node.name, node.op, inputs, node.shape, out, attrs))
    return Plan(tuple(steps)), numbers


def _map_numbers(nodes: dict[str, Node], node: Node, e: dict[str, int]) -> Numbers:
    out = e[node.name]
    if node.site is None:
        weight = encode(node.weight, node.frac_bits)
        constant = None if node.constant is None else encode(node.constant, out)
    else:
        site = node.site
        rounded = site.round(node.frac_bits, e[nodes[node.inputs[0]].inputs[0]])
        weight = encode(rounded.factor, node.frac_bits)
        flat = np.zeros(math.prod(node.shape))
        flat[site.replaced] = site.by_position(rounded.constant)
        constant = encode(flat.reshape(node.shape), out)
    largest = int(np.abs(weight.view(np.int64)).max(initial=0))
    return Numbers(weight, constant, 16 if largest < 2**15 else 32 if largest < 2**31 else 64)


def _activation(
    nodes: dict[str, Node], node: Node, exponent: int, shift: int, margin: int
) -> tuple[dict, np.ndarray | None]:
    """Public attributes, and the server's offsets by position.

    shift: bits that the truncation takes off. align: shift of values with exponent f to that of the result. powers: 0
    no truncated value is needed, 1 x, 2 also its square. kept, linear: positions. window: bits of a comparison.
    """
    f, size = exponent - shift, math.prod(node.shape)
    if node.site is None:
        return {
            "kind": "truncate",
            "align": 0,
            "powers": 1,
            "kept": np.arange(0),
            "linear": None,
            "comparison": None,
        }, None
    site, (square, _) = node.site, _site_form(nodes, node)
    attrs = {"kind": site.kind, "align": _align(node, f, square), "kept": np.asarray(site.kept, np.int64),
             "powers": 2 if square else 1 if len(site.replaced) or site.kind == "leaky_relu" else 0,
             "linear": None, "comparison": "fss" if len(site.kept) else None}  # fmt: skip
    if len(site.kept):
        attrs["window"] = max(f + _bits(node.reach_kept, margin) + 1, 4)
        if site.kind == "leaky_relu":
            attrs["slope"] = round(math.ldexp(site.slope, attrs["align"]))
    if not square:
        return attrs, None
    rounded = site.round(_factor_of(nodes, site), exponent)
    offset, is_square = np.zeros(size), np.zeros(size, bool)
    offset[site.replaced] = site.by_position(rounded.offset)
    is_square[site.replaced] = site.by_position(rounded.square)
    if not is_square[site.replaced].all():
        linear = ~is_square
        linear[site.kept] = False
        attrs["linear"] = linear
    return attrs, encode(offset.reshape(node.shape), exponent)
