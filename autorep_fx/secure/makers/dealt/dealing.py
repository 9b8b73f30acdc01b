"""What a dealer has to know of one masked operation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ....text import brief
from ...correlations.prepared import Shares
from ...correlations.stream import Stream
from ...plan.plan import Step
from .own import Own


def _as_they_are(step: Step, index: int, batch: int, shares: Shares, stream: Stream, key: np.ndarray | None) -> Shares:
    return shares


@dataclass(frozen=True)
class Dealing:
    """One operation.

    Attributes:
        deal: from the step, its index, the wires' masks r (N, P), what the client has of it (own.py), and the streams
            of server and dealer: the server's half of all shares as one buffer, and the comparison key, if there is
            one, for both.
        complete: a party's shares with what its own seed and the key add to them.
    """

    deal: Callable[[Step, int, np.ndarray, Own, Stream, Stream], tuple[np.ndarray, np.ndarray | None]] = field(
        repr=False
    )
    complete: Callable[[Step, int, int, Shares, Stream, np.ndarray | None], Shares] = field(
        default=_as_they_are, repr=False
    )

    __repr__ = brief
