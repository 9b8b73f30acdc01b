"""Budgets in milliseconds and megabytes: what the forms of a network's positions cost, and what a choice comes to.

Prices come from five drafts of a plan: with all activations, with all squares, with all lines, and with lines beside
two numbers of kept positions at every site. They are the differences of what the cost model says of a site's own steps,
and an equal part of the rounds that the network has more. Plans decide about wires and truncations for a network as a
whole, so a sum of prices is near what a plan costs and not that itself: a choice is planned as
:func:`~autorep_fx.compile` would, and made anew for limits scaled by a factor, until its plan is just within them.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from tqdm.auto import tqdm

from ..errors import BudgetError, CompileError
from ..graph.calibrate import Batches
from ..graph.canonicalize import site_nodes
from ..hybrid.activation import HybridActivation, copy_without_statistics, masks_digest, sites
from ..hybrid.forms import Forms, Price, Prices
from .compile import compile, lowered
from .network import Network, network_of
from .plan.cost import Cost, plan_cost, quicker, quickest
from .plan.equalize import equalized
from .plan.gains import gains
from .plan.input_range import InputRange
from .plan.plan import Plan, node_of
from .plan.planner import make_plan
from .plan.ranges import calibrated
from .plan.rates import Rates
from .plan.squares import unit_squares

log = logging.getLogger(__name__)

#: Samples that plans are made from.
_EXAMPLES = 256

#: Parts of the positions that are kept in the drafts of lines beside kept ones.
_FEW, _MORE = 0.05, 0.15

#: Plans that are made at most, and what part of the limits choices are made for: plans differ a little.
_TRIES, _AIM = 10, 0.998

#: How limits are scaled until a plan exceeds them, and where between two scales the next one is at least; scales that
#: are nearer than that are the same.
_LEAST_STEP, _LARGEST_STEP, _EDGE, _NEAR = 1.1, 2.0, 0.15, 0.005

#: No position is for nothing, whatever two drafts differ by.
_LEAST = 1e-12


@dataclass(frozen=True)
class Predicted:
    """What the plan of a network predicts for one private inference.

    Attributes:
        latency_ms: online, on ``network``.
        offline_mb: megabytes that all parties send offline.
        rounds: one-way messages that wait for one another.
    """

    latency_ms: float
    offline_mb: float
    rounds: int
    network: Network

    def note(self, gm: fx.GraphModule) -> dict[str, Any]:
        """Leave it in ``gm.meta["predicted"]``, for as long as the masks are these; what is left there."""
        gm.meta["predicted"] = {**asdict(self), "masks": masks_digest(gm)}
        return gm.meta["predicted"]

    def __str__(self) -> str:
        return (
            f"{self.latency_ms:,.3g} ms online at {self.network.rtt_ms:g} ms round trip and {self.network.mbps:,g} "
            f"Mbit/s, {self.rounds} rounds, {self.offline_mb:,.3g} MB offline"
        )


@dataclass(frozen=True)
class Budget:
    """Limits of one private inference of one sample; at least one of them.

    Attributes:
        latency_ms: milliseconds online, on ``network``.
        offline_mb: megabytes that all parties send offline.
    """

    latency_ms: float | None
    offline_mb: float | None
    network: Network

    @staticmethod
    def of(
        relu_budget: float | None, latency_ms: float | None, offline_mb: float | None, network: Network | str
    ) -> Budget | None:
        """None where there is no limit.

        Raises:
            BudgetError: a limit that is no positive number, or one beside a count of ReLUs.
            ValueError: no network has that name.
        """
        budget = Budget(latency_ms, offline_mb, network_of(network))
        for name, value in zip(budget.resources, budget.limits):
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not (number and 0 < value < float("inf")):
                raise BudgetError(f"{name} must be a number above 0, got {value!r}")
        if relu_budget is not None and budget.resources:
            raise BudgetError("give relu_budget, or latency_ms and offline_mb, but not both: a count is not a limit")
        return budget if budget.resources else None

    @property
    def resources(self) -> tuple[str, ...]:
        """Names of what is limited, as :class:`Predicted` has them."""
        return tuple(name for name in ("latency_ms", "offline_mb") if getattr(self, name) is not None)

    @property
    def limits(self) -> tuple[float, ...]:
        return tuple(getattr(self, name) for name in self.resources)

    def costs(self, found: Predicted) -> tuple[float, ...]:
        """What a plan takes of each limit."""
        return tuple(getattr(found, name) for name in self.resources)

    def used(self, found: Predicted) -> float:
        """The largest part of a limit that a plan takes; above 1 it exceeds one."""
        return max(cost / limit for cost, limit in zip(self.costs(found), self.limits))

    def predicted(self, gm: fx.GraphModule, x: Tensor) -> Predicted:
        """By the plan that ``compile(gm, x, network=network)`` makes.

        Raises:
            CompileError: the native runtime cannot run it.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about precision: whoever compiles is told
            return _predicted(compile(gm, x, network=self.network).cost(self.network))

    def sketched(self, gm: fx.GraphModule, x: Tensor) -> Predicted:
        """By a draft of that plan, in a fraction of the time."""
        return _predicted(sketched_costs(gm, x, [self.network])[0])

    def prices(self, gm: fx.GraphModule, x: Tensor) -> list[Prices]:
        """Of every site, for each limit. The sites have polynomials and lines; their masks do not matter.

        Raises:
            CompileError: the native runtime cannot run it.
        """
        drafts = _Drafts(gm, x, self.network)
        return [drafts.prices(resource) for resource in self.resources]

    def settle(
        self,
        choose: Callable[..., Forms],
        sketch: Callable[[Forms], Predicted],
        plan: Callable[[Forms], tuple[Predicted, Any]],
        progress: bool | None = None,
    ) -> tuple[Predicted, Any]:
        """The best choice whose plan is within the limits, as ``plan`` returned it.

        Prices are of each site by itself, and a plan may come to more or less than their sum. So choices are made for
        limits that are larger or smaller by a factor, which is found between one whose plan is within the limits and
        one whose plan is not; and for each, one more with the same states of the sites, and as many positions kept as
        its plan leaves room for.

        Args:
            choose: ``choose(limits, states=...)``, the forms by prices (:func:`~autorep_fx.hybrid.forms.choose_forms`).
            sketch: nearly what these come to: what exceeds the limits, or is no better than what is known, needs no
                more.
            plan: what these come to, and what belongs to it.

        Raises:
            BudgetError: lines alone exceed a limit.
            CompileError: no choice within the limits can be run.
        """
        limits = np.array(self.limits)
        found: dict[tuple, tuple[float, Predicted, Any]] = {}
        bar = tqdm(total=_TRIES, desc="plan", leave=False, disable=None if progress is None else not progress)

        def look(forms: Forms) -> Predicted:
            key = (forms.states, forms.counts)
            if key not in found:
                predicted, result, loss = sketch(forms), None, np.inf
                if self.used(predicted) <= 1 and forms.loss < min((each[0] for each in found.values()), default=np.inf):
                    try:
                        predicted, result = plan(forms)
                        loss = forms.loss if self.used(predicted) <= 1 else np.inf
                    except CompileError as error:  # these weights with these forms; others may do
                        log.info("forms of loss %.4g cannot be run: %s", forms.loss, error)
                found[key] = loss, predicted, result
                log.info("forms of loss %.4g: %s", forms.loss, predicted)
                bar.update()
            return found[key][1]

        factor, within, beyond = 1.0, (0.0, 0.0), None  # factors, and what part of the limits their plans take
        with bar:
            while len(found) < _TRIES and (beyond is None or beyond[0] - within[0] > _NEAR):
                forms = choose(factor * limits, states=None)
                predicted = look(forms)
                used = self.used(predicted)
                if used > 1:
                    beyond = factor, used
                elif forms.all_kept:
                    break
                else:
                    within = factor, used
                room = np.array(forms.costs) + limits * _AIM - np.array(self.costs(predicted))
                same = choose(room, states=forms.states)
                if (np.array(same.costs) <= room).all():
                    look(same)
                if beyond is None:
                    factor *= np.clip(1 / used, _LEAST_STEP, _LARGEST_STEP)
                else:
                    part = np.clip((_AIM - within[1]) / max(beyond[1] - within[1], _NEAR), _EDGE, 1 - _EDGE)
                    factor = within[0] + part * (beyond[0] - within[0])
        best = min(found.values(), key=lambda each: each[0], default=(np.inf,))
        if best[0] == np.inf:  # what fits by its price exceeds the limits: nothing is left but lines
            best = (0.0, *plan(choose(0 * limits, states=None)))
            if self.used(best[1]) > 1:
                named = " with ".join(f"{name}={limit:g}" for name, limit in zip(self.resources, self.limits))
                raise BudgetError(f"{named} is less than lines alone take: {best[1]}")
        return best[1], best[2]


def _predicted(cost: Cost) -> Predicted:
    return Predicted(1e3 * cost.online_seconds, sum(cost.offline.values()) / 1e6, cost.rounds, cost.network)


def sketched_costs(gm: fx.GraphModule, x: Tensor, networks: Sequence[Network]) -> list[Cost]:
    """On each of ``networks``, by a draft of the plan for the first.

    Raises:
        CompileError: the native runtime cannot run it.
    """
    plan = _draft(gm, x, networks[0])
    return [quickest(plan, network) for network in networks]


def unreplaced_plan(gm: fx.GraphModule, x: Tensor, network: Network) -> Plan:
    """A draft of the plan that ``gm`` would have with every activation kept.

    Raises:
        CompileError: the native runtime cannot run it.
    """
    return _draft(_with_kept(gm, {name: site.total for name, site in sites(gm).items()}, line=False), x, network)


def examples(batches: Batches) -> Tensor:
    """Samples that plans are made from."""
    found: list[Tensor] = []
    for x, _ in batches:
        found.append(x[: _EXAMPLES - sum(map(len, found))])
        if sum(map(len, found)) == _EXAMPLES:
            break
    return torch.cat(found)


class _Drafts:
    """Plans that nobody looked at how precise they are, and their costs: nearly those of what ``compile`` makes."""

    def __init__(self, gm: fx.GraphModule, x: Tensor, network: Network):
        self.network, self.rates = network, Rates.measured()
        self.names = {node.target: node.name for node in site_nodes(gm, HybridActivation)}
        self.totals = {name: site.total for name, site in sites(gm).items()}
        self.few = {name: max(1, int(_FEW * total)) for name, total in self.totals.items()}
        self.more = {name: min(total, max(self.few[name] + 1, int(_MORE * total)))
                     for name, total in self.totals.items()}  # fmt: skip
        none = dict.fromkeys(self.totals, 0)
        kept = {"all": (self.totals, False), "squares": (none, False), "lines": (none, True), "few": (self.few, True),
                "more": (self.more, True)}  # fmt: skip
        plans = {what: _draft(_with_kept(gm, *how), x, network) for what, how in kept.items()}
        comparison = quicker(plans["more"], network)  # where some positions are kept
        self.costs = {what: plan_cost(plan.with_comparison(comparison), network) for what, plan in plans.items()}
        self.kinds = {what: {step.name: step.attrs.get("kind") for step in plan.steps} for what, plan in plans.items()}

    def prices(self, resource: str) -> Prices:
        of_site = {"latency_ms": self._milliseconds, "offline_mb": self._megabytes}[resource]
        found = {}
        for name, total in self.totals.items():
            lines, few, more, squares, kept = (of_site(what, name)
                                               for what in ("lines", "few", "more", "squares", "all"))  # fmt: skip
            count = self.more[name] - self.few[name]
            each = max((more - few) / count if count else 0.0, _LEAST)
            opens = few - lines - each * self.few[name]
            found[name] = Price(max(opens, 0.0), each, max(squares - lines, _LEAST),
                                max((kept - squares) / total, _LEAST))  # fmt: skip
        return Prices(getattr(_predicted(self.costs["lines"]), resource), found)

    def _milliseconds(self, what: str, name: str) -> float:
        cost = self.costs[what]
        more = (cost.rounds - self.costs["lines"].rounds) / len(self.totals)
        steps = self._steps(what, name)
        seconds = sum(step.online_seconds + self.network.seconds(step.sent) for step in steps)
        return 1e3 * (seconds + more * (self.network.delay + self.rates.message))

    def _megabytes(self, what: str, name: str) -> float:
        return sum(sum(step.offline.values()) for step in self._steps(what, name)) / 1e6

    def _steps(self, what: str, name: str) -> list:
        """A site's own: not the layer that took its slopes."""
        node = self.names[name]
        return [step for key, step in self.costs[what].steps.items()
                if node_of(key) == node and self.kinds[what][key] not in ("conv2d", "linear")]  # fmt: skip


def _with_kept(gm: fx.GraphModule, kept: dict[str, int], line: bool) -> fx.GraphModule:
    """A copy whose sites keep so many positions, at even distances."""
    gm = copy_without_statistics(gm)
    for name, site in sites(gm).items():
        keep = torch.zeros(site.total, dtype=torch.bool)
        keep[torch.arange(kept[name]) * site.total // max(kept[name], 1)] = True
        site.set_keep(keep.view(site.shape))
        site.set_line(torch.full_like(site.keep, line))
    return gm


def _draft(gm: fx.GraphModule, x: Tensor, network: Network) -> Plan:
    program, x = lowered(gm, x), x.detach().to("cpu", torch.float64)
    program, reach = equalized(program, calibrated(program, x))
    program, reach = unit_squares(program, reach)
    within = InputRange.of_examples(x.numpy())
    return make_plan(program, reach, within, gains=gains(program, x), network=network)[0]
