"""AutoReP's masks under limits: what is kept, squared and lined, and which sites send anything, is learned."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from ..errors import BudgetError, CompileError
from ..forms.choose import Chooser, Forms, Prices
from ..forms.prices import Predicted
from ..forms.search import settle
from ..hybrid.activation import known
from ..hybrid.gate import Gate, HysteresisGate
from .mending import RESERVE, Mending, say_beyond
from .methods import Gated, left_at
from .shared import shared

log = logging.getLogger(__name__)

#: In this part of a run few forms change where training has moved the plan beyond the limits: before it weights, and
#: plans, are far from those of the end, and behind it too little would be trained with them. Where few are not enough,
#: all are chosen anew, until then and so much of the run behind the first choice.
_MENDS, _ANEW, _BEHIND = (0.6, 0.9), 0.75, 0.1

#: Weights of an epoch from this part of the run on are as good as those of the end.
_LATE = 0.8

#: A square does not add less than this part of what a line adds.
_LEAST = 1e-3


class ThreeForms(Gated):
    """Kept, a square or a line, within limits of the plan's cost.

    A gate's parameter stands for what a line at its position would add to the loss: it starts at the rank of the
    one-shot score, drifts with the gradient as AutoReP's do, and is read as the score of its rank. A square adds
    a part of that, which stays as the one-shot scores had it. The forms are those of least loss within the limits
    (:mod:`~autorep_fx.forms.choose`), which move from what everything costs to that part of the budget that leaves room
    for what plans take beyond prices. With ``penalty`` the loss has
    ``penalty * max(0, cost of what is kept / target - 1)`` as well.

    Once the forms are fixed, training goes on and the plan with it: one that needs more precision has more truncations.
    So a part of the limits is left to that, and each epoch is planned. Where one exceeds them that is not among the
    last, few forms change that bring it back (:class:`~autorep_fx.search.mending.Mending`), and training goes on with
    them. At the end a late epoch within the limits is the result where the last one is not; where
    there is none, forms change again, and a short training learns them.

    The sites have lines.

    Args:
        mending: of ``gm``, with the limits.
        square, line: the one-shot scores.
        prices: of each limit.
        part: of the limits, that prices are to come to (:func:`~autorep_fx.forms.search.part_of_limits`).
        progress: show progress bars; None shows them on a terminal only.
    """

    gate_type = HysteresisGate
    refits = True

    def __init__(
        self,
        gm: fx.GraphModule,
        mending: Mending,
        granularity: str,
        penalty: float | None,
        initial: Mapping[str, Tensor],
        square: Mapping[str, Tensor],
        line: Mapping[str, Tensor],
        prices: Sequence[Prices],
        part: float,
        progress: bool | None = None,
    ):
        super().__init__(gm, granularity, penalty, initial)
        self.mending, self.budget, self.prices, self.showing = mending, mending.budget, prices, progress
        self.sorted = torch.cat([loss.flatten() for loss in line.values()]).double().sort().values
        self.share = {name: (square[name] / line[name].clamp_min(1e-300)).clamp(_LEAST, 1) for name in line}
        size = {name: site.total for name, site in self.sites.items()}
        self.limits = [part * limit for limit in self.budget.limits]
        self.totals = [max(price.everything(size), limit) for price, limit in zip(prices, self.limits)]
        self.targets = list(self.totals)
        self.losses: dict[str, Tensor] | None = None  # of lines, as they were when the forms were fixed
        self.predicted: Predicted | None = None
        self.remembered: dict[str, Any] | None = None  # of the last epoch within the limits
        self.late = False  # whether that is a late one
        self.within = False  # as of the last epoch that was planned

    def start(self) -> None:
        super().start()
        for site in self.sites.values():
            known(site.line_coeffs).requires_grad_(True)

    def penalty(self) -> Tensor | float:
        if self.weight is None:
            return 0.0
        terms = []
        for price, target in zip(self.prices, self.targets):
            spent = [
                gate(self.sites[name].keep).sum() * price.sites[name].kept for name, gate in self.gates(Gate).items()
            ]
            terms.append(sum(spent[1:], spent[0]) / max(target - price.base, 1e-9))
        return self.weight * torch.clamp(torch.stack(terms).max() - 1, min=0)

    def settle(self) -> int:
        """Fix the forms where their plan is within the limits, with a reserve if that takes little; where there is
        none, which training may change, a sketch of it, which says nothing of how precise a plan must be."""
        self.losses = self._losses(0.0)
        for site in self.sites.values():
            site.gate = None
        try:
            self._settle()
        except (BudgetError, CompileError) as error:
            log.info("%s; forms are trained whose sketch is within the limits", error)
            self._settle(by_sketches=True)
            return 0
        line = known(self.losses)
        if self.predicted is not None:
            self.predicted = self.mending.spare(self.predicted, line, self._squares(line))
        return 0

    def after_epoch(self, done: float, refresh: Callable[[], None]) -> None:
        self.within = done >= 1
        # Forms that were fixed with the epoch's last step have been planned; the last epoch is planned at the end.
        if self.losses is None or done <= self.settled + 1e-9 or done >= 1:
            return
        refresh()
        self.predicted = self.mending.predicted()
        self.within = self.mending.within(self.predicted)
        if self.within:
            self.late = done >= _LATE
            self.remembered = {name: value.detach().clone() for name, value in self.gm.state_dict().items()}
        elif _MENDS[0] <= done <= _MENDS[1] and not (self.remembered and self.late):
            log.info("training has moved the plan beyond the limits (%s)", self.predicted)
            try:
                self._mend(RESERVE, self.settled + _BEHIND <= done <= _ANEW)
            except (BudgetError, CompileError) as error:  # of these weights; those of the end may do
                log.info("%s", error)

    def may_end(self) -> bool:
        return super().may_end() and self.within  # of the last epoch the end will tell

    def end(self, trains: bool = False) -> bool:
        self.predicted = self.mending.predicted()
        if self.mending.within(self.predicted):
            return False
        if self.remembered is not None and (self.late or self.predicted is None):
            log.warning("the last epochs have moved the plan beyond the limits (%s); the weights of the last one "
                        "within them are taken", self.predicted)  # fmt: skip
            self.gm.load_state_dict(self.remembered)
            self.predicted = self.mending.predicted()
            if self.mending.within(self.predicted):
                return False
        say_beyond(log, self.predicted, trains)
        self._mend(RESERVE if trains else 0.0, both=True)
        return trains

    def _mend(self, reserve: float, anew: bool = True, both: bool = False) -> None:
        self.mending.chooser = self._choosing(known(self.losses))
        found = self.mending.mend(self.predicted, reserve, anew, both)
        if found is not None:
            self.predicted, self.remembered = found, None

    def state(self) -> dict[str, Any]:
        more = {"losses": self.losses, "remembered": self.remembered, "late": self.late or None}
        return super().state() | {name: value for name, value in more.items() if value is not None}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.losses, self.remembered = state.get("losses"), state.get("remembered")
        self.late = state.get("late", False)

    def _settle(self, by_sketches: bool = False) -> None:
        """Forms for the weights as they are now and the losses as they were; an error leaves those there are."""
        mending, budget = self.mending, self.budget

        def of(forms: Forms) -> fx.GraphModule:
            found = forms.of(self.gm)
            mending.refresh(found)
            return found

        def sketch(forms: Forms) -> Predicted:
            return budget.sketched(of(forms), mending.x)

        def plan(forms: Forms) -> tuple[Predicted, Forms]:
            if by_sketches:
                return sketch(forms), forms
            return budget.predicted(of(forms), mending.x, self.showing), forms

        choose = self._choosing(known(self.losses))
        self.predicted, forms = shared(lambda: settle(budget, choose, sketch, plan, self.showing))
        forms.apply(self.gm)
        mending.refresh(self.gm)
        self.remembered = None

    def _move(self, progress: float) -> bool:
        self.targets = [left_at(progress, total, limit) for total, limit in zip(self.totals, self.limits)]
        band = next(iter(self.gates(HysteresisGate).values())).band
        self._choosing(self._losses(band if progress < 1 else 0.0))(self.targets).apply(self.gm)
        return False

    def _choosing(self, line: dict[str, Tensor]) -> Callable[..., Forms]:
        """The choice of forms, but for limits. line: what lines add to the loss."""
        return Chooser(line, self._squares(line), self.prices, self.granularity)

    def _squares(self, line: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What squares add to the loss."""
        return {name: loss * self.share[name] for name, loss in line.items()}

    def _losses(self, band: float) -> dict[str, Tensor]:
        """Of lines, as the gates say; what is kept counts for more, so that it does not flicker."""
        theta = {name: gate.expanded().cpu() + band * (2.0 * known(self.sites[name].keep).cpu() - 1)
                 for name, gate in self.gates(Gate).items()}  # fmt: skip
        flat = torch.cat([t.flatten() for t in theta.values()])
        # Ranks among one another: parameters drift together, too, and that says nothing.
        score = torch.empty(len(flat), dtype=torch.float64)
        score[flat.argsort(stable=True)] = self.sorted
        parts = score.split([t.numel() for t in theta.values()])
        return {name: part.view(theta[name].shape) for name, part in zip(theta, parts)}
