"""Whether a network with squares takes less time between two parties than with all its ReLUs: often it does not.

A square travels as a ReLU does, in as many messages; what it saves is the comparison, which is work and offline bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, fx

from ..hybrid.activation import sites
from ..secure.cost.cost import quickest
from ..secure.link.network import NETWORKS, Network
from ..secure.makers.table import maker_of
from ..text import brief, number
from .drafts import unreplaced_plan
from .prices import sketched_costs

#: What takes more than this part of the time is no faster.
_FASTER = 0.95

#: Samples that the two drafts are made from: what plans cost hardly depends on more, and what drafts cost does.
_DRAFTED = 2


@dataclass(frozen=True)
class Times:
    """One private inference of a network, beside that with every activation kept.

    Attributes:
        online_ms, original_ms: milliseconds online; offline_mb, original_mb: megabytes that all parties send offline.
    """

    online_ms: float
    original_ms: float
    offline_mb: float
    original_mb: float

    __repr__ = brief


def no_faster(kept: int, total: int, times: Mapping[str, Times]) -> str | None:
    """A sentence for a network with squares that takes no less time online; None where it does, on all networks.

    Args:
        kept, total: ReLUs of a sample.
        times: by the name of the link.
    """
    slow = {label: each for label, each in times.items() if each.online_ms > _FASTER * each.original_ms}
    if not slow:
        return None
    on = ", ".join(f"{number(t.online_ms)} ms in place of {number(t.original_ms)} on {label}"
                   for label, t in slow.items())  # fmt: skip
    best = min(slow.values(), key=lambda t: t.offline_mb / max(t.original_mb, 1e-12))  # by one comparison for both
    saved = ""
    if best.offline_mb < best.original_mb:
        saved = f"; what it saves is offline, {number(best.offline_mb)} MB in place of {number(best.original_mb)}"
    return (
        f"{kept:,} of {total:,} ReLUs, squares at the rest, are no faster online than all ReLUs: {on}. A square "
        f"travels as a ReLU does{saved}. Lines do not travel: latency_ms= takes them where they save time"
    )


def planned_times(gm: fx.GraphModule, x: Tensor, network: Network, dealer: bool = True) -> dict[str, Times]:
    """By two drafts of plans, on ``network`` and over a WAN, for runs with a dealer or without one.

    Raises:
        CompileError: the native runtime cannot run it.
    """
    names = {found: name for name, found in NETWORKS.items()}
    networks = list(dict.fromkeys([network, NETWORKS["wan"]]))
    x = x[:_DRAFTED]
    original = unreplaced_plan(gm, x, networks[0], dealer)
    found = {}
    for net, cost in zip(networks, sketched_costs(gm, x, networks, dealer)):
        whole = quickest(original, net, maker=maker_of(dealer, net))
        found[names.get(net, f"{net.rtt_ms:g} ms, {net.mbps:,g} Mbit/s")] = Times(
            1e3 * cost.online_seconds,
            1e3 * whole.online_seconds,
            sum(cost.offline.values()) / 1e6,
            sum(whole.offline.values()) / 1e6,
        )
    return found


def has_squares(gm: fx.GraphModule) -> bool:
    """Whether any position of a site has one."""
    return any(site.total - site.kept > site.lines for site in sites(gm).values())
