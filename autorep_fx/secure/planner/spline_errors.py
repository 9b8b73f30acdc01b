"""How far off each spline may be: as few knots as the error takes that is asked for.

A spline that is off by up to e at n elements takes some n e^(-1/3) comparisons, and adds g e^2 / 2 to the output's
variance, where g is the gain of its site's results (noise_gains.py). With a sum of the latter given, that of the former
is least where e grows with (n / g)^(3/7). None is off by more than the activation may be.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from ..program.spline import FEWEST_BITS
from .node import Node
from .site_form import spline_allowance

#: Part of the error that roundings may add which splines may add besides, and of the square of an error what its mean
#: is over a piece that is nearest.
_PART, _MEAN = 0.5, 0.5

#: How knots grow with the error that is allowed, and how an error is to grow with what it costs and adds.
_KNOTS = 1 / 3
_GROWS = 1 / (2 + _KNOTS)

#: A spline is no nearer than this part of what its activation may be off by, nor of a step of its argument.
_LEAST, _OF_STEP = 2.0**-4, 2.0**-4

#: Errors are powers of this: the same splines serve many sites and plans.
_STEP = 2.0**0.5


def set_spline_errors(nodes: Iterable[Node], error: float, most: float) -> None:
    """Set ``spline_error`` of all nodes that have splines. error: that roundings may add, as a part of the output's
    deviation. most: the largest error of a kept activation."""
    sites = [node for node in nodes if node.has_spline]
    most_of = {node.name: spline_allowance(node, most) for node in sites}
    for node in sites:
        node.spline_error = most_of[node.name]
    known = [node for node in sites if node.spline_gain and math.isfinite(node.spline_gain)]
    shares = {node.name: (len(node.site.kept) / node.spline_gain) ** _GROWS for node in known}

    def errors(times: float) -> dict[str, float]:
        return {node.name: min(most_of[node.name], times * shares[node.name]) for node in known}

    def added(found: dict[str, float]) -> float:
        return sum(_MEAN * node.spline_gain * found[node.name] ** 2 for node in known)

    allowed = (_PART * error) ** 2
    high = max((most_of[node.name] / shares[node.name] for node in known), default=0.0)
    if added(errors(high)) <= allowed:
        return
    low = 0.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if added(errors(middle)) <= allowed else (low, middle)
    for node in known:
        found = max(errors(low)[node.name], _LEAST * most_of[node.name])
        if found < most_of[node.name]:
            node.spline_error = _STEP ** math.floor(math.log(found, _STEP))


def spline_error_at(node: Node, frac_bits: int, most: float) -> float:
    """How far off the spline of a node is to be at most whose argument has so many bits: no nearer than those, and the
    bits of its coefficients, are worth. most: the largest error of a kept activation."""
    most = spline_allowance(node, most)
    least = max(_OF_STEP * 2.0**-frac_bits, 2.0 ** -(node.coefficient_bits + FEWEST_BITS))
    return most if node.spline_error is None else max(node.spline_error, min(most, least))
