"""AutoReP's masks under limits: what is kept, squared and lined, and which sites send anything, is learned."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, fx

from ..errors import BudgetError, CompileError
from ..forms.choose import Chooser, Forms, Prices
from ..forms.prices import Budget, Predicted
from ..forms.search import settle
from ..hybrid.activation import known
from ..hybrid.gate import Gate, HysteresisGate
from .evaluation import refresh_batch_norm
from .methods import Gated, left_at

log = logging.getLogger(__name__)

#: In this part of a run forms are chosen again where training has moved the plan beyond the limits: before it weights,
#: and plans, are far from those of the end, and behind it too little would be trained with them.
_AGAIN = (0.6, 0.75)

#: Samples of a batch whose statistics a network has that is planned.
_BATCH = 64

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
    So each epoch is planned. One whose plan is within the limits is remembered, and the last of these is the result;
    where one exceeds them that is not among the last, forms are chosen again and trained.

    The sites have lines.

    Args:
        budget: the limits.
        square, line: the one-shot scores.
        prices: of each limit.
        part: of the limits, that prices are to come to (:func:`~autorep_fx.forms.search.part_of_limits`).
        x: what plans are made from.
        progress_bar: whether to show one.
    """

    gate_type = HysteresisGate
    refits = True

    def __init__(
        self,
        gm: fx.GraphModule,
        budget: Budget,
        granularity: str,
        penalty: float | None,
        initial: Mapping[str, Tensor],
        square: Mapping[str, Tensor],
        line: Mapping[str, Tensor],
        prices: Sequence[Prices],
        part: float,
        x: Tensor,
        progress_bar: bool | None = None,
    ):
        super().__init__(gm, granularity, penalty, initial)
        self.budget, self.prices, self.x, self.progress_bar = budget, prices, x, progress_bar
        self.sorted = torch.cat([loss.flatten() for loss in line.values()]).double().sort().values
        self.share = {name: (square[name] / line[name].clamp_min(1e-300)).clamp(_LEAST, 1) for name in line}
        size = {name: site.total for name, site in self.sites.items()}
        self.limits = [part * limit for limit in budget.limits]
        self.totals = [max(price.everything(size), limit) for price, limit in zip(prices, self.limits)]
        self.targets = list(self.totals)
        self.losses: dict[str, Tensor] | None = None  # of lines, as they were when the forms were fixed
        self.predicted: Predicted | None = None
        self.untrained = False  # with the forms as they are
        self.remembered: dict[str, Any] | None = None  # of the last epoch within the limits
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
        """Fix the forms where their plan is within the limits; where there is none, which training may change, a sketch
        of it, which says nothing of how precise a plan must be."""
        self.losses = self._losses(0.0)
        for site in self.sites.values():
            site.gate = None
        try:
            self._settle()
        except (BudgetError, CompileError) as error:
            log.info("%s; forms are trained whose sketch is within the limits", error)
            self._settle(by_sketches=True)
        self.untrained = True
        return 0

    def after_epoch(self, done: float, refresh: Callable[[], None]) -> None:
        untrained, self.untrained, self.within = self.untrained, False, done >= 1
        if self.losses is None or untrained or done >= 1:  # the last one is planned at the end
            return
        refresh()
        self.within = self._within()
        if self.within:
            self.remembered = {name: value.detach().clone() for name, value in self.gm.state_dict().items()}
        elif _AGAIN[0] <= done <= _AGAIN[1]:
            log.info("training has moved the plan beyond the limits (%s); forms are chosen again", self.predicted)
            try:
                self._settle()
            except (BudgetError, CompileError) as error:  # of these weights; those of the end may do
                log.info("%s", error)

    def may_end(self) -> bool:
        return super().may_end() and self.within  # of the last epoch the end will tell

    def end(self) -> None:
        if self._within():
            return
        if self.remembered is not None:
            log.warning("the last epochs have moved the plan beyond the limits (%s); the weights of the last one "
                        "within them are taken", self.predicted)  # fmt: skip
            self.gm.load_state_dict(self.remembered)
            if self._within():
                return
        log.warning("training has moved the plan beyond the limits (%s); forms were chosen again behind it, and "
                    "nothing was trained with them. A fine-tuning may help", self.predicted)  # fmt: skip
        self._settle()

    def state(self) -> dict[str, Any]:
        more = {"losses": self.losses, "remembered": self.remembered}
        return super().state() | {name: value for name, value in more.items() if value is not None}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.losses, self.remembered = state.get("losses"), state.get("remembered")

    def _within(self) -> bool:
        """Whether the plan for the weights and forms as they are now is within the limits."""

        def planned() -> Predicted | None:
            try:
                return self.budget.predicted(self.gm, self.x)
            except CompileError as error:  # fixed point cannot run these weights
                log.info("%s", error)
                return None

        self.predicted = shared(planned)
        return self.predicted is not None and self.budget.used(self.predicted) <= 1

    def _settle(self, by_sketches: bool = False) -> None:
        """Forms for the weights as they are now and the losses as they were; an error leaves those there are.

        A network with the batch statistics that other forms had would hardly be one, so each has its own.
        """

        def refresh(network: fx.GraphModule) -> None:
            refresh_batch_norm(network, [(part, None) for part in self.x.split(_BATCH)])

        def of(forms: Forms) -> fx.GraphModule:
            found = forms.of(self.gm)
            refresh(found)
            return found

        def sketch(forms: Forms) -> Predicted:
            return self.budget.sketched(of(forms), self.x)

        def plan(forms: Forms) -> tuple[Predicted, Forms]:
            return sketch(forms) if by_sketches else self.budget.predicted(of(forms), self.x), forms

        choose = self._choosing(known(self.losses))
        self.predicted, forms = shared(lambda: settle(self.budget, choose, sketch, plan, self.progress_bar))
        forms.apply(self.gm)
        refresh(self.gm)
        self.remembered = None

    def _move(self, progress: float) -> bool:
        self.targets = [left_at(progress, total, limit) for total, limit in zip(self.totals, self.limits)]
        band = next(iter(self.gates(HysteresisGate).values())).band
        self._choosing(self._losses(band if progress < 1 else 0.0))(self.targets).apply(self.gm)
        return False

    def _choosing(self, line: dict[str, Tensor]) -> Callable[..., Forms]:
        """The choice of forms, but for limits. line: what lines add to the loss."""
        square = {name: loss * self.share[name] for name, loss in line.items()}
        return Chooser(line, square, self.prices, self.granularity)

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


def shared(compute: Callable[[], Any]) -> Any:
    """What rank 0 of a process group computes, or raises, on all: each has its own data, and masks are the same."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return compute()
    found: list[Any] = [None, None]
    if dist.get_rank() == 0:
        try:
            found[0] = compute()
        except Exception as error:  # the others wait
            found[1] = error
    dist.broadcast_object_list(found)
    if found[1] is not None:
        raise found[1]
    return found[0]
