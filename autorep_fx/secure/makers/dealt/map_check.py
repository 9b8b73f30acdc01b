"""The check of what a client makes of ``E`` offline, in a checked plan: of all inferences that are prepared together.

Chi, a number for each element of each map's result of one sample, is drawn behind the last h. With g = E^T chi, for all
samples and inferences,

    <chi, tag_h> = <g, tag_B> + <chi, tag_t>        at the client
    <chi, local_h> = <g, local_B> + <chi, local_t>  at the server, which has sum chi h from the messages

so no party computes a map on tags. Each sample of each inference is compared by itself: errors in two of them, which
have the same chi, do not cancel. Chi and g are forgotten with the check; used again, they would let anything pass.

Chi of a map is a product, ``u_c w_p`` at channel c and position p, of numbers of 64 bits from the challenge's seed.
Then g takes a pass over the weights, and no map (:func:`~....plan.linear.transposed_of_product`). For that there are
two chi, and two answers: a sum of products is divisible by high powers of two more often than one of single numbers,
and two at once less often (docs/security.md has the bound, 2^-31 for both together).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...correlations.prepared import Shares
from ...correlations.stream import Stream
from ...correlations.tags import BLINDING, T, dot
from ...plan import linear
from ...plan.plan import Plan, Step
from ..walk import visited

#: Answers to a challenge, for each sample.
ANSWERS = 2


class MapCheck:
    """One challenge.

    Args:
        plan: checked.
        folded: ``E`` of every map, of :func:`~.blinded_weights.pack_folded`.
        seed: of chi.
    """

    def __init__(self, plan: Plan, folded: Mapping[str, Any], seed: bytes):
        self._plan, self._chi = plan.lifted, Stream(seed, 0)
        shapes = {step.name: step.shape for step in plan.steps}
        self._outer: dict[str, np.ndarray] = {}
        self._g: dict[str, np.ndarray] = {}
        for index, step in enumerate(self._plan.steps):
            if step.op == "map":
                outer, inner = (
                    np.stack([self._chi.words(index, slot(j), size) for j in range(ANSWERS)])
                    for slot, size in zip((_outer, _inner), linear.factors_of(step))
                )
                self._outer[step.name] = outer
                self._g[step.name] = linear.transposed_of_product(
                    step, folded[step.name], outer, inner, shapes[step.inputs[0]]
                )

    def of_made(self, held: Mapping[str, Shares], batch: int) -> np.ndarray:
        """Of h, from the tags (or their local parts) of what it is made of: (N, ANSWERS)."""
        values: dict[str, np.ndarray] = {}
        total = np.zeros((batch, ANSWERS), np.uint64)
        for index, step, inputs in visited(self._plan, values, self._plan.mapped):
            if step.op == "constant":
                values[step.name] = inputs[0]
                continue
            if step.op == "map":
                total += self._weighed(index, step, held[step.name][T])
                total += np.stack([dot(g, inputs[0]) for g in self._g[step.name]], 1)
            if BLINDING in held.get(step.name, {}):
                values[step.name] = held[step.name][BLINDING]
        return total

    def of_sent(self, h: Mapping[str, np.ndarray], batch: int) -> np.ndarray:
        """Of h as it was sent: (N, ANSWERS)."""
        total = np.zeros((batch, ANSWERS), np.uint64)
        for index, step in enumerate(self._plan.steps):
            if step.op == "map":
                total += self._weighed(index, step, h[step.name])
        return total

    def _weighed(self, index: int, step: Step, numbers: np.ndarray) -> np.ndarray:
        """``<chi, numbers>`` of a map's result (N, ...)."""
        outer, inner = linear.factors_of(step)
        rows = numbers.reshape(-1, inner)
        found = [self._chi.weigh(index, _inner(j), rows).reshape(-1, outer) for j in range(ANSWERS)]
        return np.stack([dot(u, sums) for u, sums in zip(self._outer[step.name], found)], 1)


def _outer(j: int) -> int:
    """Slot of the challenge's seed."""
    return 2 * j


def _inner(j: int) -> int:
    return 2 * j + 1
