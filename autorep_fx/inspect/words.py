"""What a report says first, in sentences: what a private inference takes, beside the original, and where it goes."""

from __future__ import annotations

from .cost import LayerCost, NetworkCost
from .table import factor, megabytes, milliseconds, percent

#: Layers that are named; times that are nearer than this part are the same.
_NAMED, _SAME = 3, 0.02


def difference(cost: NetworkCost) -> str:
    """What an inference takes, and what it would with every activation kept."""
    now, before = cost.total, cost.original
    takes = f"A private inference takes {milliseconds(now.seconds)} ms and {now.rounds} rounds on {cost.label}"
    if before is None:
        return f"{takes}, and {megabytes(now.offline)} MB are sent offline."
    than = f"with every activation kept ({milliseconds(before.seconds)} ms, {before.rounds} rounds)"
    times = before.seconds / now.seconds
    if abs(times - 1) < _SAME:
        compared = f"as long as {than}"
    else:
        compared = f"{factor(times)} times faster than {than}" if times > 1 else f"longer than {than}"
    offline = f"{megabytes(now.offline)} MB are sent, in place of {megabytes(before.offline)} MB"
    return f"{takes}, {compared}. Offline {offline}."


def dearest(cost: NetworkCost) -> str:
    """The layers that take most of its time."""
    layers = sorted(cost.layers, key=lambda layer: -layer.seconds)
    named = layers[:_NAMED]
    part = sum(layer.seconds for layer in named) / cost.total.seconds
    one = len(named) == 1
    return f"The dearest layer{'' if one else 's'}: {_listed(named)}; {percent(part)} of the time."


def _listed(layers: list[LayerCost]) -> str:
    *first, last = (f"{layer.name} ({milliseconds(layer.seconds)} ms)" for layer in layers)
    return f"{', '.join(first)} and {last}" if first else last
