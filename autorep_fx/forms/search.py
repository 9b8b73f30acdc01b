"""The choice of forms whose plan is within the limits.

Prices are of each site by itself (prices.py), and a plan comes to more: where several sites of lines follow one another
the ring has no room, so there is a truncation among them, which costs about what an open site costs; and where fixed
point would change classes a plan is more precise, which takes more of them. So choices are made for a part of the
limits, and that part is searched between what is within them and what is beyond: first by sketches of the plans, then
by the plans themselves. From the best one sites change their states, one at a time, or an open one closes and one near
it opens, as long as there is a plan within the limits that loses less.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import BudgetError, CompileError
from ..progress import Steps
from ..text import brief
from .choose import CLOSED, LINES, SQUARES, Forms
from .prices import Budget, Predicted
from .senders import advice

log = logging.getLogger(__name__)

#: At most: sketches for the first part, parts that are tried, plans for them, and choices and plans in all.
_SKETCHES, _TRIES, _PLANS, _MOST, _MOST_PLANS = 8, 30, 10, 70, 24

#: What part of the limits plans are to take; by how much that of choices grows at least while nothing is beyond, and
#: where between two parts the next one is at least; nearer parts are the same.
_AIM, _STEP, _EDGE, _NEAR = 0.998, 1.1, 0.15, 0.003

#: How many places an open site moves at most; what part of the limits prices may be beyond what a plan leaves, for the
#: next plan may have a truncation less; and from what part on loss counts as less.
_FAR, _SLACK, _LESS = 2, 0.08, 0.99

#: By what part of the limits prices of the same states may differ for which there is one sketch.
_ALIKE = 0.1

Choose = Callable[..., Forms]


def settle(
    budget: Budget,
    choose: Choose,
    sketch: Callable[[Forms], Predicted],
    plan: Callable[[Forms], tuple[Predicted, Any]],
    progress: bool | None = None,
) -> tuple[Predicted, Any]:
    """The choice of least loss found whose plan is within the limits, as ``plan`` returned it.

    Args:
        choose: ``choose(limits, states=...)``, the forms by prices (:func:`~autorep_fx.forms.choose.choose_forms`).
        sketch: nearly what these come to: what exceeds the limits, or is no better than what is known, needs no more.
        plan: what these come to, and what belongs to it.
        progress: show progress bars; None shows them on a terminal only.

    Raises:
        BudgetError: lines alone exceed a limit, and so does all else that was tried.
        CompileError: no choice within the limits can be run.
    """
    search = _Search(budget, choose, sketch, plan, progress)
    with search.steps:
        search.look(choose(search.limits, states=None))
        search.bisect(part_of_limits(budget, choose, search.sketch))
        search.climb()
    if search.best is not None:
        return search.best.predicted, search.best.result
    predicted, result = plan(choose(0 * search.limits, states=None))
    if budget.used(predicted) > 1:
        named = " with ".join(f"{name}={limit:g}" for name, limit in zip(budget.resources, budget.limits))
        costs = zip(budget.resources, budget.limits, budget.costs(predicted))
        beyond = {name: cost for name, limit, cost in costs if cost > limit}
        raise BudgetError(f"{named} is less than lines alone take: {predicted}{advice(predicted.senders, beyond)}")
    return predicted, result


def part_of_limits(budget: Budget, choose: Choose, sketch: Callable[[Forms], Predicted]) -> float:
    """For which part of the limits the choice by prices comes to all of them, by its sketch."""
    part = _Part(budget)
    for _ in range(_SKETCHES):
        forms = choose(part.at * np.array(budget.limits), states=None)
        predicted = sketch(forms)
        log.debug("forms of loss %.4g, by a sketch: %s", forms.loss, predicted)
        if forms.all_kept and budget.used(predicted) <= 1:
            return part.at
        part.move(forms, predicted, budget.used(predicted) <= 1)
        if part.found:
            break
    return part.within or part.at


class Sketches:
    """Sketches of forms. Where the same sites are open as in one that is known, and the limits are met or missed by
    nearly as much, it is that one and what their prices differ by: a plan's structure is then the same.

    Args:
        sketch: makes one; made: called behind that.
    """

    def __init__(self, budget: Budget, sketch: Callable[[Forms], Predicted], made: Callable[[], None] = lambda: None):
        self.budget, self.sketch, self.made = budget, sketch, made
        self.known: dict[tuple[int, ...], list[tuple[np.ndarray, Predicted]]] = {}

    def __call__(self, forms: Forms) -> Predicted:
        costs, alike = np.array(forms.costs), self.known.setdefault(forms.states, [])
        for known, predicted in alike:
            more = costs - known
            if (np.abs(more) <= _ALIKE * np.array(self.budget.limits)).all():
                spent = zip(self.budget.resources, self.budget.costs(predicted), more.tolist())
                return replace(predicted, **{name: cost + each for name, cost, each in spent})
        alike.append((costs, self.sketch(forms)))
        self.made()
        return alike[-1][1]


@dataclass(frozen=True)
class _Found:
    """Forms, and what they come to: by a sketch, where that says enough.

    Attributes:
        result: what belongs to their plan; None of a sketch, and where there is no plan.
        runs: whether they can, as far as is known.
    """

    forms: Forms
    predicted: Predicted
    result: Any = None
    runs: bool = True

    __repr__ = brief


class _Search:
    """What has been looked at, and the best of it by its plan."""

    def __init__(self, budget: Budget, choose: Choose, sketch: Callable, plan: Callable, progress: bool | None):
        self.budget, self.choose, self.plan = budget, choose, plan
        self.limits, self.plans = np.array(budget.limits), 0
        self.found: dict[tuple, _Found] = {}
        self.best: _Found | None = None
        self.steps = Steps(log, "choice of forms", progress, "plan")
        self.sketch = Sketches(budget, sketch, lambda: self.steps.alive("forms are sketched"))

    def bisect(self, start: float) -> None:
        """Choices for parts of the limits; for each one more with its states, and as many positions as there is room
        for by its plan. Tries go on until one of them runs within the limits."""
        part = _Part(self.budget, start)
        for _ in range(_TRIES):
            if self.best is not None and (self.plans >= _PLANS or part.found):
                return
            if part.found:  # between what a sketch alone has within the limits and what exceeds them
                part.within = 0.0
            found = self.look(self.choose(part.at * self.limits, states=None))
            within = found.runs and self.budget.used(found.predicted) <= 1
            if within and found.forms.all_kept:
                return
            part.move(found.forms, found.predicted, within)
            self.look_filled(found)

    def climb(self) -> None:
        """From the best one to others with less loss."""
        looked: set[tuple[int, ...]] = set()
        while self.best is not None and not self.best.forms.all_kept:
            best = self.best
            room = self._room(best) + _SLACK * self.limits
            moves = {states: self.choose(room, states=states) for states in _moves(best.forms.states, looked)}
            for states, forms in sorted(moves.items(), key=lambda move: move[1].loss):
                if self.plans >= _MOST_PLANS or len(self.found) >= _MOST or not self._better(forms):
                    break
                looked.add(states)
                self.look_filled(self.look(forms))
                if self.best is not best:
                    break
            if self.best is best:
                return

    def look(self, forms: Forms) -> _Found:
        key = (forms.states, forms.counts)
        if key not in self.found:
            found = _Found(forms, self.sketch(forms))
            if self.budget.used(found.predicted) <= 1 and self._better(forms):
                found = self._planned(found)
            self.found[key] = found
            log.debug("forms of loss %.4g: %s", forms.loss, found.predicted)
        return self.found[key]

    def look_filled(self, found: _Found) -> None:
        """The same states with as many positions as there is room for."""
        room = self._room(found)
        filled = self.choose(room, states=found.forms.states)
        if (np.array(filled.costs) <= room).all():
            self.look(filled)

    def _planned(self, found: _Found) -> _Found:
        self.plans += 1
        try:
            found = _Found(found.forms, *self.plan(found.forms))
        except CompileError as error:  # these weights with these forms; others may do
            log.debug("forms of loss %.4g cannot be run: %s", found.forms.loss, error)
            self.steps.done("cannot be run")
            return _Found(found.forms, found.predicted, runs=False)
        within = self.budget.used(found.predicted) <= 1
        self.steps.done(f"{found.predicted}, {'within' if within else 'beyond'} the limits")
        if within:
            self.best = found
        return found

    def _better(self, forms: Forms) -> bool:
        return self.best is None or forms.loss < self.best.forms.loss * _LESS

    def _room(self, found: _Found) -> np.ndarray:
        """What prices may come to, where plans take as much beyond them as this one."""
        return np.array(found.forms.costs) + self.limits * _AIM - np.array(self.budget.costs(found.predicted))


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

    def move(self, forms: Forms, predicted: Predicted, within: bool) -> None:
        """On to where the plan would be just within the limits, if it took as much beyond the prices as that of this
        choice."""
        if within:
            self.within = max(self.within, self.at)
        else:
            self.beyond = min(self.beyond, self.at)
        more = np.array(self.budget.costs(predicted)) - np.array(forms.costs)
        to = float((_AIM - more / np.array(self.budget.limits)).min())
        if self.beyond < np.inf:
            edge = _EDGE * (self.beyond - self.within)
            self.at = min(max(to, self.within + edge), self.beyond - edge)
        else:
            self.at = max(to, self.within * _STEP)


def _moves(states: tuple[int, ...], looked: set[tuple[int, ...]]) -> Iterator[tuple[int, ...]]:
    """One site in another state; an open one closed, and a closed one near it open as that was. Without ``looked``."""
    for i, old in enumerate(states):
        moved = [(*states[:i], new, *states[i + 1 :]) for new in (CLOSED, LINES, SQUARES) if new != old]
        for j in range(max(i - _FAR, 0), min(i + _FAR + 1, len(states))):
            if old != CLOSED and states[j] == CLOSED:
                moved.append(tuple(old if k == j else CLOSED if k == i else s for k, s in enumerate(states)))
        yield from (each for each in moved if each not in looked)
