"""Limits that a network was made within, and a plan of it for other examples that exceeds them."""

from __future__ import annotations

from dataclasses import asdict

from torch import fx

from ...hybrid.activation import masks_digest
from ..link.network import Network
from .cost import Cost


def beyond_noted(gm: fx.GraphModule, cost: Cost, network: Network, dealer: bool) -> str | None:
    """A sentence where ``cost`` is beyond a limit that the forms of ``gm`` were chosen within; None where it is not, or
    there is none for such runs.

    Args:
        cost: of a plan of ``gm``.
        network, dealer: that the plan is for.
    """
    found = gm.meta.get("predicted") or {}
    if not found.get("limits") or (found["network"], found["dealer"]) != (asdict(network), dealer):
        return None
    if found["masks"] != masks_digest(gm):
        return None
    taken = {
        "latency_ms": 1e3 * cost.online_seconds,
        "offline_mb": sum(cost.offline.values()) / 1e6,
        "total_ms": 1e3 * cost.total_seconds,
    }
    beyond = {name: limit for name, limit in found["limits"].items() if taken[name] > limit * (1 + 1e-9)}
    if not beyond:
        return None
    said = " and ".join(f"{name}={limit:g} is exceeded, the plan for these examples takes {taken[name]:,.4g}"
                        for name, limit in beyond.items())  # fmt: skip
    name, limit = max(beyond.items(), key=lambda each: taken[each[0]] / each[1])
    return (
        f"{said}. Such a limit is for the plan of the images that the forms were chosen with; give those as "
        f"example_inputs, or choose with {name}={limit * limit / taken[name]:.3g}"
    )
