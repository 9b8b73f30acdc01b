"""What a run learns besides the weights: masks by AutoReP, masks by SNL, or nothing (fixed masks)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, fx

from ..hybrid.activation import HybridActivation, known, sites
from ..hybrid.gate import Gate, HysteresisGate, LinearGate
from ..hybrid.positions import choose

#: Masks (AutoReP) and the penalty's weight (SNL) move once in this many steps.
_EVERY = 10
_SNL_GROWTH = 1e5

G = TypeVar("G", bound=Gate)


class Method:
    """Fixed masks, and the base of the others.

    A run calls ``start`` once, ``penalty`` and ``after_step`` in every step of the mask phase (with the progress of the
    phase, in (0, 1]), ``settle`` when the phase ends, ``after_epoch`` after every epoch, and ``end`` once.
    """

    moves_masks = False
    trains_coeffs = True
    refits = False
    settled = 0.0  # part of the run behind which masks were fixed

    def __init__(self, gm: fx.GraphModule):
        self.gm = gm
        self.sites: dict[str, HybridActivation] = sites(gm)

    def start(self) -> None: ...

    def penalty(self) -> Tensor | float:
        return 0.0

    def after_step(self, progress: float) -> bool:
        """Move the masks; True ends the phase here."""
        return False

    def settle(self) -> int:
        """Fix the masks at the budget; returns how many positions above it the schedule ended (negative: below)."""
        return 0

    def after_epoch(self, done: float, refresh: Callable[[], None]) -> None:
        """done: part of the epochs, in (0, 1]. refresh: gives batch norms the statistics of the network as it is."""

    def may_end(self) -> bool:
        """Whether the network as it is after an epoch may be the result."""
        return not self.gate_parameters()

    def end(self, trains: bool = False) -> bool:
        """All is trained, and batch norms have the statistics of the end. trains: whether a short training may follow,
        behind which this is called again; returns whether there should be one."""
        return False

    def release(self) -> None:
        """Take the gates from the sites, wherever the run is; the masks stay as they are."""
        for site in self.sites.values():
            if site.gate is not None:
                site.gate = None
                site.set_keep(known(site.keep))  # the coefficients train or not as the masks say

    def gates(self, kind: type[G]) -> dict[str, G]:
        """By site, while masks move."""
        return {name: site.gate for name, site in self.sites.items() if isinstance(site.gate, kind)}

    def gate_parameters(self) -> list[Tensor]:
        return [gate.theta for gate in self.gates(Gate).values()]

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None: ...


class Gated(Method):
    """A gate at every site, and a schedule for what may be left open.

    Args:
        penalty: weight of the budget term in the loss.
        initial: where the gates start, (shape of the site) by site.
    """

    moves_masks = True
    gate_type: type
    level = 0.0

    def __init__(self, gm: fx.GraphModule, granularity: str, penalty: float | None, initial: Mapping[str, Tensor]):
        super().__init__(gm)
        self.granularity, self.weight, self.initial = granularity, penalty, initial
        self.steps, self.progress, self.moved = 0, 0.0, 0.0

    def start(self) -> None:
        for name, site in self.sites.items():
            keep = known(site.keep)
            site.gate = self.gate_type(self.initial[name].to(keep.device), tuple(keep.shape), self.granularity)
            known(site.coeffs).requires_grad_(True)

    def after_step(self, progress: float) -> bool:
        self.steps, self.progress = self.steps + 1, progress
        if self.steps % _EVERY == 0 or progress >= 1:
            return self._move(progress)
        return False

    def state(self) -> dict[str, Any]:
        return {"steps": self.steps, "level": self.level, "weight": self.weight, "moved": self.moved}

    def restore(self, state: dict[str, Any]) -> None:
        self.steps, self.level, self.moved = int(state["steps"]), state["level"], state["moved"]
        if self.weight is not None:  # a run without a penalty has none; earlier versions wrote 0.0 for that
            self.weight = state["weight"]

    def _move(self, progress: float) -> bool:
        """Set the masks for this progress of the phase; True ends it."""
        raise NotImplementedError


def left_at(progress: float, total: float, budget: float) -> float:
    """What may be left at this progress: a cubic from everything to the budget.

    Source of the shape: Zhu and Gupta, "To prune, or not to prune" (2017).
    """
    return budget + (total - budget) * (1 - progress) ** 3


class _Counted(Gated):
    """A budget of positions.

    Args:
        budget: positions (units of ``cost``) to end at.
        cost: of one kept position, by site; default 1.
    """

    def __init__(
        self,
        gm: fx.GraphModule,
        budget: float,
        granularity: str,
        penalty: float | None,
        initial: Mapping[str, Tensor],
        cost: Mapping[str, float] | None,
    ):
        super().__init__(gm, granularity, penalty, initial)
        self.budget, self.cost = budget, cost
        self.price = {name: float((cost or {}).get(name, 1.0)) for name in self.sites}
        self.total = sum(site.total * self.price[name] for name, site in self.sites.items())

    def settle(self) -> int:
        missed = sum(site.kept for site in self.sites.values()) - int(self.budget) if self.cost is None else 0
        theta = {name: gate.expanded().cpu() for name, gate in self.gates(Gate).items()}
        masks = choose(theta, self.budget, self.granularity, self.cost)
        for name, site in self.sites.items():
            site.gate = None
            site.set_keep(masks[name])
        return missed

    def _open(self) -> Tensor | float:
        """Cost of what the gates leave open, differentiable."""
        return sum(gate(self.sites[name].keep).sum() * self.price[name] for name, gate in self.gates(Gate).items())


class AutoRep(_Counted):
    """Discrete masks by a straight-through gradient; weights, coefficients and masks learn together.

    With ``penalty``, as published: the masks are the signs of the parameters and the loss has
    ``penalty * max(0, density - target)``. Without, the level of the gates moves to where as many parameters lie above
    it as the schedule allows: under Adam a penalty that is the same everywhere moves all parameters alike and drowns
    the gradient of the task; moving the level instead is the same motion, leaves that gradient alone, and arrives
    exactly.

    Source: Peng et al., AutoReP (ICCV 2023), sections 3.2 to 3.4.
    """

    gate_type = HysteresisGate
    refits = True
    target = 1.0

    def penalty(self) -> Tensor | float:
        if self.weight is None:
            return 0.0
        return self.weight * torch.clamp(torch.as_tensor(self._open()) / self.total - self.target, min=0)

    def _move(self, progress: float) -> bool:
        target = left_at(progress, self.total, self.budget)
        self.target = target / self.total
        if self.weight is None:
            self.level = self._level(target)
        exactly = self.weight is None and target <= self.budget  # the last move of the schedule
        for name, gate in self.gates(HysteresisGate).items():
            site = self.sites[name]
            site.set_keep(gate.decide(known(site.keep), self.level, 0.0 if exactly else None))
        return False

    def _level(self, target: float) -> float:
        """A value of theta above which units of total cost ``target`` lie, between two units' parameters."""
        gates = [(gate, self.price[name]) for name, gate in self.gates(Gate).items()]
        theta = torch.cat([gate.theta.detach().flatten() for gate, _ in gates])
        price = torch.cat([theta.new_full((g.theta.numel(),), g.unit * p, dtype=torch.float64) for g, p in gates])
        theta, order = theta.sort(descending=True)
        index = int((price[order].cumsum(0) <= target).sum())
        around = theta[max(index - 1, 0) : index + 1]
        return float(around.mean()) if 0 < index < len(theta) else float(around[-1]) + (1.0 if index == 0 else -1.0)

    def state(self) -> dict[str, Any]:
        return super().state() | {"target": self.target}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.target = state["target"]


class Snl(_Counted):
    """Selective network linearization: real gates between activation and identity, an l1 penalty, then binarised.

    The weight of the penalty starts at 1e-5 a position, as published, and grows while more gates are above one half
    than the schedule allows (the published code grows it by a tenth an epoch; here by at most 1e5 over the phase, so
    that short runs arrive too). The phase ends as soon as the budget is reached.

    Source: Cho et al. (ICML 2022), section 3.
    """

    gate_type = LinearGate
    trains_coeffs = False  # the replaced positions stay the identity
    level = 0.5

    def start(self) -> None:
        super().start()
        for site in self.sites.values():
            identity = torch.zeros_like(known(site.coeffs))
            identity[1] = 1
            site.set_coeffs(identity)

    def penalty(self) -> Tensor | float:
        return (self.weight or 0.0) * self._open()

    def _move(self, progress: float) -> bool:
        target, left = left_at(progress, self.total, self.budget), 0.0
        with torch.no_grad():
            for name, gate in self.gates(LinearGate).items():
                site = self.sites[name]
                gate.theta.clamp_(0, 1)
                site.set_keep(gate.expanded() > self.level)
                left += site.kept * self.price[name]
        if left > target:
            self.weight = (self.weight or 0.0) * _SNL_GROWTH ** (self.progress - self.moved)
        self.moved = self.progress
        return left <= self.budget


METHODS: dict[str, type[_Counted]] = {"autorep": AutoRep, "snl": Snl}
