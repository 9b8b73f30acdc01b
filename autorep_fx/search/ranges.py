"""Inputs for which the squares are too large: a term that holds them, and a report of where they are.

Where ``c2 |x|`` is large a square exceeds its input, and a residual stream, which passes one square after another, runs
away from there: single inputs spoil a step and the batch statistics, and in fixed point they leave the ring.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx

from ..graph.calibrate import SiteWalk
from ..graph.canonicalize import site_nodes
from ..graph.targets import path_of
from ..hybrid.activation import HybridActivation, sites


def with_excess(gm: fx.GraphModule, growth: float) -> fx.GraphModule:
    """The same modules, another graph: returns ``(what gm returns, excess)``.

    The excess is the sum of ``max(0, |c2 x| / growth - 1)**2`` over the positions that take a square, mean over the
    samples: zero where every input is as small as the fit wants it (``c2 R <= growth``).
    """
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    output = graph.graph_copy(gm.graph, copies)
    total: fx.Node | float = 0.0
    everything = sites(gm)
    for node in site_nodes(gm, HybridActivation):
        site = everything[path_of(node)]
        if site.degree == 2:
            with graph.inserting_before(copies[node]):  # what comes after it may write into its input
                names = ("keep", "coeffs", *(("line",) if site.line is not None else ()))
                keep, coeffs, *line = (graph.get_attr(f"{node.target}.{name}") for name in names)
                (x,) = (copies[source] for source in node.all_input_nodes)
                total = graph.call_function(_plus_excess, (total, x, growth, coeffs, keep, *line))
    graph.output((output, total))
    return fx.GraphModule(gm, graph)


def _plus_excess(total: Tensor | float, x: Tensor, growth: float, coeffs: Tensor, *others: Tensor) -> Tensor:
    """others: masks of positions that take no square."""
    c2 = coeffs[2].view(-1, *(1,) * (x.dim() - 2))
    beyond = ((c2 * x).float().abs() / growth - 1).clamp_min(0).square()
    for mask in others:
        beyond = beyond * ~mask
    return total + beyond.sum() / len(x)


class RangeWatch(SiteWalk):
    """Notes the sites whose input is outside the range that their polynomial was fitted to."""

    def __init__(self, gm: fx.GraphModule):
        super().__init__(gm, HybridActivation)
        self.outside: list[str] = []

    def at_site(self, name: str, site: Any, x: Tensor) -> Tensor:
        if site.input_range is not None:
            low, high = site.input_range.tolist()
            if not (x.min() >= low and x.max() <= high):  # also where x is not a number
                self.outside.append(f"'{name}' got {x.min():.3g} to {x.max():.3g}, fitted to {low:.3g} to {high:.3g}")
        return site(x)
