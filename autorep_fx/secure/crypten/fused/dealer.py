"""The dealer: at party 0 (TFP), or a third process (TTP)."""

from __future__ import annotations

import os
from collections import deque
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from ...correlations.stream import Stream
from ...makers.dealt.blinded_weights import pack_masks
from ...plan.plan import Plan
from ...plan.ring import U64
from ..roles import DEALER, SERVER
from . import correlations
from .plan import Turn, from_text, prepare, turns

#: What a dealer prepares ahead of the server, at most.
_AHEAD_BYTES = 64 << 20

#: Words of a seed, and the number of the inference that a run makes: seeds are of one run.
SEED_WORDS, INFERENCE = 2, 1


class Dealer:
    """Both parties' streams, and the server's weight masks.

    Args:
        seeds: of the server's weight masks, the server's and the client's correlations.
    """

    def __init__(self, needs: Plan, batch: int, seeds: list[bytes]):
        self._batch, self._masks = batch, prepare(needs, batch, pack_masks(needs, seeds[0]))
        self._server, self._client = (Stream(seed, INFERENCE) for seed in seeds[1:])

    def deal(self, turn: Turn) -> list[np.ndarray]:
        """What the server gets for each correlation."""
        return [correlations.deal(need, index, self._batch, self._server, self._client, self._masks)
                for index, need in turn]  # fmt: skip


def serve(communicator: Any) -> None:
    """The third process, once connected (``provider="TTP"``).

    1. The server sends the plan: sizes only.
    2. Each party gets its seeds, the server that of its weight masks too.
    3. After the server's word, one message to it a step, in the order of the plan. The client gets none.
    """
    group, link = communicator.ttp_group, communicator.ttp_comm_group
    needs, batch = from_text(communicator.recv_obj(SERVER, group))
    seeds = [new_seed() for _ in range(3)]
    for rank, own in enumerate((seeds[:2], seeds[2:])):
        dist.send(torch.from_numpy(to_words(own).view(np.int64)), rank, group)
    dealer = Dealer(needs, batch, seeds)
    dist.recv(torch.empty(1, dtype=torch.int64), SERVER, link)
    waiting: deque = deque()
    for tag, turn in enumerate(turns(needs).values(), 1):
        dealt = torch.from_numpy(np.concatenate(dealer.deal(turn)).view(np.int64))
        while waiting and sum(t.nbytes for _, t in waiting) + dealt.nbytes > _AHEAD_BYTES:
            waiting.popleft()[0].wait()
        waiting.append((dist.isend(dealt, SERVER, link, tag=tag), dealt))
    for work, _ in waiting:
        work.wait()


def receive_seeds(communicator: Any, count: int) -> list[bytes]:
    """A party's seeds from the third process."""
    words = torch.empty(SEED_WORDS * count, dtype=torch.int64)
    dist.recv(words, DEALER, communicator.ttp_group)
    return to_seeds(words.numpy())


def new_seed() -> bytes:
    return os.urandom(16)


def to_words(seeds: list[bytes]) -> np.ndarray:
    return np.frombuffer(bytearray().join(seeds), U64)  # writable, as torch wants it


def to_seeds(words: np.ndarray) -> list[bytes]:
    data = words.tobytes()
    return [data[i : i + 16] for i in range(0, len(data), 16)]
