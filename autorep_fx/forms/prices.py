"""Budgets in milliseconds and megabytes: what the forms of a network's positions cost, and what a choice comes to.

Prices come from five drafts of a plan: with all activations, with all squares, with all lines, and with lines beside
two numbers of kept positions at every site. They are the differences of what the cost model says of a site's own steps,
and an equal part of the rounds that the network has more. Truncations between sites of lines are in none of them, for a
site that sends anything takes their place. Plans decide about these and about wires for a network as a whole, so a sum
of prices is near what a plan costs and not that itself (search.py).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from torch import Tensor, fx

from ..errors import BudgetError
from ..graph.batches import Batches
from ..graph.canonicalize import site_nodes
from ..graph.several import Batch, joined
from ..hybrid.activation import HybridActivation, masks_digest
from ..progress import stepwise
from ..secure.compile import compile
from ..secure.cost.cost import Cost, StepCost, plan_cost, quicker, quickest
from ..secure.link.network import Network, network_of
from ..secure.makers.table import maker_of
from ..secure.plan.plan import Plan, node_of
from ..secure.planner.names import CUT
from ..secure.rates import Rates
from .choose import Price, Prices
from .drafts import Drafts
from .senders import Sender, senders

log = logging.getLogger(__name__)

#: Samples that plans are made from.
_EXAMPLES = 256

#: Parts of the positions that are kept in the drafts of lines beside kept ones.
_FEW, _MORE = 0.05, 0.15

#: What may be limited, as :class:`Predicted` and :class:`Budget` call it.
_RESOURCES = ("latency_ms", "offline_mb", "total_ms")

#: No position is for nothing, whatever two drafts differ by.
_LEAST = 1e-12


@dataclass(frozen=True)
class Predicted:
    """What the plan of a network predicts for one private inference.

    Attributes:
        latency_ms: online, on ``network``.
        offline_mb: megabytes that all parties send offline.
        rounds: one-way messages that wait for one another.
        total_ms: offline and online together, of an inference for which nothing is prepared.
        dealer: whether one makes the correlations.
        senders: what sends anything, where that is known.
    """

    latency_ms: float
    offline_mb: float
    rounds: int
    network: Network
    total_ms: float = 0.0
    dealer: bool = True
    senders: tuple[Sender, ...] = field(default=(), repr=False, compare=False)

    def note(self, gm: fx.GraphModule, budget: Budget, granularity: str) -> dict[str, Any]:
        """Leave it in ``gm.meta["predicted"]``, for as long as the masks are these, with the limits that they were
        chosen within, ``granularity`` at a time; what is left there."""
        found = {name: value for name, value in asdict(self).items() if name != "senders"}
        limits = dict(zip(budget.resources, budget.limits))
        gm.meta["predicted"] = {**found, "masks": masks_digest(gm), "limits": limits, "granularity": granularity}
        return gm.meta["predicted"]

    def __str__(self) -> str:
        without = "" if self.dealer else " without a dealer"
        return (
            f"{self.latency_ms:,.3g} ms online at {self.network.rtt_ms:g} ms round trip and {self.network.mbps:,g} "
            f"Mbit/s, {self.rounds} rounds, {self.offline_mb:,.3g} MB offline{without}, {self.total_ms:,.3g} ms in all"
        )


@dataclass(frozen=True)
class Budget:
    """Limits of one private inference of one sample; at least one of them.

    Attributes:
        latency_ms: milliseconds online, on ``network``.
        offline_mb: megabytes that all parties send offline.
        total_ms: milliseconds offline and online together.
        dealer: whether one makes the correlations.
    """

    latency_ms: float | None
    offline_mb: float | None
    network: Network
    total_ms: float | None = None
    dealer: bool = True

    @staticmethod
    def of(
        relu_budget: float | None,
        latency_ms: float | None,
        offline_mb: float | None,
        network: Network | str,
        total_ms: float | None = None,
        dealer: bool = True,
    ) -> Budget | None:
        """None where there is no limit.

        Raises:
            BudgetError: a limit that is no positive number, or one beside a count of ReLUs.
            ValueError: no network has that name.
        """
        budget = Budget(latency_ms, offline_mb, network_of(network), total_ms, dealer)
        for name, value in zip(budget.resources, budget.limits):
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not (number and 0 < value < float("inf")):
                raise BudgetError(f"{name} must be a number above 0, got {value!r}")
        if relu_budget is not None and budget.resources:
            raise BudgetError(
                "give relu_budget, or latency_ms, offline_mb and total_ms, but not both: a count is not a limit"
            )
        return budget if budget.resources else None

    @property
    def resources(self) -> tuple[str, ...]:
        """Names of what is limited, as :class:`Predicted` has them."""
        return tuple(name for name in _RESOURCES if getattr(self, name) is not None)

    @property
    def limits(self) -> tuple[float, ...]:
        return tuple(getattr(self, name) for name in self.resources)

    def part(self, of: float) -> Budget:
        """So much of every limit."""
        latency_ms, offline_mb, total_ms = (
            None if limit is None else of * limit for limit in (self.latency_ms, self.offline_mb, self.total_ms)
        )
        return replace(self, latency_ms=latency_ms, offline_mb=offline_mb, total_ms=total_ms)

    @staticmethod
    def noted(gm: fx.GraphModule) -> Budget | None:
        """The limits that the forms of ``gm`` were chosen within; None where there are none, or masks are others."""
        found = gm.meta.get("predicted")
        if not found or not found.get("limits") or found["masks"] != masks_digest(gm):
            return None
        limits = {name: found["limits"].get(name) for name in _RESOURCES}
        return Budget(**limits, network=Network(**found["network"]), dealer=found["dealer"])

    def costs(self, found: Predicted) -> tuple[float, ...]:
        """What a plan takes of each limit."""
        return tuple(getattr(found, name) for name in self.resources)

    def used(self, found: Predicted) -> float:
        """The largest part of a limit that a plan takes; above 1 it exceeds one."""
        return max(cost / limit for cost, limit in zip(self.costs(found), self.limits))

    def predicted(self, gm: fx.GraphModule, x: Tensor, progress: bool | None = False) -> Predicted:
        """By the plan that ``compile(gm, x, network=network, dealer=dealer)`` makes.

        Raises:
            CompileError: the native runtime cannot run it.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about precision: whoever compiles is told
            program = compile(gm, x, network=self.network, dealer=self.dealer, progress=progress)
        cost = program.cost(self.network, dealer=self.dealer)
        return _predicted(cost, self.dealer, senders(gm, program.native[0], cost))

    def drafts(self, gm: fx.GraphModule, x: Tensor) -> Drafts:
        """Of such plans, with whatever masks."""
        return Drafts(gm, x, self.network, self.dealer)

    def sketched(self, gm: fx.GraphModule, x: Tensor) -> Predicted:
        """By a draft of that plan, in a fraction of the time.

        Raises:
            CompileError: the native runtime cannot run it.
        """
        return self.drafted(self.drafts(gm, x).as_it_is())

    def drafted(self, plan: Plan) -> Predicted:
        """What a draft predicts."""
        return _predicted(_cheapest(plan, self.network, self.dealer), self.dealer)

    def prices(self, drafts: Drafts, progress: bool | None = False) -> list[Prices]:
        """Of every site, for each limit, by :meth:`drafts` of a network whose sites have polynomials and lines.

        Raises:
            CompileError: the native runtime cannot run it.
        """
        found = _Priced(drafts, self.dealer, progress)
        return [found.prices(resource) for resource in self.resources]


def _predicted(cost: Cost, dealer: bool, found: tuple[Sender, ...] = ()) -> Predicted:
    return Predicted(1e3 * cost.online_seconds, sum(cost.offline.values()) / 1e6, cost.rounds, cost.network,
                     1e3 * cost.total_seconds, dealer, found)  # fmt: skip


def sketched_costs(gm: fx.GraphModule, x: Tensor, networks: Sequence[Network], dealer: bool = True) -> list[Cost]:
    """On each of ``networks``, by a draft of the plan for the first.

    Raises:
        CompileError: the native runtime cannot run it.
    """
    return costs_on(networks, Drafts(gm, x, networks[0], dealer).as_it_is(), dealer)


def costs_on(networks: Sequence[Network], plan: Plan, dealer: bool = True) -> list[Cost]:
    """Of a draft, on each of these."""
    return [_cheapest(plan, network, dealer) for network in networks]


def _cheapest(plan: Plan, network: Network, dealer: bool) -> Cost:
    return quickest(plan, network, maker=maker_of(dealer, network))


def examples(batches: Batches) -> Any:
    """Samples that plans are made from: a tensor, or :class:`~autorep_fx.graph.several.Inputs` of several inputs."""
    found: list[Batch] = []
    for x, _ in batches:
        found.append(x[: _EXAMPLES - sum(map(len, found))])
        if sum(map(len, found)) == _EXAMPLES:
            break
    return joined(found)


class _Priced:
    """The drafts that prices come from, and what they cost."""

    def __init__(self, drafts: Drafts, dealer: bool, progress: bool | None):
        self.network, self.rates, self.dealer = drafts.network, Rates.measured(), dealer
        self.names = {node.target: node.name for node in site_nodes(drafts.gm, HybridActivation)}
        self.totals = {name: site.total for name, site in drafts.sites.items()}
        self.few = {name: max(1, int(_FEW * total)) for name, total in self.totals.items()}
        self.more = {name: min(total, max(self.few[name] + 1, int(_MORE * total)))
                     for name, total in self.totals.items()}  # fmt: skip
        none = dict.fromkeys(self.totals, 0)
        kept = {"all": (self.totals, False), "squares": (none, False), "lines": (none, True), "few": (self.few, True),
                "more": (self.more, True)}  # fmt: skip
        plans = {what: drafts.evenly(*kept[what]) for what in stepwise(log, kept, "prices", progress, "draft")}
        maker = drafts.maker
        comparison = quicker(plans["more"], self.network, maker=maker)  # where some positions are kept
        self.costs = {what: plan_cost(plan.with_comparison(comparison), self.network, maker=maker)
                      for what, plan in plans.items()}  # fmt: skip
        self.kinds = {what: {step.name: step.attrs.get("kind") for step in plan.steps} for what, plan in plans.items()}

    def prices(self, resource: str) -> Prices:
        of_steps = {"latency_ms": self._milliseconds, "offline_mb": _megabytes, "total_ms": self._all_milliseconds}
        found = {}

        def of_site(what: str, name: str) -> float:
            rounds = 0.0 if resource == "offline_mb" else self._more_milliseconds(what)
            return of_steps[resource](self._steps(what, name)) + rounds

        for name, total in self.totals.items():
            lines, few, more, squares, kept = (of_site(what, name)
                                               for what in ("lines", "few", "more", "squares", "all"))  # fmt: skip
            count = self.more[name] - self.few[name]
            each = max((more - few) / count if count else 0.0, _LEAST)
            opens = few - lines - each * self.few[name]
            found[name] = Price(max(opens, 0.0), each, max(squares - lines, _LEAST),
                                max((kept - squares) / total, _LEAST))  # fmt: skip
        base = getattr(_predicted(self.costs["lines"], self.dealer), resource) - self._truncations(resource)
        return Prices(base, found)

    def _milliseconds(self, steps: list[StepCost]) -> float:
        return 1e3 * sum(step.online_seconds + self.network.seconds(step.sent) for step in steps)

    def _all_milliseconds(self, steps: list[StepCost]) -> float:
        return self._milliseconds(steps) + _offline_milliseconds(steps)

    def _more_milliseconds(self, what: str) -> float:
        """A site's part of the rounds that there are more than with lines alone."""
        more = (self._rounds(what) - self._rounds("lines")) / len(self.totals)
        return 1e3 * more * (self.network.delay + self.rates.message)

    def _truncations(self, resource: str) -> float:
        """What those of lines alone cost."""
        cuts = [step for key, step in self.costs["lines"].steps.items() if key.endswith(CUT)]
        if resource == "offline_mb":
            return _megabytes(cuts)
        online = 1e3 * sum(step.total_seconds for step in cuts)
        return online + _offline_milliseconds(cuts) if resource == "total_ms" else online

    def _rounds(self, what: str) -> int:
        return sum(step.rounds for key, step in self.costs[what].steps.items() if not key.endswith(CUT))

    def _steps(self, what: str, name: str) -> list[StepCost]:
        """A site's own: not the layer that took its slopes, and no truncation behind it."""
        node = self.names[name]
        return [step for key, step in self.costs[what].steps.items() if node_of(key) == node
                and not key.endswith(CUT) and self.kinds[what][key] not in ("conv2d", "linear")]  # fmt: skip


def _megabytes(steps: list[StepCost]) -> float:
    return sum(sum(step.offline.values()) for step in steps) / 1e6


def _offline_milliseconds(steps: list[StepCost]) -> float:
    return 1e3 * sum(step.offline_seconds + step.offline_link_seconds for step in steps)
