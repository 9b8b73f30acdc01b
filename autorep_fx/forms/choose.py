"""Three forms within a limit: which sites send anything, which of their positions stay, and what the others take.

A position keeps its activation, takes a square, or takes a line; each choice adds to the loss what its score says, and
costs what its site's :class:`Price` says. What costs is not only each position: a site that sends anything pays for its
messages, so that a site whose few kept positions are not worth them is better left to lines alone. Of one site all
replaced positions take the same form: where positions travel to be squared, all do, and where they do not, a square
costs nearly as much as the activation itself.

For a site and a price ``lam`` of cost in loss the best of its three states (lines alone, lines beside what is kept,
squares beside it) is known position by position, so sites are independent, and the largest ``lam`` that the limit
allows gives a start (Lagrangian relaxation). From there sites change states, one at a time and in pairs, as long as the
loss falls, each time with ``lam`` moved to where the limit is met.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor, fx

from ..hybrid.activation import copy_without_statistics, sites
from ..hybrid.positions import check_granularity
from ..text import brief

#: States of a site.
CLOSED, LINES, SQUARES = range(3)

#: Values of ``lam`` that are looked at, beside 0; weights of one limit against the other; changes in a row.
_GRID, _WEIGHTS, _MOST = 1024, 9, 1000


@dataclass(frozen=True)
class Price:
    """What a site costs beyond one of lines alone, in units of a limit.

    Attributes:
        opens: of a site that keeps positions beside lines, whatever their number; kept: of each.
        squares: of a site that has squares, at all its positions; compared: more, for each that is kept.
    """

    opens: float
    kept: float
    squares: float
    compared: float


@dataclass(frozen=True)
class Prices:
    """Of one resource.

    Attributes:
        base: what the network costs with lines alone.
        sites: by name.
    """

    base: float
    sites: Mapping[str, Price]

    __repr__ = brief

    def everything(self, totals: Mapping[str, int]) -> float:
        """What the network costs with all positions kept; ``totals`` of them at each site."""
        return self.base + sum(site.squares + site.compared * totals[name] for name, site in self.sites.items())


def give_masks(gm: fx.GraphModule, keep: Mapping[str, Tensor], line: Mapping[str, Tensor]) -> None:
    """What sites keep, and which of their other positions take a line, by name."""
    there = sites(gm)
    for name, mask in keep.items():
        there[name].set_line(line[name])
        there[name].set_keep(mask)


@dataclass(frozen=True)
class Forms:
    """A choice.

    Attributes:
        keep, line: masks by site; ``line`` says what a position takes that is not kept.
        states, counts: of the sites, in their order, and of the positions (units) that each keeps.
        loss: what the scores say that it costs.
        costs: what the prices say, for each limit, the base among it.
    """

    keep: dict[str, Tensor]
    line: dict[str, Tensor]
    states: tuple[int, ...]
    counts: tuple[int, ...]
    loss: float
    costs: tuple[float, ...]

    __repr__ = brief

    @property
    def all_kept(self) -> bool:
        return all(bool(keep.all()) for keep in self.keep.values())

    def apply(self, gm: fx.GraphModule) -> None:
        give_masks(gm, self.keep, self.line)

    def of(self, gm: fx.GraphModule) -> fx.GraphModule:
        """A copy of ``gm``, without statistics, with these forms."""
        found = copy_without_statistics(gm)
        self.apply(found)
        return found


def choose_forms(
    line: Mapping[str, Tensor],
    square: Mapping[str, Tensor],
    prices: Sequence[Prices],
    limits: Sequence[float],
    granularity: str = "element",
    states: Sequence[int] | None = None,
) -> Forms:
    """The forms of least loss found within all ``limits``; lines alone where these, too, exceed one.

    Args:
        line, square: what a position of a site adds to the loss when it takes a line or a square; of the site's shape.
        prices, limits: of each resource.
        granularity: "element", "channel" or "layer": what is kept as one.
        states: of the sites, where they are settled and only the number of kept positions is to be found.
    """
    return Chooser(line, square, prices, granularity)(limits, states)


class Chooser:
    """:func:`choose_forms` for one limit after another: positions are put in order once."""

    def __init__(
        self,
        line: Mapping[str, Tensor],
        square: Mapping[str, Tensor],
        prices: Sequence[Prices],
        granularity: str = "element",
    ):
        check_granularity(granularity)
        self.prices = prices
        self.sites = [_Site(name, line[name], square[name], [p.sites[name] for p in prices], granularity)
                      for name in line]  # fmt: skip

    def __call__(self, limits: Sequence[float], states: Sequence[int] | None = None) -> Forms:
        return _chosen(self.sites, self.prices, limits, states)


def _chosen(
    sites: list[_Site], prices: Sequence[Prices], limits: Sequence[float], states: Sequence[int] | None
) -> Forms:
    room = np.array([limit - price.base for price, limit in zip(prices, limits)])
    everything = [site.most[SQUARES] for site in sites]
    if (room < 0).any():
        found = sum(site.total[0] for site in sites), [CLOSED] * len(sites), [0] * len(sites)
    elif states is None and (sum(site.cost(SQUARES, n) for site, n in zip(sites, everything)) <= room).all():
        found = 0.0, [SQUARES] * len(sites), everything
    else:
        found = min((_best(sites, room, w, states) for w in _weights(len(room))), key=lambda each: each[0])
    loss, states, counts = found
    keep, lines = {}, {}
    for site, state, n in zip(sites, states, counts):
        keep[site.name] = site.mask(state, n)
        lines[site.name] = torch.full_like(keep[site.name], state != SQUARES)
    spent = sum((site.cost(s, n) for site, s, n in zip(sites, states, counts)), np.zeros(len(room)))
    costs = tuple(float(price.base + cost) for price, cost in zip(prices, spent))
    return Forms(keep, lines, tuple(states), tuple(counts), loss, costs)


class _Site:
    """Losses in the order in which positions (units, of a coarser granularity) would be kept, and prices."""

    def __init__(self, name: str, line: Tensor, square: Tensor, prices: list[Price], granularity: str):
        self.name, self.shape = name, line.shape
        units = {"element": line.numel(), "channel": len(line), "layer": 1}[granularity]
        self.size = line.numel() // units
        self.most = [0, units // 2, units]  # beside lines half of the positions at most: beyond that all travel
        rows = [np.asarray(loss.double().reshape(units, -1).sum(1)) for loss in (line, square)]
        self.orders = [np.argsort(-row, kind="stable") for row in rows]
        self.losses = [row[order] for row, order in zip(rows, self.orders)]
        self.saved = [np.concatenate([[0.0], np.cumsum(losses)]) for losses in self.losses]
        self.total = [float(saved[-1]) for saved in self.saved]
        self.fixed = np.array([[0.0] * len(prices), [p.opens for p in prices], [p.squares for p in prices]])
        self.each = self.size * np.array([[np.inf] * len(prices), [p.kept for p in prices],
                                          [p.compared for p in prices]])  # fmt: skip

    def row(self, state: int) -> int:
        """Which of the two losses."""
        return int(state == SQUARES)

    def loss(self, state: int, n: int) -> float:
        return max(self.total[self.row(state)] - float(self.saved[self.row(state)][n]), 0.0)

    def cost(self, state: int, n: int) -> np.ndarray:
        return np.zeros(self.fixed.shape[1]) if state == CLOSED else self.fixed[state] + n * self.each[state]

    def counts(self, state: int, lam: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """How many are worth keeping at each price."""
        if state == CLOSED:
            return np.zeros(len(lam), np.int64)
        each = max(float(self.each[state] @ weight), 1e-300)
        return np.searchsorted(-self.losses[self.row(state)][: self.most[state]], -lam * each, side="left")

    def ratios(self, state: int, weight: np.ndarray) -> np.ndarray:
        return self.losses[self.row(state)][: self.most[state]] / max(float(self.each[state] @ weight), 1e-300)

    def mask(self, state: int, n: int) -> Tensor:
        flat = np.zeros(len(self.orders[0]), bool)
        flat[self.orders[self.row(state)][:n]] = True
        return torch.from_numpy(flat.repeat(self.size)).view(self.shape)


def _weights(count: int) -> list[np.ndarray]:
    """By which several limits are traded against one another."""
    if count == 1:
        return [np.ones(1)]
    parts = np.linspace(0, 1, _WEIGHTS)
    return [np.array(w) for w in product(parts, repeat=count) if abs(sum(w) - 1) < 1e-9]


def _best(
    sites: list[_Site], room: np.ndarray, weight: np.ndarray, states: Sequence[int] | None
) -> tuple[float, list[int], list[int]]:
    """Loss, states and counts."""
    weight = weight / np.maximum(room, 1e-300)
    table = _Table(sites, room, weight)
    states = table.improved(table.relaxed()) if states is None else list(states)
    fits = table.fits(table.sums(states)[1])
    lam = table.lams[fits.argmax() if fits.any() else -1]
    counts = [int(site.counts(s, np.array([lam]), weight)[0]) for site, s in zip(sites, states)]
    _fill(sites, states, counts, room, weight)
    # What keeps nothing in the end need not pay for it.
    states = [CLOSED if s == LINES and n == 0 else s for s, n in zip(states, counts)]
    return sum(site.loss(s, n) for site, s, n in zip(sites, states, counts)), states, counts


class _Table:
    """Loss and cost of every site in every state, at every value of ``lam``."""

    def __init__(self, sites: list[_Site], room: np.ndarray, weight: np.ndarray):
        self.room = room
        ratios = np.concatenate([site.ratios(s, weight) for site in sites for s in (LINES, SQUARES)])
        ratios = np.unique(ratios[np.isfinite(ratios)])
        if len(ratios) > _GRID:
            ratios = np.unique(np.quantile(ratios, np.linspace(0, 1, _GRID)))
        # Increasing, so that the cost falls: the last one keeps nothing.
        self.lams = np.concatenate([[0.0], ratios, [2 * ratios[-1] + 1.0]])
        self.loss = np.empty((len(sites), 3, len(self.lams)))
        self.cost = np.empty((len(sites), 3, len(self.lams), len(room)))
        for i, site in enumerate(sites):
            for state in (CLOSED, LINES, SQUARES):
                n = site.counts(state, self.lams, weight)
                self.loss[i, state] = np.maximum(site.total[site.row(state)] - site.saved[site.row(state)][n], 0)
                self.cost[i, state] = site.fixed[state] + (n[:, None] * site.each[state] if state else 0.0)
        self.weight = weight

    def relaxed(self) -> list[int]:
        """Of each site the best state at the smallest ``lam`` at which all are within the limit."""
        valued = self.loss + self.lams * (self.cost @ self.weight)
        best = valued.argmin(1)  # (sites, lams)
        cost = np.take_along_axis(self.cost, best[:, None, :, None], 1)[:, 0].sum(0)
        fits = self.fits(cost)
        return best[:, fits.argmax()].tolist() if fits.any() else [CLOSED] * len(self.loss)

    def sums(self, states: list[int]) -> tuple[np.ndarray, np.ndarray]:
        rows = np.arange(len(states))
        return self.loss[rows, states].sum(0), self.cost[rows, states].sum(0)

    def fits(self, cost: np.ndarray) -> np.ndarray:
        """At which ``lam`` all limits are met; the first one keeps most."""
        return np.all(cost <= self.room * (1 + 1e-12), axis=1)

    def value(self, loss: np.ndarray, cost: np.ndarray) -> float:
        fits = self.fits(cost)
        return float(loss[fits.argmax()]) if fits.any() else np.inf

    def improved(self, states: list[int]) -> list[int]:
        """Change the state of one site, or of two, as long as that makes the loss less."""
        states, (loss, cost) = list(states), self.sums(states)
        best = self.value(loss, cost)
        for _ in range(_MOST):
            move = self._move(states, loss, cost, best)
            if move is None:
                return states
            for i, state in move:
                loss = loss - self.loss[i, states[i]] + self.loss[i, state]
                cost = cost - self.cost[i, states[i]] + self.cost[i, state]
                states[i] = state
            best = self.value(loss, cost)
        return states

    def _move(self, states: list[int], loss: np.ndarray, cost: np.ndarray, best: float) -> list[tuple[int, int]] | None:
        changes = []
        for i, old in enumerate(states):
            for state in {CLOSED, LINES, SQUARES} - {old}:
                changes.append((i, state, self.loss[i, state] - self.loss[i, old],
                                self.cost[i, state] - self.cost[i, old]))  # fmt: skip
        least = best * (1 - 1e-9) if np.isfinite(best) else best
        single = [(self.value(loss + dl, cost + dc), [(i, s)]) for i, s, dl, dc in changes]
        found = min(single, key=lambda each: each[0])
        if found[0] < least:
            return found[1]
        for k, (i, s, dl, dc) in enumerate(changes):
            for j, t, el, ec in changes[k + 1 :]:
                if i != j and self.value(loss + dl + el, cost + dc + ec) < least:
                    return [(i, s), (j, t)]
        return None


def _fill(sites: list[_Site], states: list[int], counts: list[int], room: np.ndarray, weight: np.ndarray) -> None:
    """Keep what else there is room for, what is worth most for its cost first."""
    left = room - sum(site.cost(s, n) for site, s, n in zip(sites, states, counts))
    waiting = []
    for i, (site, state) in enumerate(zip(sites, states)):
        if state != CLOSED:
            ratios = site.ratios(state, weight)[counts[i] :]
            waiting.append(np.stack([ratios, np.full(len(ratios), i)]))
    rows = np.concatenate(waiting, 1) if waiting else np.empty((2, 0))
    order = np.argsort(-rows[0], kind="stable")
    which = rows[1, order].astype(np.int64)
    each = np.array([site.each[s] if s else np.full(len(room), np.inf) for site, s in zip(sites, states)])
    # All that fits one after another, and then whatever is cheap enough.
    taken = int((np.cumsum(each[which], 0) <= left * (1 + 1e-12)).all(1).sum()) if len(which) else 0
    for i, n in zip(*np.unique(which[:taken], return_counts=True)):
        counts[i] += int(n)
        left = left - n * each[i]
    for i in dict.fromkeys(which[taken:].tolist()):
        fits = int(min(np.floor(np.maximum(left, 0) / np.maximum(each[i], 1e-300)).min(), 2**40))
        n = min(fits, sites[i].most[states[i]] - counts[i])
        counts[i] += n
        left = left - n * each[i]
