"""Limits of a network that is trained: what its plan takes now, and the smallest change that brings it back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from ..errors import BudgetError, CompileError
from ..forms.choose import Chooser, Forms, Prices
from ..forms.least_change import Masks, least_change
from ..forms.prices import Budget, Predicted, examples
from ..forms.search import settle
from ..graph.batches import Batches
from ..graph.calibrate import calibrate_in_order, evaluating
from ..graph.devices import device_of
from ..graph.nested import moved
from ..graph.several import parts_of
from ..graph.statistics import SiteStatistics
from ..graph.told import Loss
from ..hybrid.activation import HybridActivation, copy_without_statistics, known, sites
from ..hybrid.fitting import Fitting, fit_where_replaced
from ..hybrid.scores import scores_of
from .evaluation import refresh_batch_norm
from .shared import shared

log = logging.getLogger(__name__)

#: Samples of a batch whose statistics a network has that is planned.
_BATCH = 64

#: Part of the limits that is left to what training moves the plan by, at most.
RESERVE = 0.01

#: For that, part of the positions that are no lines that may change before they are trained, and plans that are made.
_LITTLE, _PLANS = 0.06, 3


class Mending:
    """Plans of one network under limits, and changes of its forms in place.

    Args:
        gm: a network whose sites have lines.
        head: batches, with labels or targets, that scores and fits are made from, and plans from their inputs.
        fitting: how polynomials are fitted.
        granularity: of what is kept.
        loss: of outputs and targets, where one was told.
        progress: show progress bars; None shows them on a terminal only.
        prices: of each limit, where they are known.

    Attributes:
        chooser: of all forms, of which a search has trained the polynomials; None: by scores of the network as it is,
            with nothing replaced.
    """

    chooser: Callable[..., Forms] | None = None

    def __init__(
        self,
        gm: fx.GraphModule,
        budget: Budget,
        head: Batches,
        fitting: Fitting,
        granularity: str = "element",
        loss: Loss | None = None,
        progress: bool | None = None,
        prices: list[Prices] | None = None,
    ):
        self.gm, self.budget, self.head, self.fitting, self.granularity = gm, budget, head, fitting, granularity
        self.loss, self.progress, self.prices, self.x = loss, progress, prices, examples(head)

    def within(self, predicted: Predicted | None) -> bool:
        return predicted is not None and self.budget.used(predicted) <= 1

    def predicted(self) -> Predicted | None:
        """Of the network as it is; None where fixed point cannot run these weights."""

        def planned() -> Predicted | None:
            try:
                return self.budget.predicted(self.gm, self.x, self.progress)
            except CompileError as error:
                log.info("%s", error)
                return None

        return shared(planned)

    def mend(
        self, predicted: Predicted | None, reserve: float = 0.0, anew: bool = True, both: bool = False
    ) -> Predicted | None:
        """Change few forms, so that the plan is within the limits, and fit what most positions of a site take anew.

        Args:
            predicted: of the network as it is.
            reserve: part of the limits to leave free, where that is possible, if the plan is beyond them by as much;
                else as much as that.
            anew: whether all forms may be chosen anew where few are not enough.
            both: in any case; then what has less loss on the batches is taken.

        Returns:
            What the plan predicts now; None where nothing has changed.

        Raises:
            BudgetError: lines alone exceed a limit.
            CompileError: fixed point can run no choice within the limits.
        """
        before = Masks.of(self.gm)
        mended = shared(lambda: self._mended(before, predicted, reserve, anew, both))
        if mended is None:
            return None
        found, masks, fits = mended
        changed = masks.differs(before)
        log.info("%d positions of %s have other forms: %s", sum(int(where.sum()) for where in changed.values()),
                 ", ".join(changed), found)  # fmt: skip
        masks.apply(self.gm)
        there = sites(self.gm)
        with torch.no_grad():
            for name, (coeffs, lines) in fits.items():
                there[name].set_coeffs(coeffs)
                there[name].set_line_coeffs(lines)
        self.refresh(self.gm)
        found.note(self.gm, self.budget, self.granularity)  # also of a run that is stopped
        return found

    def _mended(
        self, before: Masks, predicted: Predicted | None, reserve: float, anew: bool, both: bool
    ) -> tuple[Predicted, Masks, dict] | None:
        square, line = self._scores(as_it_is=True)
        if self.prices is None:
            self.prices = self.budget.prices(self.budget.drafts(self.gm, self.x), self.progress)

        def plan(masks: Masks, fit: bool = True) -> tuple[Predicted, Any]:
            network, fits = self._fitted(masks, before) if fit else (self._with(masks), {})
            return self.budget.predicted(network, self.x, self.progress), (masks, fits, network)

        found: list[tuple[Predicted, Any]] = []
        if predicted is not None:
            reserve = min(reserve, self.budget.used(predicted) - 1)  # as much again as it has moved
            few = least_change(self.budget, before, predicted, line, square, self.prices, plan, self.granularity,
                               reserve, self.progress)  # fmt: skip
            found += [few] if few is not None else []
        if both or (anew and not found):
            choose, trained = self.chooser, self.chooser is not None
            if choose is None:
                square, line = self._scores(as_it_is=False)
                choose = Chooser(line, square, self.prices, self.granularity)

            def sketch(forms: Forms) -> Predicted:
                return self.budget.sketched(self._with(Masks(forms.keep, forms.line)), self.x)

            try:
                found.append(settle(self.budget, choose, sketch, lambda forms: plan(Masks(forms.keep, forms.line),
                                    not trained), self.progress))  # fmt: skip
            except (BudgetError, CompileError):
                if not found:
                    raise
        if not found:
            return None
        least, (masks, fits, _) = min(found, key=lambda each: self._loss(each[1][2]) if len(found) > 1 else 0.0)
        return least, masks, fits

    def _scores(self, as_it_is: bool) -> list[dict[str, Tensor]]:
        """Of squares and of lines."""
        return scores_of(self.gm, self.head, ("coeffs", "line_coeffs"), self.progress, loss=self.loss,
                         as_it_is=as_it_is)  # fmt: skip

    def _loss(self, network: fx.GraphModule) -> float:
        """On the batches."""
        total = samples = 0.0
        with evaluating(network), torch.no_grad():
            for i, (x, labels) in enumerate(self.head):
                output, labels = network(*parts_of(x.to(device_of(network)))), moved(labels, device_of(network))
                if self.loss is None:
                    value = float(F.cross_entropy(output.float(), labels))
                else:
                    value = float(self.loss(output, labels, f"{self.head.name} batch {i}"))
                total, samples = total + len(x) * value, samples + len(x)
        return total / samples

    def spare(self, predicted: Predicted, line: Mapping[str, Tensor], square: Mapping[str, Tensor]) -> Predicted:
        """Leave what training may move the plan by, where that takes next to nothing: a few kept positions.

        Args:
            predicted: of the network as it is, within the limits.
            line, square: what these add to the loss in place of a kept position, by site.
        """
        budget = self.budget.part(1 - RESERVE)
        if budget.used(predicted) <= 1:
            return predicted

        def plan(masks: Masks) -> tuple[Predicted, Masks]:
            return self.budget.predicted(self._with(masks), self.x, self.progress), masks

        prices = known(self.prices)
        found = shared(lambda: least_change(budget, Masks.of(self.gm), predicted, line, square, prices, plan,
                                            self.granularity, 0.0, self.progress, _LITTLE, _PLANS))  # fmt: skip
        if found is None:
            return predicted
        found[1].apply(self.gm)
        self.refresh(self.gm)
        return found[0]

    def _fitted(self, masks: Masks, before: Masks) -> tuple[fx.GraphModule, dict[str, tuple[Tensor, Tensor]]]:
        """A copy with these masks, and the polynomials that it has got for them. Those that were trained with the
        weights stay where most of their positions are those that they were trained with."""
        found = self._with(masks)
        new = {
            name for name, where in masks.differs(before).items()
            if 2 * (where & ~masks.keep[name]).sum() > (~masks.keep[name]).sum()
        }  # fmt: skip

        def fit(name: str, site: HybridActivation, statistics: SiteStatistics) -> None:
            if name in new:
                fit_where_replaced(site, statistics, self.fitting)

        if new:
            degree = max(site.degree for site in sites(found).values())
            calibrate_in_order(found, self.head, HybridActivation, fit, degree, progress=self.progress)
            self.refresh(found)
        there = sites(found)
        return found, {name: (known(there[name].coeffs).detach().cpu(), known(there[name].line_coeffs).detach().cpu())
                       for name in new}  # fmt: skip

    def _with(self, masks: Masks) -> fx.GraphModule:
        """A copy with these masks, and the batch statistics that it has with them."""
        found = copy_without_statistics(self.gm)
        masks.apply(found)
        self.refresh(found)
        return found

    def refresh(self, network: fx.GraphModule) -> None:
        """Give a network the batch statistics of its own forms: with those that other forms had it would hardly be
        one."""
        refresh_batch_norm(network, [(part, None) for part in self.x.split(_BATCH)])


def say_beyond(log: logging.Logger, predicted: Predicted | None, trains: bool) -> None:
    """That training ended beyond the limits, and what becomes of it."""
    what = "fixed point cannot run it" if predicted is None else str(predicted)
    if trains:
        log.info("training has moved the plan beyond the limits (%s); forms change, and a short training learns them",
                 what)  # fmt: skip
    else:
        log.warning("training has moved the plan beyond the limits (%s); forms were changed behind it, and nothing was "
                    "trained with them. A fine-tuning may help", what)  # fmt: skip
