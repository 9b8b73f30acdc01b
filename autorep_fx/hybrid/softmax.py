"""A softmax inside the network, replaced: squares of the scores, over their sum.

    d = s - mean(s),   p = (slope d + offset)^2 + floor^2,   p / sum(p)

A softmax does not see what all scores of a row have more, and neither does this: a mean is linear, and free between two
parties. In place of the exponential there is one square. ``p`` is positive whatever training makes of the three
numbers, of which each head has its own; they are fitted, as all polynomials are, to what really arrives: by least
squares to the softmax times the number of scores in a row, whose mean is 1.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from ..graph.batches import Batches
from ..graph.calibrate import SiteWalk, evaluating
from ..graph.canonicalize import site_nodes
from ..graph.modes import drop_unused
from ..graph.tail import spelled, tail
from ..graph.targets import module_of
from ..progress import stepwise
from .activation import HybridActivation

log = logging.getLogger(__name__)

_SOFTMAX = spelled("softmax")

#: A score so far below the largest of its row is hidden by a mask, and a square does not hide it.
_HIDDEN = 80.0

#: Of the least of ``p`` and of its curvature, where the fit wants less: as parts of the mean of ``p``, which is 1.
_FLOOR, _CURVATURE = 0.02, 1e-4


class SoftmaxSquares(nn.Module):
    """What a replaced softmax computes its ``p`` with; the nodes of the graph read it.

    Attributes:
        slope, offset, floor: (heads, 1, 1), or (1,) where the scores have other axes than (N, heads, queries, keys).
    """

    def __init__(self, heads: int | None):
        super().__init__()
        shape = (1,) if heads is None else (heads, 1, 1)
        self.slope, self.offset = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.ones(shape))
        self.floor = nn.Parameter(torch.ones(shape))


def replaced_softmaxes(gm: fx.GraphModule) -> dict[str, int | None]:
    """Names of those that are, and how many heads each has; None where it has no such axis."""
    found = {name: module for name, module in gm.named_modules() if isinstance(module, SoftmaxSquares)}
    return {name: len(each.slope) if each.slope.dim() == 3 else None for name, each in found.items()}


def fit_softmaxes(gm: fx.GraphModule, batches: Batches, progress: bool | None = None) -> list[str]:
    """Replace every softmax of what is private, in place, but for what the client does last and for what is masked.

    ``F.scaled_dot_product_attention`` has one, too. Nodes and parameters have the name of the softmax's node, which
    ends in "squares".

    Returns:
        What keeps its softmax, and why.

    Raises:
        CalibrationError: batches do not go through the model.
    """
    nodes, kept = _found(gm)
    fits = {node: _Fit() for node in nodes}
    with evaluating(gm), torch.no_grad():
        for i, (x, _) in enumerate(stepwise(log, batches, "scores of attention", progress, "batch")):
            _Scores(gm, fits).walk(x, f"{batches.name} batch {i}")
    for node, fit in fits.items():
        if fit.hidden:
            kept.append(f"'{node.name}' (a mask hides some of its scores)")
            continue
        solved = fit.solved()
        if bool((solved[0] ** 2 <= _CURVATURE).any()):
            kept.append(f"'{node.name}' (it is not bent as a square is, as with two scores in a row)")
            continue
        squares = _replace(gm, node, fit.heads)
        for name, value in zip(("slope", "offset", "floor"), solved):
            own = getattr(squares, name)
            own.data.copy_(value.reshape(own.shape))
    _recompiled(gm)
    return kept


def replace_softmaxes(gm: fx.GraphModule, heads: Mapping[str, int | None]) -> None:
    """The same without a fit, for weights that are loaded.

    Raises:
        KeyError: a name that is none of this network's.
    """
    there = {_name(node): node for node in _found(gm)[0]}
    for name, count in heads.items():
        _replace(gm, there[name], count)
    _recompiled(gm)


def _found(gm: fx.GraphModule) -> tuple[list[fx.Node], list[str]]:
    """Nodes that can be replaced, and what cannot, with the reason."""
    last = tail(gm, site_nodes(gm, HybridActivation))
    private: set[fx.Node] = set()
    found, kept = [], []
    for node in gm.graph.nodes:
        if node.op == "placeholder" or not private.isdisjoint(node.all_input_nodes):
            private.add(node)
            if node in last:
                continue
            module = module_of(gm, node) if node.op == "call_module" else None
            if isinstance(module, nn.MultiheadAttention):
                kept.append(f"'{node.name}' (inside nn.MultiheadAttention; write it with scaled_dot_product_attention)")
            elif node.target is F.scaled_dot_product_attention:
                why = _not_plain(node)
                kept.append(f"'{node.name}' ({why})") if why else found.append(node)
            elif node.target in _SOFTMAX or isinstance(module, nn.Softmax):
                there = isinstance(_axis(gm, node), int)
                found.append(node) if there else kept.append(f"'{node.name}' (it names no axis)")
    return found, kept


def _not_plain(node: fx.Node) -> str | None:
    """What a fused attention has that squares do not do."""
    if _argument(node, 3, "attn_mask") is not None or _argument(node, 5, "is_causal"):
        return "it has a mask"
    if _argument(node, 4, "dropout_p"):
        return "it drops weights out"
    return "it has groups of heads" if node.kwargs.get("enable_gqa") else None


def _argument(node: fx.Node, place: int, name: str) -> Any:
    return node.args[place] if len(node.args) > place else node.kwargs.get(name)


def _axis(gm: nn.Module, node: fx.Node) -> Any:
    """Of a softmax."""
    return module_of(gm, node).dim if node.op == "call_module" else _argument(node, 1, "dim")


def _scores(node: fx.Node, gm: nn.Module, read: Callable[[Any], Any]) -> tuple[Any, int]:
    """The scores, of proxies or of tensors, and along which axis they are summed. read: what an argument is."""
    if node.target is F.scaled_dot_product_attention:
        q, k = (read(_argument(node, place, name)) for place, name in enumerate(("query", "key")))
        scale = node.kwargs.get("scale")
        return (q @ k.transpose(-2, -1)) * (q.size(-1) ** -0.5 if scale is None else scale), -1
    return read(_argument(node, 0, "input")), _axis(gm, node)


def _name(node: fx.Node) -> str:
    return f"{node.name}_squares"


def _replace(gm: fx.GraphModule, node: fx.Node, heads: int | None) -> SoftmaxSquares:
    squares, name = SoftmaxSquares(heads), _name(node)
    like = next((weight for weight in gm.parameters() if weight.is_floating_point()), None)
    if like is not None:
        squares.to(like)  # its device and type
    gm.add_submodule(name, squares)
    with gm.graph.inserting_before(node):
        tracer = fx.proxy.GraphAppendingTracer(gm.graph)

        def proxy(value: Any) -> Any:
            return fx.Proxy(value, tracer) if isinstance(value, fx.Node) else value

        slope, offset, floor = (proxy(gm.graph.get_attr(f"{name}.{part}")) for part in ("slope", "offset", "floor"))
        scores, axis = _scores(node, gm, proxy)
        base = (scores - scores.mean(axis, keepdim=True)) * slope + offset
        powers = base * base + floor * floor
        total = powers.sum(axis, keepdim=True)
        if node.target is F.scaled_dot_product_attention:  # fewer numbers are divided behind the product
            powers = powers @ proxy(_argument(node, 2, "value"))
        result = powers / total
    node.replace_all_uses_with(result.node)
    gm.graph.erase_node(node)
    return squares


def _recompiled(gm: fx.GraphModule) -> None:
    drop_unused(gm)
    gm.graph.lint()
    gm.recompile()


class _Fit:
    """Moments of the scores of one softmax, head by head."""

    def __init__(self) -> None:
        self.hidden = False
        self.heads: int | None = None
        self.powers: Any = 0.0
        self.products: Any = 0.0

    def add(self, scores: Tensor, axis: int) -> None:
        s = scores.double()
        if not bool((s > s.amax(axis, keepdim=True) - _HIDDEN).all()):  # -inf, too
            self.hidden = True
            return
        self.heads = s.shape[1] if s.dim() == 4 and axis % 4 in (2, 3) else None
        d = s - s.mean(axis, keepdim=True)
        y = s.softmax(axis) * s.shape[axis]
        d, y = (v.reshape(1, -1) if self.heads is None else v.transpose(0, 1).flatten(1) for v in (d, y))
        self.powers = self.powers + torch.stack([(d**k).sum(1) for k in range(5)], 1).cpu()
        self.products = self.products + torch.stack([(y * d**k).sum(1) for k in range(3)], 1).cpu()

    def solved(self) -> tuple[Tensor, Tensor, Tensor]:
        """Slope, offset and floor, each of a number for every head."""
        normal = torch.stack([self.powers[:, k : k + 3] for k in range(3)], 1)
        c0, c1, c2 = torch.linalg.lstsq(normal, self.products[:, :, None]).solution[:, :, 0].unbind(1)
        slope = c2.clamp(min=_CURVATURE).sqrt()
        offset = c1 / (2 * slope)
        return slope, offset, (c0 - offset**2).clamp(min=_FLOOR).sqrt()


class _Scores(SiteWalk):
    """A run that shows every softmax's scores to its fit."""

    def __init__(self, gm: fx.GraphModule, fits: dict[fx.Node, _Fit]):
        super().__init__(gm, HybridActivation)
        self.fits = fits

    def run_node(self, node: fx.Node):
        if node in self.fits:
            scores, axis = _scores(node, self.module, lambda arg: self.env[arg] if isinstance(arg, fx.Node) else arg)
            self.fits[node].add(scores, axis)
        return super().run_node(node)
