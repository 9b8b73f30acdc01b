"""The one-shot budget: which positions keep their activation."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..errors import BudgetError

GRANULARITIES = ("element", "channel", "layer")


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
