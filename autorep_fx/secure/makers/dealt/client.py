"""The client's half: its blindings, h of every map for the server, and its part of the shares."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ...correlations import layout
from ...correlations.prepared import Prepared, Shares
from ...correlations.stream import Stream
from ...link.message import READY, SETUP
from ...parties.party import Party
from ...plan import linear
from ...plan.plan import Step
from ...plan.ring import narrowed
from ..maker import Half
from ..walk import visited
from .blinded_weights import empty_blinded, pack_blinded
from .seeds import BLIND, SHARES, T_MASK
from .table import DEALINGS


class ClientHalf(Half):
    """Links: ``server``, ``dealer``.

    Once it receives ``E = W - A``. Then, per inference and map with the input's blinding ``B``: ``h = E B + t`` goes to
    the server; per activation the dealer sends the comparison key, and all else comes from the seed.
    """

    def __init__(self, party: Party):
        super().__init__(party)
        self.seed = os.urandom(16)
        self._weights: dict[str, Any] = {}

    def setup(self) -> None:
        self.share_seeds()
        self.take_weights(self.receive_weights())

    def share_seeds(self) -> None:
        """Give the dealer the seed of this session."""
        self.party.links["dealer"].send(SETUP, np.frombuffer(self.seed, np.uint8))

    def receive_weights(self) -> Iterator[np.ndarray]:
        """``E``, one map after the other."""
        for e in empty_blinded(self.party.plan):
            self.party.links["server"].receive(SETUP, e)
            yield e

    def take_weights(self, blinded: Iterable[np.ndarray]) -> None:
        """Lay out ``E``, from wherever it comes."""
        self._weights = pack_blinded(self.party.plan, blinded)

    def prepare(self, batch: int) -> Prepared:
        self.inference += 1
        self.party.start_counting()
        server = self.party.links["server"]
        stream = Stream(self.seed, self.inference)
        values: dict[str, np.ndarray] = {}
        blindings: dict[str, np.ndarray] = {}
        shares: dict[str, Shares] = {}
        for index, step, inputs in visited(self.party.plan, values):
            if step.op == "constant":
                values[step.name] = narrowed(inputs[0], step.width)
                continue
            if step.op == "map":
                h = stream.elements(index, T_MASK, (batch, *step.shape), step.width)
                server.send(index, linear.apply(step, self._weights[step.name], inputs[0], add=h))
            elif step.masked:
                shares[step.name] = self._shares(step, index, batch, stream)
            if step is not self.party.plan.output:
                values[step.name] = stream.elements(index, BLIND, (batch, *step.shape), step.width)
                if step.op != "map":
                    blindings[step.name] = values[step.name]
        server.receive(READY)
        return Prepared("client", batch, self.inference, blindings, shares)

    def _shares(self, step: Step, index: int, batch: int, stream: Stream) -> Shares:
        found = layout.layout(step, batch)
        shares = layout.views(stream.words(index, SHARES, layout.words(found)), found)
        key = None
        if size := layout.key_words(step, batch):
            key = np.empty(size, np.uint64)
            self.party.links["dealer"].receive(index, key)
        return DEALINGS[step.op].complete(step, index, batch, shares, stream, key)
