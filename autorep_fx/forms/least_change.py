"""The smallest change of a network's forms whose plan is within the limits.

A network that has been trained with its forms is hardly another one where few of them change, and one whose forms are
chosen anew is. So what stays is not looked at: kept positions are given up, those of least loss at the sites where one
costs most, and sites are closed, which then have lines alone. Of all such changes that come to enough by their prices
and take few positions the one of least loss is planned first; one whose plan is beyond the limits still is followed by
those that change more behind it.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor, fx

from ..errors import CompileError
from ..hybrid.activation import known, sites
from ..hybrid.positions import check_granularity
from ..progress import Steps
from ..text import brief
from .choose import Prices, give_masks
from .prices import Budget, Predicted

log = logging.getLogger(__name__)

#: Plans at most; by how much more than it lacks a change saves that follows one which saved too little; and what part
#: of the positions that are no lines a change may take: beyond that forms are better chosen anew.
_PLANS, _MORE, _MOST = 16, 1.5, 1 / 3


@dataclass(frozen=True)
class Masks:
    """What the sites of a network keep, and which of their other positions take a line, by site."""

    keep: dict[str, Tensor]
    line: dict[str, Tensor]

    __repr__ = brief

    @staticmethod
    def of(gm: fx.GraphModule) -> Masks:
        """Those that a network has, all of whose sites have lines."""
        there = sites(gm)
        return Masks({name: known(site.keep).cpu() for name, site in there.items()},
                     {name: known(site.line).cpu() for name, site in there.items()})  # fmt: skip

    def apply(self, gm: fx.GraphModule) -> None:
        give_masks(gm, self.keep, self.line)

    def differs(self, other: Masks) -> dict[str, Tensor]:
        """Where positions have another form, by site; sites that have none are not there."""
        found = {}
        for name, keep in self.keep.items():
            mine, theirs = ~keep & self.line[name], ~other.keep[name] & other.line[name]
            found[name] = (keep != other.keep[name]) | (mine != theirs)
        return {name: where for name, where in found.items() if where.any()}


def least_change(
    budget: Budget,
    masks: Masks,
    predicted: Predicted,
    line: Mapping[str, Tensor],
    square: Mapping[str, Tensor],
    prices: Sequence[Prices],
    plan: Callable[[Masks], tuple[Predicted, Any]],
    granularity: str = "element",
    reserve: float = 0.0,
    progress: bool | None = None,
    most: float = _MOST,
    plans: int = _PLANS,
) -> tuple[Predicted, Any] | None:
    """What ``plan`` returned of the change of least loss that was found; None where there is none in few plans, or of
    few positions.

    Args:
        masks, predicted: of the network as it is, which is beyond the limits.
        line, square: what a line or a square in place of a kept position adds to the loss, by site.
        prices: of each limit.
        plan: what masks come to, and what belongs to it.
        granularity: what is given up as one.
        reserve: part of the limits that is left free, if there is such a change.
        progress: show a progress bar; None shows it on a terminal only.
        most: part of the positions that are no lines that may change.
        plans: that are made at most.
    """
    check_granularity(granularity)
    found = [_Site(name, masks, line, square, [p.sites[name] for p in prices], granularity) for name in masks.keep]
    limits = np.array(budget.limits) * (1 - reserve)
    room = most * sum(site.positions(_CLOSED) for site in found)
    waiting: list[tuple[float, int, _Change]] = []
    known_ones: set[tuple] = set()
    best: tuple[Predicted, Any] | None = None

    def follow(change: _Change, costs: Sequence[float], more: float) -> None:
        for each in _following(found, change, (np.array(costs) - limits) * more, limits):
            if each.positions(found) <= room and each.given not in known_ones:
                known_ones.add(each.given)
                heapq.heappush(waiting, (each.loss(found), len(known_ones), each))

    with Steps(log, "smallest change", progress, "plan") as steps:
        follow(_Change(tuple(0 for _ in found)), budget.costs(predicted), 1.0)
        for _ in range(plans):
            if not waiting:
                break
            change = heapq.heappop(waiting)[-1]
            positions = change.positions(found)
            try:
                predicted, result = plan(change.applied(found, masks))
            except CompileError as error:  # these weights with these forms; others may do
                log.debug("%d positions changed cannot be run: %s", positions, error)
                steps.done("cannot be run")
                continue
            log.debug("%d positions changed: %s", positions, predicted)
            steps.done(f"{positions:,} positions, {predicted}")
            if budget.used(predicted) <= 1 - reserve:
                return predicted, result
            if best is None and budget.used(predicted) <= 1:
                best = predicted, result
            follow(change, budget.costs(predicted), _MORE)
    return best


class _Site:
    """What a site keeps, those of least loss first, and what giving it up saves."""

    def __init__(self, name: str, masks: Masks, line: Mapping, square: Mapping, prices: list, granularity: str):
        keep, lines = masks.keep[name], masks.line[name]
        self.name = name
        units = {"element": keep.numel(), "channel": len(keep), "layer": 1}[granularity]
        kept, takes_line = np.asarray(keep).reshape(units, -1), np.asarray(lines).reshape(units, -1)
        as_line, as_square = (np.asarray(each[name].double().cpu()).reshape(units, -1) for each in (line, square))
        of_units = (np.where(takes_line, as_line, as_square) * kept).sum(1)
        some, order = np.asarray(kept.any(1)), np.argsort(of_units, kind="stable")
        self.order = order[some[order]]
        self.losses = np.concatenate([[0.0], np.cumsum(of_units[self.order])])
        self.closed = float((as_line * (kept | ~takes_line)).sum())
        self.size = kept.shape[1]
        self.others = int((~kept & ~takes_line).sum())  # squares
        squares = not takes_line.all()
        self.each = self.size * np.array([p.compared if squares else p.kept for p in prices])
        self.fixed = np.array([p.squares if squares else p.opens for p in prices])
        self.squares = squares

    @property
    def kept(self) -> int:
        """Units."""
        return len(self.order)

    @property
    def open(self) -> bool:
        return self.kept > 0 or self.others > 0

    def saved(self, given: int) -> np.ndarray:
        if given == _CLOSED:
            return self.fixed + self.kept * self.each
        ends = given == self.kept and not self.squares
        return given * self.each + (self.fixed if ends and given else 0.0)

    def loss(self, given: int) -> float:
        return self.closed if given == _CLOSED else float(self.losses[given])

    def positions(self, given: int) -> int:
        return self.kept * self.size + self.others if given == _CLOSED else given * self.size


#: What is given up of a site: so many of its kept units; with this, all of them and its squares.
_CLOSED = -1


@dataclass(frozen=True)
class _Change:
    """How many kept units each site gives up."""

    given: tuple[int, ...]

    __repr__ = brief

    def positions(self, found: list[_Site]) -> int:
        return sum(site.positions(given) for site, given in zip(found, self.given))

    def loss(self, found: list[_Site]) -> float:
        return sum(site.loss(given) for site, given in zip(found, self.given))

    def at(self, i: int, given: int) -> _Change:
        return replace(self, given=(*self.given[:i], given, *self.given[i + 1 :]))

    def applied(self, found: list[_Site], masks: Masks) -> Masks:
        keep, line = dict(masks.keep), dict(masks.line)
        for site, given in zip(found, self.given):
            if given == _CLOSED:
                keep[site.name], line[site.name] = keep[site.name] & False, line[site.name] | True
            elif given:
                mask = keep[site.name].clone()
                mask.view(-1, site.size)[site.order[:given].copy()] = False
                keep[site.name] = mask
        return Masks(keep, line)


def _following(found: list[_Site], change: _Change, beyond: np.ndarray, limits: np.ndarray) -> Iterator[_Change]:
    """Changes behind this one that save what its plan is ``beyond`` the limits: kept positions alone, and beside one
    site more that closes. Where none saves that much, sites that close."""
    closing = [i for i, site in enumerate(found) if site.open and change.given[i] != _CLOSED]
    enough = [_given_up(found, change, beyond, limits)]
    for i in closing:
        saved = found[i].saved(_CLOSED) - found[i].saved(change.given[i])
        enough.append(_given_up(found, change.at(i, _CLOSED), beyond - saved, limits))
    those = [each for each in enough if each is not None]
    yield from those or (change.at(i, _CLOSED) for i in closing)


def _given_up(found: list[_Site], change: _Change, beyond: np.ndarray, limits: np.ndarray) -> _Change | None:
    """With few kept units more that save ``beyond``: where each saves most; None where all are too few."""
    weight = np.maximum(beyond, 0) / limits
    each = [float(site.each @ weight) / site.size for site in found]
    for i in sorted(range(len(found)), key=lambda i: -each[i]):
        if (beyond <= 0).all():
            break
        site, before = found[i], change.given[i]
        if before == _CLOSED or before == site.kept:
            continue
        lacks = np.ceil(np.maximum(beyond, 0) / site.each * (1 - 1e-9)).max()
        given = int(min(before + max(lacks, 1), site.kept))
        beyond = beyond - (site.saved(given) - site.saved(before))
        change = change.at(i, given)
    return change if (beyond <= 0).all() else None
