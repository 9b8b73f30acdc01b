"""Reconstruction without labels: what lies behind the polynomials is fitted to what it was without them.

The model and a copy that keeps every activation are walked together, node by node, all batches at once. A polynomial is
fitted to the *copy's* activation, so that it also makes good what earlier ones did. A convolution or linear layer that
receives other values than in the copy gets the weights and the bias of least squares for the copy's output, drawn to
what they were as strongly as leaving out a quarter of the samples at a time says is best: few pictures decide less than
a layer has weights.

Sources: least squares layer by layer, He, Zhang and Sun, Channel Pruning (ICCV 2017), section 3; biases alone, Nagel et
al., Data-Free Quantization (ICCV 2019), section 4.2.
"""

from __future__ import annotations

import logging
import operator
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from ..graph.attached import attached
from ..graph.batches import Batches
from ..graph.calibrate import InOrder, add, evaluating
from ..graph.statistics import SiteStatistics
from ..graph.targets import module_of, path_of
from ..progress import stepwise
from ..text import brief
from .activation import HybridActivation, copy_without_statistics, known, sites
from .fitting import Fitting, fit_where_replaced

log = logging.getLogger(__name__)

#: How strongly weights may be drawn to what they were, as parts of a layer's mean squared input; infinite: they stay,
#: and biases alone are fitted.
RIDGES = (0.01, 0.1, 1.0, 10.0, float("inf"))

#: Parts of the samples, each of which is left out once. Most inputs of one output, and rows at once.
_PARTS, _WIDEST, _ROWS = 4, 8192, 2**16

#: What is fitted, and what may be behind it.
_LAYERS, _NORMS = (nn.Conv2d, nn.Linear), (nn.BatchNorm1d, nn.BatchNorm2d)


def reconstruct_layers(
    gm: fx.GraphModule,
    batches: Batches,
    fitting: Fitting,
    progress: bool | None = None,
    ridges: tuple[float, ...] = RIDGES,
) -> None:
    """Give a model, whose masks are chosen, polynomials, weights and biases; labels are not used.

    Layers that are called more than once, or that somebody else computes the weights of, stay as they are. Needs the
    memory for what all batches hold at one place of the graph, twice.
    """
    target = _with_all_kept(gm)
    calls = Counter(node.target for node in gm.graph.nodes if node.op == "call_module")
    behind: set[fx.Node] = set()  # of something that was changed
    with evaluating(gm), evaluating(target), torch.no_grad():
        mine, theirs = (InOrder(each, HybridActivation, batches) for each in (gm, target))
        nodes = list(zip(gm.graph.nodes, target.graph.nodes))
        for node, twin in stepwise(log, nodes, "reconstruct", progress, "node"):
            module = module_of(gm, node) if node.op == "call_module" else None
            wanted = theirs.run(twin)
            changed = not behind.isdisjoint(node.all_input_nodes)
            if isinstance(module, HybridActivation) and not known(module.keep).all():
                _fit_site(path_of(node), module, mine.arriving(node), wanted, fitting)
                changed = True
            elif changed and module is not None and calls[node.target] == 1 and (layer := _layer(gm, node, module)):
                layer.fit(mine.arriving(node), wanted, ridges)
            if changed:
                behind.add(node)
            mine.run(node)


def _with_all_kept(gm: fx.GraphModule) -> fx.GraphModule:
    target = copy_without_statistics(gm)
    for site in sites(target).values():
        site.set_keep(torch.ones_like(known(site.keep)))
    return target


def _fit_site(name: str, site: HybridActivation, inputs: list[Tensor], wanted: list[Tensor], fitting: Fitting) -> None:
    statistics = SiteStatistics(known(site.shape), site.degree)
    for x, y in zip(inputs, wanted):
        add(statistics, name, x, y.reshape(x.shape))
    fit_where_replaced(site, statistics, fitting)


def _layer(gm: fx.GraphModule, node: fx.Node, module: nn.Module) -> _Layer | None:
    """The layer at ``node``, if it is one whose weights can be fitted."""
    if not isinstance(module, _LAYERS) or type(module) not in _LAYERS:  # no class of a user's own
        return None
    if attached(module) or node.kwargs or len(node.args) != 1:
        return None
    if module.weight[0].numel() > _WIDEST or not isinstance(module.weight, nn.Parameter):
        return None
    norm: nn.BatchNorm1d | nn.BatchNorm2d | None = None
    if module.bias is None and len(node.users) == 1:
        (user,) = node.users
        after = module_of(gm, user) if user.op == "call_module" else None
        if isinstance(after, _NORMS) and type(after) in _NORMS and after.running_mean is not None:
            norm = after
    return _Layer(module, norm)


class _Layer:
    """Least squares of one layer, group by group.

    Args:
        module: a Conv2d or Linear.
        norm: the batch norm behind it, which has its bias in the running mean where the layer has none.
    """

    def __init__(self, module: nn.Conv2d | nn.Linear, norm: nn.BatchNorm1d | nn.BatchNorm2d | None):
        self.module, self.norm = module, norm
        self.groups = module.groups if isinstance(module, nn.Conv2d) else 1
        self.weight = module.weight.double().reshape(self.groups, len(module.weight) // self.groups, -1)
        bias = module.bias if module.bias is not None else module.weight.new_zeros(len(module.weight))
        self.bias = bias.double().reshape(self.groups, -1)
        self.movable = module.bias is not None or norm is not None

    def fit(self, inputs: list[Tensor], wanted: list[Tensor], ridges: tuple[float, ...] = RIDGES) -> None:
        """Set weights and bias, unless leaving samples out says that they are better as they are."""
        parts = self._parts(inputs, wanted)
        total = sum(parts[1:], parts[0])
        tried = {ridge: sum(part.error(*self._solve(total - part, ridge)) for part in parts) for ridge in ridges}
        best = min(tried, key=tried.__getitem__)
        if tried[best] >= total.error(self.weight, self.bias):
            return
        weight, bias = self._solve(total, best)
        self.module.weight.copy_(weight.reshape(self.module.weight.shape))
        if self.module.bias is not None:
            self.module.bias.copy_(bias.flatten())
        elif self.norm is not None and self.norm.running_mean is not None:
            self.norm.running_mean.sub_(bias.flatten())

    def _solve(self, sums: _Sums, ridge: float) -> tuple[Tensor, Tensor]:
        """Weights (groups, outputs, inputs) and biases (groups, outputs) of least squares."""
        centre = sums.x / sums.rows if self.movable else torch.zeros_like(sums.x)
        weight = self.weight
        if ridge != float("inf"):
            gram = sums.xx / sums.rows - centre[:, :, None] * centre[:, None]
            cross = sums.xy / sums.rows - centre[:, :, None] * (sums.y / sums.rows)[:, None]
            drawn = ridge * gram.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-30)
            factor = torch.linalg.cholesky(gram + drawn[:, None, None] * torch.eye(gram.shape[1]).to(gram))
            weight = weight + torch.cholesky_solve(cross - gram @ weight.mT, factor).mT
        bias = (sums.y - (weight @ sums.x[..., None])[..., 0]) / sums.rows
        return weight, bias if self.movable else torch.zeros_like(bias)

    def _parts(self, inputs: list[Tensor], wanted: list[Tensor]) -> list[_Sums]:
        samples = sum(map(len, inputs))
        count = min(_PARTS, samples)
        parts: dict[int, _Sums] = {}
        at = 0
        for x, y in zip(inputs, wanted):
            each = max(_ROWS * len(y) * y.shape[1] // max(y.numel(), 1), 1)  # samples with so many rows
            while len(x):
                part = at * count // samples
                end = -(-(part + 1) * samples // count)  # where the next part begins
                take = min(each, end - at, len(x))
                sums = _Sums.of(self._rows_in(x[:take]), self._rows_out(y[:take]))
                parts[part] = parts[part] + sums if part in parts else sums
                x, y, at = x[take:], y[take:], at + take
        return [*parts.values()]

    def _rows_in(self, x: Tensor) -> Tensor:
        """(groups, rows, inputs): what each output is computed from."""
        if isinstance(self.module, nn.Linear):
            return x.reshape(1, -1, x.shape[-1])
        m = self.module
        mode = "constant" if m.padding_mode == "zeros" else m.padding_mode
        x = F.pad(x, m._reversed_padding_repeated_twice, mode=mode)
        x = F.unfold(x, m.kernel_size, m.dilation, 0, m.stride)
        return x.unflatten(1, (self.groups, -1)).permute(1, 0, 3, 2).flatten(1, 2)

    def _rows_out(self, y: Tensor) -> Tensor:
        """(groups, rows, outputs)."""
        if isinstance(self.module, nn.Linear):
            return y.reshape(1, -1, y.shape[-1])
        return y.flatten(2).unflatten(1, (self.groups, -1)).permute(1, 0, 3, 2).flatten(1, 2)


@dataclass(frozen=True)
class _Sums:
    """All that least squares needs of some rows, by group: how many, and sums of x, y, x x', x y' and y**2."""

    rows: int
    x: Tensor
    y: Tensor
    xx: Tensor
    xy: Tensor
    yy: Tensor

    __repr__ = brief

    @staticmethod
    def of(x: Tensor, y: Tensor) -> _Sums:
        return _Sums(x.shape[1], x.double().sum(1), y.double().sum(1), (x.mT @ x).double(), (x.mT @ y).double(),
                     y.double().square().sum())  # fmt: skip

    def __add__(self, other: _Sums) -> _Sums:
        return self._each(operator.add, other)

    def __sub__(self, other: _Sums) -> _Sums:
        return self._each(operator.sub, other)

    def _each(self, operation: Callable[[Any, Any], Any], other: _Sums) -> _Sums:
        return _Sums(*(operation(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)))

    def error(self, weight: Tensor, bias: Tensor) -> float:
        """Squared error of a layer over the rows."""
        out = (weight @ self.x[..., None])[..., 0]
        squares = ((weight @ self.xx) * weight).sum() + 2 * (bias * out).sum() + self.rows * bias.square().sum()
        return float(squares - 2 * (weight.mT * self.xy).sum() - 2 * (bias * self.y).sum() + self.yy)
