"""What a plan still sends where all sites have lines, and what would send less: for a limit that cannot be met."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import fx

from ..graph.targets import module_of
from ..hybrid.activation import HybridActivation
from ..secure.cost.cost import Cost
from ..secure.plan.plan import Plan, Step, node_of
from ..text import brief

#: The ends of a network, and what is cut off where a ring has no more room.
ENDS, TRUNCATION = "input and output", "truncations"

#: By a word in what sends: what would send less.
_INSTEAD = (
    ("max", "average pooling, or a convolution of stride 2, in place of a maximum sends nothing (and wants training)"),
    ("mul", "a factor that is a constant of the network sends nothing"),
    (TRUNCATION, "truncations are where layers of lines follow one another: fewer layers have fewer"),
    (ENDS, "input and output travel in any case, and take less on a faster network="),
)

_UNITS = {"latency_ms": "ms online", "offline_mb": "MB offline", "total_ms": "ms offline and online"}

#: So many are named; what takes less than this part of the whole is not.
_NAMED, _LEAST = 4, 0.02


@dataclass(frozen=True)
class Sender:
    """One that sends anything.

    Attributes:
        what: its kind, a class or function of torch, or a site; where: its name in the model, empty at the ends.
        latency_ms, offline_mb, total_ms: of the plan's.
    """

    what: str
    where: str
    latency_ms: float
    offline_mb: float
    total_ms: float = 0.0

    __repr__ = brief


def senders(gm: fx.GraphModule, plan: Plan, cost: Cost) -> tuple[Sender, ...]:
    """Whatever sends in ``plan`` of ``gm``, in its order; ``cost``: of the plan on a network.

    Layers with weights, which send offline alone, are among them where client and server make correlations themselves.
    """
    nodes = {node.name: node for node in gm.graph.nodes}
    found: dict[tuple[str, str], list[float]] = {}
    for step in plan.steps:
        if step.sent or step.op == "map" and "dealer" not in cost.setup:
            spent = cost.steps[step.name]
            sums = found.setdefault(_named(gm, nodes.get(node_of(step.name)), step), [0.0, 0.0, 0.0])
            sums[0] += 1e3 * spent.total_seconds
            sums[1] += sum(spent.offline.values()) / 1e6
            sums[2] += 1e3 * (spent.total_seconds + spent.offline_seconds + spent.offline_link_seconds)
    return tuple(Sender(*name, *sums) for name, sums in found.items())


def _named(gm: fx.GraphModule, node: fx.Node | None, step: Step) -> tuple[str, str]:
    if node is None or node.op == "placeholder" or not (step.answered or step.op == "map"):
        return ENDS, ""
    if step.attrs.get("kind") == "truncate":
        return TRUNCATION, ""
    if node.op != "call_module":
        return getattr(node.target, "__name__", str(node.target)), node.name
    module = module_of(gm, node)
    if isinstance(module, HybridActivation):  # one that keeps anything: only of lines is it a truncation
        return module.activation.kind, str(node.target)
    return type(module).__name__, str(node.target)


def advice(found: Sequence[Sender], totals: Mapping[str, float]) -> str:
    """What takes most of the limits that lines alone exceed, what would take less, and the least limits there are.

    totals: what the whole plan takes of each limit, by its name, an attribute of :class:`Sender`.
    """
    if not found:
        return ""
    spent: list[str] = []
    most: list[str] = []
    for resource, total in totals.items():
        parts = _most(found, resource, total)
        named = ", ".join(f"{_at(found, what)} {value:.3g}" for what, value in parts.items())
        spent.append(f"{named} of {total:.3g} {_UNITS[resource]}")
        most += parts
    helps = [text for word, text in _INSTEAD if any(word in what.lower() for what in most)]
    least = " with ".join(f"{resource}={_above(total):g}" for resource, total in totals.items())
    helped = f". What helps: {'; '.join(helps)}" if helps else ""
    return f". What still sends: {'; '.join(spent)}{helped}. As it is, {least} can be met"


def _most(found: Sequence[Sender], resource: str, total: float) -> dict[str, float]:
    """What takes most of a resource, by its kind."""
    kinds: dict[str, float] = {}
    for sender in found:
        kinds[sender.what] = kinds.get(sender.what, 0.0) + getattr(sender, resource)
    most = sorted((what for what in kinds if kinds[what] >= _LEAST * total), key=lambda what: -kinds[what])
    return {what: kinds[what] for what in most[:_NAMED]}


def _at(found: Sequence[Sender], what: str) -> str:
    places = [f"'{sender.where}'" for sender in found if sender.what == what and sender.where]
    return f"{what} ({', '.join(places[:2])}{', ...' if len(places) > 2 else ''})" if places else what


def _above(value: float) -> float:
    """In three digits, rounded up."""
    digits = max(3 - math.ceil(math.log10(value)), 0)
    return math.ceil(value * 10**digits) / 10**digits
