"""The dealer: makes correlated randomness, sees nothing of input, weights or output."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from ....text import brief
from ...correlations.stream import Stream
from ...link.message import SETUP
from ...parties.party import Party
from ...plan import linear
from ...plan.plan import Plan, Step
from ...plan.ring import narrowed
from ..maker import Helper
from ..walk import visited
from .blinded_weights import pack_masks
from .own import own
from .seeds import WIRE_MASK, Seeds
from .table import DEALINGS


class Message(NamedTuple):
    """What goes to one party for one step."""

    peer: str
    step: int
    arrays: tuple[np.ndarray, ...]

    def __repr__(self) -> str:
        return brief(self)


def deal(plan: Plan, masks: Mapping[str, Any], seeds: Seeds, number: int, batch: int) -> Iterator[Message]:
    """All that inference ``number`` on ``batch`` samples is dealt, in the order in which it is sent.

    Per map, with the input's blinding ``B``: ``U = A B - t - c`` for the server; per activation and output, with
    ``r = s - B``: shares and key. In a checked plan also, for the client, the tags of what it holds of a step, and no U
    that is of the server's seed (own.py). One ring convolution a layer. It follows from the arguments alone, so an
    inference may be dealt anywhere; layers are streamed, nothing is kept.

    Args:
        masks: ``A`` of every map, of :func:`~.blinded_weights.pack_masks`.
    """
    client, server, public = (Stream(seed, number) for seed in (seeds.client, seeds.server, seeds.dealer))
    mine = own(plan, client, server)
    values: dict[str, np.ndarray] = {}
    for index, step, inputs in visited(plan, values):
        to_client = mine.tags(step, index, batch)
        to_server: tuple[np.ndarray, ...] = ()
        if step.op == "input":
            values[step.name] = mine.blinding(step, index, batch)
        elif step.op == "constant":
            values[step.name] = narrowed(inputs[0], step.width)
        elif step.op == "map":
            product = linear.apply(step, masks[step.name], inputs[0]) - mine.t_mask(step, index, batch)
            values[step.name], u = mine.map(step, index, batch, product)
            to_server = () if u is None else (u,)
        else:
            r = _wire_mask(index, step, inputs, batch, server)
            shares, key = DEALINGS[step.op].deal(step, index, r, mine, server, public)
            to_both = () if key is None else (key,)
            to_client, to_server = (*to_client, *to_both), (shares, *to_both)
            if step.answered:
                values[step.name] = mine.blinding(step, index, batch)
        if to_client:
            yield Message("client", index, to_client)
        if to_server:
            yield Message("server", index, to_server)


def _wire_mask(index: int, step: Step, inputs: list[np.ndarray], batch: int, server: Stream) -> np.ndarray:
    """r of a masked wire, (N, P): what the server adds, less what blinds what it has."""
    width = step.attrs["wire"]
    blinding = np.concatenate([narrowed(x, width).reshape(batch, -1) for x in inputs], 1)
    return server.elements(index, WIRE_MASK, (batch, step.wire_size), width) - blinding


class Dealer(Helper):
    """Links: ``client``, ``server``. Once it receives the seeds and lays out every map's ``A``; then it deals.

    Attributes:
        seeds: of this session, once they are received.
    """

    def __init__(self, party: Party):
        super().__init__(party)
        self.seed = os.urandom(16)
        self._masks: Mapping[str, Any] = {}

    def setup(self) -> None:
        self._masks = pack_masks(self.party.plan, self.receive_seeds())

    def receive_seeds(self) -> bytes:
        """Learn the seeds of this session; that of ``A`` is returned."""
        client, server = np.empty(16, np.uint8), np.empty(32, np.uint8)
        self.party.links["client"].receive(SETUP, client)
        self.party.links["server"].receive(SETUP, server)
        self.seeds = Seeds(client.tobytes(), server[:16].tobytes(), self.seed)
        return server[16:].tobytes()

    def serve(self, batch: int) -> None:
        self.send(deal(self.party.plan, self._masks, self.seeds, self.inference + 1, batch))

    def send(self, messages: Iterable[Message]) -> None:
        """Send what the next inference is dealt, wherever that was made."""
        self.party.start_counting()
        self.inference += 1
        for peer, step, arrays in messages:
            self.party.links[peer].send(step, *arrays)
