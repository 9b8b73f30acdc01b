"""The one-shot budget: which positions keep their activation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from ..errors import BudgetError, CalibrationError
from ..graph.calibrate import Batches, SiteWalk, evaluating
from ..graph.gradients import detached
from ..graph.labels import fault_of_classes, fault_of_labels
from ..progress import progress_bar
from .activation import HybridActivation, horner

GRANULARITIES = ("element", "channel", "layer")


_DETACHING = (detached, torch.detach)


class _Probe(SiteWalk):
    """Keeps, for every site, its output and by how much each form of ``coeffs`` would change it.

    Sites that the model computes without gradients have an effect, too.
    """

    def __init__(self, gm: fx.GraphModule, coeffs: tuple[str, ...]):
        super().__init__(gm, HybridActivation)
        self.coeffs = coeffs
        self.outputs: dict[str, Tensor] = {}
        self.changes: dict[str, list[Tensor]] = {}
        self.ends: list[fx.Node] = []  # where a gradient ends

    def run_node(self, node: fx.Node):
        result = super().run_node(node)
        if (
            isinstance(result, Tensor)
            and not result.requires_grad
            and any(map(self._has_gradient, node.all_input_nodes))
        ):
            self.ends.append(node)
        return result

    def _has_gradient(self, node: fx.Node) -> bool:
        value = self.env.get(node)
        parts = value if isinstance(value, (tuple, list)) else [value]
        return any(isinstance(part, Tensor) and part.requires_grad for part in parts)

    def call_function(self, target: Any, args: tuple, kwargs: dict):
        return args[0] if target in _DETACHING and _computed(args[0]) else super().call_function(target, args, kwargs)

    def call_method(self, target: Any, args: tuple, kwargs: dict):
        return args[0] if target == "detach" and _computed(args[0]) else super().call_method(target, args, kwargs)

    def at_site(self, name: str, site: HybridActivation, x: Tensor) -> Tensor:
        y = site.activation(x)
        if not y.requires_grad:
            y = y.detach().requires_grad_()
        self.outputs[name] = y
        with torch.no_grad():
            self.changes[name] = [horner(getattr(site, coeffs), x) - y for coeffs in self.coeffs]
        return y.clone()  # the model may write into it


def _computed(value: object) -> bool:
    return isinstance(value, Tensor) and not value.is_leaf


def scores(gm: fx.GraphModule, batches: Batches, progress: bool | None = None, seed: int = 0) -> dict[str, Tensor]:
    """Expected effect of each position's polynomial in place of its activation, (shape of the site) float64 by site.

    :func:`scores_of` says what it is.
    """
    return scores_of(gm, batches, ("coeffs",), progress, seed)[0]


def scores_of(
    gm: fx.GraphModule,
    batches: Batches,
    coeffs: tuple[str, ...],
    progress: bool | None = None,
    seed: int = 0,
) -> list[dict[str, Tensor]]:
    """Expected effect of replacing each position, (shape of the site) float64 by site name, for each form.

    With g the gradient of the loss at the output of a position and d the change that its polynomial makes there, the
    score is the mean of (g d)**2 over the samples: the diagonal of the second-order (Gauss-Newton, Fisher) expansion of
    the loss. With labels the loss is cross-entropy (mean squared error for floating-point labels). Without labels it is
    the squared change of the output, whose expansion is the mean of (J d)**2, estimated by random signs over the
    outputs.

    Sites must be fitted and have nothing replaced.

    Args:
        coeffs: the forms, "coeffs" or "line_coeffs".

    Raises:
        CalibrationError: labels that do not fit what the model returns, or a result without a gradient; names the
            batch.
    """
    generator = torch.Generator().manual_seed(seed)
    probe = _Probe(gm, coeffs)
    totals: list[dict[str, Tensor]] = [{} for _ in coeffs]
    samples = 0
    with evaluating(gm), torch.enable_grad():
        for i, (x, labels) in enumerate(progress_bar(batches, "score", progress, "batch")):
            where = f"{batches.name} batch {i}"
            output = probe.walk(x, where)
            _check_gradient(output, probe, where)
            loss = _loss(output, labels, generator, where)
            grads = torch.autograd.grad(loss, list(probe.outputs.values()), allow_unused=True)
            for (name, changes), grad in zip(probe.changes.items(), grads):
                for total, change in zip(totals, changes):
                    effect = 0 if grad is None else (grad * change).double().square().sum(0).cpu()
                    total[name] = total.get(name, torch.zeros(change.shape[1:], dtype=torch.float64)) + effect
            samples += len(x)
    return [{name: effect / samples for name, effect in total.items()} for total in totals]


def _check_gradient(output, probe: _Probe, where: str) -> None:
    if probe.outputs and isinstance(output, Tensor) and not output.requires_grad:
        node = f"node '{probe.ends[-1].name}' has none" if probe.ends else "no site has an effect on it"
        raise CalibrationError(
            f"{where} makes the model return what has no gradient, which scores need: {node}. Return the scores before "
            "it, and take the class (.argmax(1)), a threshold or a rounding of the result"
        )


def _loss(output, labels: Tensor | None, generator: torch.Generator, where: str) -> Tensor:
    if not isinstance(output, Tensor):
        raise CalibrationError(f"the model returns {type(output).__name__}; scores need one tensor of outputs")
    if labels is None:
        signs = torch.randint(0, 2, output.shape, generator=generator).to(output) * 2 - 1
        return (output * signs).sum()
    if labels.is_floating_point():
        if labels.shape != output.shape:
            raise CalibrationError(f"{where} has targets of shape {tuple(labels.shape)}, the model returns "
                                   f"{tuple(output.shape)}")  # fmt: skip
        return F.mse_loss(output, labels.to(output.device), reduction="sum")
    if fault := fault_of_labels(labels, len(output)) or fault_of_classes(labels, output):
        raise CalibrationError(f"{where} {fault}")
    return F.cross_entropy(output, labels.long().to(output.device), reduction="sum")


def check_budget(budget: float | None, total: int) -> None:
    """Raise BudgetError unless ``budget`` is a whole number from 0 to ``total``."""
    if isinstance(budget, bool) or not isinstance(budget, int):
        raise BudgetError(f"relu_budget must be a whole number of ReLU elements per sample, got {budget!r}")
    if not 0 <= budget <= total:
        raise BudgetError(f"relu_budget is {budget:,}; this model has {total:,} elements, so 0 to {total:,} is allowed")


def check_granularity(granularity: str) -> None:
    if granularity not in GRANULARITIES:
        raise ValueError(f"granularity must be one of {', '.join(GRANULARITIES)}, got {granularity!r}")


def choose(
    scores: Mapping[str, Tensor],
    budget: float,
    granularity: str = "element",
    cost: Mapping[str, float] | None = None,
) -> dict[str, Tensor]:
    """Masks (boolean, by site) that keep exactly ``budget`` positions, those with the highest scores.

    "channel" and "layer" keep whole units, the highest mean score first. Where whole units do not add up to the budget,
    the best unit that is left is kept in part, at its best positions, so that the count is exact; at most one unit is
    split. Ties go to the earlier site and position, so the result is deterministic.

    With ``cost`` (what one kept position of a site costs, default 1) the budget is in units of cost and is never
    exceeded; what is left over is less than one position.

    Raises:
        BudgetError: budget out of range.
        ValueError: unknown granularity.
    """
    check_granularity(granularity)
    if cost is None:
        check_budget(budget, sum(s.numel() for s in scores.values()))
    price = {name: float((cost or {}).get(name, 1.0)) for name in scores}
    masks = {name: torch.zeros(s.shape, dtype=torch.bool) for name, s in scores.items()}
    left = float(budget)
    if granularity == "element":
        flat = torch.cat([s.flatten() for s in scores.values()])
        prices = torch.cat([torch.full((s.numel(),), price[n], dtype=torch.float64) for n, s in scores.items()])
        order = torch.sort(flat, descending=True, stable=True).indices
        keep = torch.zeros(len(flat), dtype=torch.bool)
        keep[order[prices[order].cumsum(0) <= left]] = True
        parts = keep.split([s.numel() for s in scores.values()])
        return {name: part.view(s.shape).clone() for (name, s), part in zip(scores.items(), parts)}

    # A unit: a view of a site's scores, the view of its mask that goes with it, and the price of a position.
    units = []
    for name, s in scores.items():
        rows = 1 if granularity == "layer" else len(s)
        units += [(row, mask, price[name]) for row, mask in zip(s.reshape(rows, -1), masks[name].view(rows, -1))]
    waiting = []
    for row, mask, each in sorted(units, key=lambda unit: -float(unit[0].mean())):
        if len(row) * each <= left:
            mask[:] = True
            left -= len(row) * each
        else:
            waiting.append((row, mask, each))
    if waiting:
        row, mask, each = waiting[0]
        mask[torch.sort(row, descending=True, stable=True).indices[: int(left // each)]] = True
    return masks
