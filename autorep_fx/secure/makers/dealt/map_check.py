"""The check of what a client makes of ``E`` offline, in a checked plan: of all inferences that are prepared together.

Chi, a number of 64 bits for each element of each map's result of one sample, is drawn behind the last h. With
g = E^T chi, one transposed map for all samples and inferences,

    <chi, tag_h> = <g, tag_B> + <chi, tag_t>        at the client
    <chi, local_h> = <g, local_B> + <chi, local_t>  at the server, which has sum chi h from the messages

so no party computes a map on tags. Each sample of each inference is compared by itself: errors in two of them, which
have the same chi, do not cancel. Chi and g are forgotten with the check; used again, they would let anything pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...correlations.prepared import Shares
from ...correlations.stream import Stream
from ...correlations.tags import BLINDING, T, dot
from ...plan import linear
from ...plan.plan import Plan
from ...plan.ring import U64
from ..walk import visited


class MapCheck:
    """One challenge.

    Args:
        plan: checked.
        transposed: ``E`` of every map, of :func:`~.blinded_weights.pack_transposed`.
        seed: of chi.
    """

    def __init__(self, plan: Plan, transposed: Mapping[str, Any], seed: bytes):
        self._plan, self._chi = plan.lifted, Stream(seed, 0)
        shapes = {step.name: step.shape for step in plan.steps}
        self._g: dict[str, np.ndarray] = {}
        for index, step in enumerate(self._plan.steps):
            if step.op == "map":
                chi = self._chi.words(index, 0, (1, *step.shape))
                self._g[step.name] = linear.apply_transposed(step, transposed[step.name], chi, shapes[step.inputs[0]])

    def of_made(self, held: Mapping[str, Shares], batch: int) -> np.ndarray:
        """Of h, from the tags (or their local parts) of what it is made of: (N,)."""
        values: dict[str, np.ndarray] = {}
        total = np.zeros(batch, U64)
        for index, step, inputs in visited(self._plan, values, self._plan.mapped):
            if step.op == "constant":
                values[step.name] = inputs[0]
                continue
            if step.op == "map":
                t = self._chi.weigh(index, 0, held[step.name][T].reshape(batch, -1))
                total += t + dot(self._g[step.name], inputs[0])
            if BLINDING in held.get(step.name, {}):
                values[step.name] = held[step.name][BLINDING]
        return total

    def of_sent(self, h: Mapping[str, np.ndarray], batch: int) -> np.ndarray:
        """Of h as it was sent: (N,)."""
        total = np.zeros(batch, U64)
        for index, step in enumerate(self._plan.steps):
            if step.op == "map":
                total += self._chi.weigh(index, 0, h[step.name].reshape(batch, -1))
        return total
