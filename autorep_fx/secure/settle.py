"""The choice of forms whose plan is within the limits.

Prices are of each site by itself (budget.py), and a plan comes to more: where several sites of lines follow one another
the ring has no room, so there is a truncation among them, which costs about what an open site costs; and where fixed
point would change classes a plan is more precise, which takes more of them. So choices are made for a part of the
limits, and that part is searched between what is within them and what is beyond: first by sketches of the plans, then
by the plans themselves.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from ..errors import BudgetError, CompileError
from ..hybrid.forms import Forms
from .budget import Budget, Predicted

log = logging.getLogger(__name__)

#: Sketches for the first part, and plans, that are made at most; parts that are tried.
_SKETCHES, _PLANS, _TRIES = 8, 10, 30

#: What part of the limits plans are to take; by how much that of choices grows at least while nothing is beyond, and
#: where between two parts the next one is at least; nearer parts are the same.
_AIM, _STEP, _EDGE, _NEAR = 0.998, 1.1, 0.15, 0.003

Choose = Callable[..., Forms]


def settle(
    budget: Budget,
    choose: Choose,
    sketch: Callable[[Forms], Predicted],
    plan: Callable[[Forms], tuple[Predicted, Any]],
    progress: bool | None = None,
) -> tuple[Predicted, Any]:
    """The choice of least loss found whose plan is within the limits, as ``plan`` returned it.

    For each part of the limits there is one choice more, with the same states of the sites, and as many positions kept
    as its plan leaves room for.

    Args:
        choose: ``choose(limits, states=...)``, the forms by prices (:func:`~autorep_fx.hybrid.forms.choose_forms`).
        sketch: nearly what these come to: what exceeds the limits, or is no better than what is known, needs no more.
        plan: what these come to, and what belongs to it.
        progress: show progress bars; None shows them on a terminal only.

    Raises:
        BudgetError: lines alone exceed a limit, and so does all else that was tried.
        CompileError: no choice within the limits can be run.
    """
    limits, part = np.array(budget.limits), _Part(budget)
    found: dict[tuple, tuple[float, Predicted, Any]] = {}
    planned, refused = 0, set()
    bar = tqdm(total=_PLANS, desc="plan", leave=False, disable=None if progress is None else not progress)

    def look(forms: Forms) -> Predicted:
        nonlocal planned
        key = (forms.states, forms.counts)
        if key not in found:
            predicted, result, loss = sketch(forms), None, np.inf
            if budget.used(predicted) <= 1 and forms.loss < min((each[0] for each in found.values()), default=np.inf):
                planned += 1
                bar.update()
                try:
                    predicted, result = plan(forms)
                    loss = forms.loss if budget.used(predicted) <= 1 else np.inf
                except CompileError as error:  # these weights with these forms; others may do
                    log.info("forms of loss %.4g cannot be run: %s", forms.loss, error)
                    refused.add(key)
            found[key] = loss, predicted, result
            log.info("forms of loss %.4g: %s", forms.loss, predicted)
        return found[key][1]

    with bar:
        look(choose(limits, states=None))
        part.at = part_of_limits(budget, choose, sketch)
        for _ in range(_TRIES):
            if min(each[0] for each in found.values()) < np.inf and (planned >= _PLANS or part.found):
                break
            if part.found:  # between what a sketch alone has within the limits, or what cannot be run, and what exceeds
                part.within = 0.0
            forms = choose(part.at * limits, states=None)
            predicted = look(forms)
            room = np.array(forms.costs) + limits * _AIM - np.array(budget.costs(predicted))
            if forms.all_kept and budget.used(predicted) <= 1:
                break
            part.move(forms, predicted, beyond=(forms.states, forms.counts) in refused)
            same = choose(room, states=forms.states)
            if (np.array(same.costs) <= room).all():
                look(same)
    best = min(found.values(), key=lambda each: each[0], default=(np.inf,))
    if best[0] == np.inf:  # nothing is left but lines
        best = (0.0, *plan(choose(0 * limits, states=None)))
        if budget.used(best[1]) > 1:
            named = " with ".join(f"{name}={limit:g}" for name, limit in zip(budget.resources, budget.limits))
            raise BudgetError(f"{named} is less than lines alone take: {best[1]}")
    return best[1], best[2]


def part_of_limits(budget: Budget, choose: Choose, sketch: Callable[[Forms], Predicted]) -> float:
    """For which part of the limits the choice by prices comes to all of them, by its sketch."""
    part = _Part(budget)
    for _ in range(_SKETCHES):
        forms = choose(part.at * np.array(budget.limits), states=None)
        predicted = sketch(forms)
        log.info("forms of loss %.4g, by a sketch: %s", forms.loss, predicted)
        if forms.all_kept and budget.used(predicted) <= 1:
            return part.at
        part.move(forms, predicted)
        if part.found:
            break
    return part.within or part.at


@dataclass
class _Part:
    """A part of the limits, and what is known of it: the largest that is within them, the least that is beyond."""

    budget: Budget
    at: float = 1.0
    within: float = 0.0
    beyond: float = np.inf

    @property
    def found(self) -> bool:
        return self.beyond - self.within <= _NEAR

    def move(self, forms: Forms, predicted: Predicted, beyond: bool = False) -> None:
        """On to where the plan would be just within the limits, if it took as much beyond the prices as that of this
        choice. beyond: whatever it takes."""
        if beyond or self.budget.used(predicted) > 1:
            self.beyond = min(self.beyond, self.at)
        else:
            self.within = max(self.within, self.at)
        more = np.array(self.budget.costs(predicted)) - np.array(forms.costs)
        to = float((_AIM - more / np.array(self.budget.limits)).min())
        if self.beyond < np.inf:
            edge = _EDGE * (self.beyond - self.within)
            self.at = min(max(to, self.within + edge), self.beyond - edge)
        else:
            self.at = max(to, self.within * _STEP)
