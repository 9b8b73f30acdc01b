"""Where a party's correlations come from, a step at a time."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ..meter import Meter
from ..roles import DEALER
from .correlations import split
from .plan import Plan
from .streams import Stream


class Source:
    """This party's part of every correlation, each given out once.

    Args:
        draw: this party's stream.
        dealt: step -> what the dealer has for the server, in a row; None at the client, which has all from its seed.
    """

    def __init__(self, plan: Plan, draw: Stream, dealt: Callable[[str], Tensor] | None, meter: Meter):
        self._plan, self._draw, self._dealt, self._meter = plan, draw, dealt, meter
        self._left = iter(plan.needs)

    def take(self, step: str) -> dict[str, tuple]:
        """The correlations of a step, by role.

        Raises:
            RuntimeError: they are used up, or it is another step's turn.
        """
        turn = next(self._left, None)
        if turn != step:
            raise RuntimeError(f"correlations are dealt for {turn!r} next, and step {step!r} asks for its own")
        needs = self._plan.needs[step]
        with self._meter.providing():
            if self._dealt is None:
                return {role: correlation.client(self._draw) for role, correlation in needs.items()}
            sizes = [sum(map(prod, correlation.dealt())) for correlation in needs.values()]
            flat = self._dealt(step).split(sizes)
            return {role: c.server(self._draw, *split(c, part)) for (role, c), part in zip(needs.items(), flat)}


class Remote:
    """What a third process deals to the server; the next message is asked for before it is needed."""

    def __init__(self, plan: Plan, communicator: Any, meter: Meter):
        self._link, self._meter = communicator.ttp_comm_group, meter
        self._steps = iter(enumerate(plan.needs.items(), 1))
        self._next = None

    def start(self) -> None:
        """The online phase begins."""
        dist.send(torch.ones(1, dtype=torch.int64), DEALER, self._link)
        self._meter.rounds[1] += 1
        self._next = self._ask()

    def __call__(self, step: str) -> Tensor:
        work, buffer = self._next
        with self._meter.wait_for_peer():
            work.wait()
        self._meter.rounds[1] += 1
        self._meter.dealt_bytes += buffer.nbytes
        self._next = self._ask()
        return buffer

    def _ask(self) -> tuple[Any, Tensor] | None:
        tag, (_, needs) = next(self._steps, (0, (None, None)))
        if needs is None:
            return None
        buffer = torch.empty(sum(prod(s) for c in needs.values() for s in c.dealt()), dtype=torch.int64)
        return dist.irecv(buffer, DEALER, self._link, tag=tag), buffer
