"""The dealer: at party 0 (TFP), or a third process (TTP)."""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ..roles import DEALER, SERVER
from .plan import Plan
from .streams import Stream, new_seed
from .weights import Factor

#: What a dealer prepares ahead of the server, at most.
_AHEAD_BYTES = 64 << 20


class Dealer:
    """Both parties' streams, and the server's weight masks.

    Args:
        seeds: of the server's weight masks, the server's and the client's correlations.
    """

    def __init__(self, plan: Plan, seeds: list[bytes]):
        masks, self._server, self._client = map(Stream, seeds)
        self._plan = plan
        self._factors = {name: Factor(weight, masks(weight.shape)) for name, weight in plan.weights.items()}

    def deal(self, step: str) -> Tensor:
        """What the server gets for one step, in a row."""
        parts = []
        for correlation in self._plan.needs[step].values():
            parts += correlation.deal(self._server, self._client, self._factors)
        return parts[0].flatten() if len(parts) == 1 else torch.cat([part.flatten() for part in parts])


def serve(communicator: Any) -> None:
    """The third process, once connected (``provider="TTP"``).

    1. The server sends the plan: sizes only.
    2. Each party gets its seeds, the server that of its weight masks too.
    3. After the server's word, one message to it a step, in the order of the plan. The client gets none.
    4. The server says goodbye (CrypTen does, at the end of the process).
    """
    group, link = communicator.ttp_group, communicator.ttp_comm_group
    plan = Plan.from_json(communicator.recv_obj(SERVER, group))
    seeds = [new_seed() for _ in range(3)]
    for rank, own in enumerate((seeds[:2], seeds[2:])):
        dist.send(seed_words(b"".join(own)), rank, group)
    dealer = Dealer(plan, seeds)
    dist.recv(torch.empty(1, dtype=torch.int64), SERVER, link)
    waiting: deque = deque()
    for tag, step in enumerate(plan.needs, 1):
        dealt = dealer.deal(step)
        while waiting and sum(t.nbytes for _, t in waiting) + dealt.nbytes > _AHEAD_BYTES:
            waiting.popleft()[0].wait()
        waiting.append((dist.isend(dealt, SERVER, link, tag=tag), dealt))
    for work, _ in waiting:
        work.wait()
    communicator.recv_obj(SERVER, group)


def receive_seeds(communicator: Any, count: int) -> list[bytes]:
    """A party's seeds from the third process."""
    words = torch.empty(2 * count, dtype=torch.int64)
    dist.recv(words, DEALER, communicator.ttp_group)
    return to_seeds(words)


def to_seeds(words: Tensor) -> list[bytes]:
    data = words.numpy().tobytes()
    return [data[i : i + 16] for i in range(0, len(data), 16)]


def seed_words(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.int64)
