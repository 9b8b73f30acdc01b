"""Where a party's correlations come from, a step of the program at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from ...correlations import layout
from ...correlations.stream import Stream
from ...plan.plan import Plan
from ...plan.ring import U64
from ..meter import Meter
from ..roles import DEALER
from .correlations import Held, dealt_layout, from_seed, held
from .plan import Turn, turns


class Source:
    """This party's part of every correlation, each given out once.

    Args:
        stream: of this party.
        dealt: what the dealer has for the server of each correlation; None at the client, which has it from its seed.
    """

    def __init__(self, needs: Plan, batch: int, party: int, stream: Stream,
                 dealt: Callable[[Turn], list[np.ndarray]] | None, meter: Meter):  # fmt: skip
        self._batch, self._party, self._stream, self._meter = batch, party, stream, meter
        self._dealt = dealt or (lambda turn: [from_seed(need, index, batch, stream) for index, need in turn])
        self._left = iter(turns(needs).items())

    def take(self, step: str) -> dict[str, Held]:
        """The correlations of a step, by name.

        Raises:
            RuntimeError: they are used up, or it is another step's turn.
        """
        name, turn = next(self._left, (None, []))
        if name != step:
            raise RuntimeError(f"correlations are dealt for {name!r} next, and step {step!r} asks for its own")
        with self._meter.providing():
            return {need.name: held(need, index, self._batch, self._party, self._stream, dealt)
                    for (index, need), dealt in zip(turn, self._dealt(turn))}  # fmt: skip


class Remote:
    """What a third process deals to the server; the next message is asked for before it is needed."""

    def __init__(self, needs: Plan, batch: int, communicator: Any, meter: Meter):
        self._batch, self._link, self._meter = batch, communicator.ttp_comm_group, meter
        self._left = iter(enumerate(turns(needs).values(), 1))
        self._next = None

    def start(self) -> None:
        """The online phase begins."""
        dist.send(torch.ones(1, dtype=torch.int64), DEALER, self._link)
        self._meter.rounds[1] += 1
        self._next = self._ask()

    def __call__(self, turn: Turn) -> list[np.ndarray]:
        work, buffer = self._next
        with self._meter.wait_for_peer():
            work.wait()
        self._meter.rounds[1] += 1
        self._meter.dealt_bytes += buffer.nbytes
        self._next = self._ask()
        return np.split(buffer.numpy().view(U64), np.cumsum(self._sizes(turn))[:-1])

    def _ask(self) -> tuple[Any, torch.Tensor] | None:
        tag, turn = next(self._left, (0, None))
        if turn is None:
            return None
        buffer = torch.empty(sum(self._sizes(turn)), dtype=torch.int64)
        return dist.irecv(buffer, DEALER, self._link, tag=tag), buffer

    def _sizes(self, turn: Turn) -> list[int]:
        return [layout.words(dealt_layout(need, self._batch)) for _, need in turn]
