"""What other budgets would cost: a table from the plan's cost model, to choose from before anything is trained."""

from __future__ import annotations

import contextlib
import logging
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from ..errors import BudgetError, CalibrationError, CompileError
from ..forms.choose import choose_forms
from ..forms.drafts import Drafts
from ..forms.faster import Times, no_faster
from ..forms.prices import Budget, costs_on, examples
from ..graph.batches import Batches
from ..graph.several import input_names
from ..graph.told import Loss
from ..graph.trace import class_name
from ..hybrid.activation import known, masks_digest, relu_count, sites
from ..hybrid.fitting import Fitting, give_lines
from ..hybrid.positions import choose
from ..hybrid.scores import scores_of
from ..progress import Steps, stopping
from ..secure.cost.cost import Cost
from ..secure.link.network import Network, network_of
from ..secure.plan.plan import Plan
from ..settings.kinds import Function
from ..text import brief
from ..transform import transform
from . import table

log = logging.getLogger(__name__)

#: Shares of the activations that are looked at.
SHARES = (1.0, 0.5, 0.25, 0.1, 0.05, 0.02, 0.01, 0.0)

#: Limits in time that are looked at for three forms, from lines alone to everything kept.
_LIMITS = 10

#: Forms of what is replaced.
SQUARES, THREE = "squares", "squares and lines"


@dataclass(frozen=True)
class Price:
    """One private inference on one network.

    Attributes:
        seconds: predicted online; rounds: messages that wait for one another.
        online, offline: bytes sent by all parties.
        core_seconds: of work of the busiest party, online and offline.
        offline_seconds, offline_rounds: before there is an input.
    """

    seconds: float
    rounds: int
    online: int
    offline: int
    core_seconds: float
    offline_seconds: float = 0.0
    offline_rounds: int = 0

    @property
    def all_seconds(self) -> float:
        """Of an inference for which nothing is prepared."""
        return self.offline_seconds + self.seconds

    @staticmethod
    def of(cost: Cost) -> Price:
        work = sum(step.online_seconds + step.offline_seconds for step in cost.steps.values())
        return Price(cost.online_seconds, cost.rounds, sum(cost.online.values()), sum(cost.offline.values()), work,
                     cost.offline_seconds, cost.offline_rounds)  # fmt: skip


@dataclass(frozen=True)
class BudgetPoint:
    """One budget.

    Attributes:
        forms: what is replaced takes "squares", or "squares and lines", whichever costs less loss.
        relus, lines: how many positions of a sample keep their activation, and take a line.
        loss: what the scores say that replacing the others adds to the loss, before any training: good for an order,
            not for an accuracy.
        prices: by network, with a dealer.
        masks: a digest of them.
        alone: prices without a dealer, by a plan that is made for that; empty where two cannot run it.
    """

    forms: str
    relus: int
    lines: int
    loss: float
    prices: dict[str, Price]
    masks: str = ""
    alone: dict[str, Price] = field(default_factory=dict)

    __repr__ = brief


@dataclass(frozen=True)
class Reached:
    """A network that was made: its accuracy, a fraction, and what it costs."""

    name: str
    accuracy: float
    relus: int
    masks: str
    prices: dict[str, Price]

    __repr__ = brief


@dataclass
class BudgetPlan:
    """What :func:`plan_budgets` found. ``print`` it, or give it to :meth:`~autorep_fx.Report.to_html`.

    Attributes:
        model: the name of the model's class.
        total: its activations per sample.
        networks: by label; the limits of the points of three forms are of the first.
        points: squares from all activations to none, then squares and lines likewise.
        reached: what :meth:`reach` was told.
    """

    model: str
    total: int
    networks: dict[str, Network]
    points: list[BudgetPoint]
    reached: list[Reached] = field(default_factory=list)
    _x: Tensor | None = field(default=None, repr=False)

    __repr__ = brief

    def reach(self, name: str, gm: fx.GraphModule, accuracy: float) -> Reached:
        """Add a network that was made from the model, and the accuracy (a fraction) that it has, to show beside others.

        Raises:
            ValueError: ``accuracy`` is no fraction, or the plan is none of :func:`plan_budgets`.
            CompileError: the native runtime cannot run it.
        """
        if not 0 <= accuracy <= 1:
            raise ValueError(f"accuracy must be a fraction from 0 to 1, got {accuracy!r}")
        if self._x is None:
            raise ValueError("this plan has no examples; add networks to what plan_budgets returned")
        plan = Drafts(gm, self._x, next(iter(self.networks.values()))).as_it_is()
        found = Reached(name, accuracy, relu_count(gm), masks_digest(gm), _prices(plan, self.networks))
        self.reached.append(found)
        return found

    @property
    def no_faster(self) -> str | None:
        """Where squares take no less time online than all activations: a sentence; None where they do."""
        points = [point for point in self.points if point.forms == SQUARES]
        if not points or points[0].relus < self.total or points[-1].relus == self.total:
            return None
        first, last = points[0].prices, points[-1].prices
        return no_faster(points[-1].relus, self.total, {
            label: Times(1e3 * last[label].seconds, 1e3 * first[label].seconds, last[label].offline / 1e6,
                         first[label].offline / 1e6)
            for label in self.networks
        })  # fmt: skip

    def to_dict(self) -> dict:
        """Everything, in types that JSON knows."""
        return {
            "model": self.model,
            "total": self.total,
            "networks": {label: asdict(network) for label, network in self.networks.items()},
            "points": [asdict(point) for point in self.points],
            "reached": [asdict(found) for found in self.reached],
        }

    def __str__(self) -> str:
        head = ("forms", "ReLUs", "share", "lines", "added loss", *(f"{label} ms" for label in self.networks), "rounds",
                "online KB", "offline MB", "alone MB", "all ms")  # fmt: skip
        rows = []
        for point in self.points:
            label, first = next(iter(point.prices.items()))
            alone = point.alone.get(label)
            by_two = [table.megabytes(alone.offline), table.milliseconds(alone.all_seconds)] if alone else ["", ""]
            times = (table.milliseconds(price.seconds) for price in point.prices.values())
            rows.append((point.forms, f"{point.relus:,}", table.percent(point.relus / self.total), f"{point.lines:,}",
                         table.number(point.loss), *times, str(first.rounds), table.kilobytes(first.online),
                         table.megabytes(first.offline), *by_two))  # fmt: skip
        about = (f"{self.model}: {self.total:,} activations; rounds and bytes for {next(iter(self.networks))}; alone: "
                 "offline MB, and offline with online ms, without a dealer")  # fmt: skip
        said = [] if self.no_faster is None else [textwrap.fill(self.no_faster, table.WIDTH)]
        return "\n\n".join([about, table.columns(head, rows), *said])


def plan_budgets(
    model: nn.Module,
    calibration: Tensor | Iterable,
    *,
    networks: Sequence[str] = ("wan", "lan"),
    shares: Sequence[float] = SHARES,
    degree: int = Fitting.degree,
    loss: Function | None = None,
    progress: bool | None = None,
) -> BudgetPlan:
    """What private inference would cost at other budgets: drafts of plans, with masks of the one-shot score.

    Nothing is trained, so the table says what a budget costs and not what accuracy it leaves. A draft is nearly the
    plan that :func:`autorep_fx.compile` makes.

    Args:
        model: as for :func:`autorep_fx.transform`; never changed.
        calibration, loss: as for :func:`autorep_fx.transform`.
        networks: names, "loopback", "lan" or "wan". Budgets with lines are for the first.
        shares: of the activations, 0 to 1, for budgets that are counts.
        degree: of the polynomials; lines are among the forms of degree 2 alone.
        progress: show progress bars; None shows them on a terminal only.

    Raises:
        BudgetError: no network, or a share that is none; a model without activations.
        TraceError, CalibrationError, CompileError, ValueError: as :func:`autorep_fx.transform` and
            :func:`autorep_fx.compile`.
    """
    found = {name: network_of(name) for name in networks}
    if not found or any(not 0 <= share <= 1 for share in shares):
        raise BudgetError("give at least one network, and shares from 0 to 1")
    with stopping("plan_budgets was stopped; nothing is kept of it, and the same call begins anew"):
        return _planned(model, calibration, found, shares, degree, loss, progress)


def _planned(
    model: nn.Module, calibration: Any, found: dict[str, Network], shares: Sequence[float], degree: int,
    loss: Function | None, progress: bool | None,
) -> BudgetPlan:  # fmt: skip
    gm = transform(model, calibration=calibration, degree=degree, loss=loss, progress=progress)
    if not sites(gm):
        raise BudgetError("the model has no activation that could be replaced")
    there = sites(gm)
    for site in there.values():  # of a network that is hybrid already
        site.set_keep(torch.ones_like(known(site.keep)))
    batches = Batches(calibration, leave_out=True, targets=loss is not None, inputs=len(input_names(gm)))
    x, total = examples(batches), relu_count(gm)
    forms: tuple[str, ...] = ("coeffs",)
    if degree == 2:
        give_lines(gm, Fitting(degree))
        forms = ("coeffs", "line_coeffs")
    told = None if loss is None else Loss(loss, CalibrationError)
    square, *line = scores_of(gm, batches, forms, progress, loss=told)
    plan, drafts = BudgetPlan(class_name(gm), total, found, [], _x=x), _drafts(gm, x, found)
    counts = sorted({round(share * total) for share in shares}, reverse=True)
    with Steps(log, "budgets", progress, "budget", len(counts) + _LIMITS * len(line)) as steps:
        for count in counts:
            for name, keep in choose(square, count).items():
                there[name].set_line(None)
                there[name].set_keep(keep)
            added = sum(float(score[~known(there[name].keep)].sum()) for name, score in square.items())
            plan.points.append(BudgetPoint(SQUARES, count, 0, added, *_priced(gm, drafts, found)))
            steps.done()
        for point in _with_lines(gm, drafts, square, line[0], found) if line else ():
            plan.points.append(point)
            steps.done()
    return plan


def _with_lines(
    gm: fx.GraphModule, drafts: dict[bool, Drafts], square: dict[str, Tensor], line: dict[str, Tensor],
    networks: dict[str, Network],
) -> Iterable[BudgetPoint]:  # fmt: skip
    """Points of three forms, from most time to least; without those that come to the same."""
    (price,) = Budget(1.0, None, next(iter(networks.values()))).prices(drafts[True])
    most = price.everything({name: site.total for name, site in sites(gm).items()})
    seen = set()
    for limit in torch.linspace(most, price.base, _LIMITS + 1)[1:].tolist():
        forms = choose_forms(line, square, [price], [max(limit, price.base)])
        if (forms.states, forms.counts) in seen:
            continue
        seen.add((forms.states, forms.counts))
        forms.apply(gm)
        lines = sum(site.lines for site in sites(gm).values())
        yield BudgetPoint(THREE, relu_count(gm), lines, forms.loss, *_priced(gm, drafts, networks))


def _drafts(gm: fx.GraphModule, x: Tensor, networks: dict[str, Network]) -> dict[bool, Drafts]:
    """With a dealer, and without one."""
    return {dealer: Drafts(gm, x, next(iter(networks.values())), dealer) for dealer in (True, False)}


def _priced(
    gm: fx.GraphModule, drafts: dict[bool, Drafts], networks: dict[str, Network]
) -> tuple[dict[str, Price], str, dict[str, Price]]:
    """With a dealer; a digest of the masks; without one. drafts: of this network, with whatever masks."""
    alone: dict[str, Price] = {}
    with contextlib.suppress(CompileError):  # two may not be able to prepare what a dealer can
        alone = _prices(drafts[False].like(gm), networks, dealer=False)
    return _prices(drafts[True].like(gm), networks), masks_digest(gm), alone


def _prices(plan: Plan, networks: dict[str, Network], dealer: bool = True) -> dict[str, Price]:
    costs = costs_on(list(networks.values()), plan, dealer)
    return {label: Price.of(cost) for label, cost in zip(networks, costs)}
