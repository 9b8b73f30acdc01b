"""The server's half: E for the client, V of every map, its masks, and its part of the shares."""

from __future__ import annotations

import os

import numpy as np

from ...correlations import layout
from ...correlations.prepared import Prepared, Shares
from ...correlations.stream import Stream
from ...link.message import READY, SETUP
from ...parties.server import Server
from ...plan.plan import Step
from ...plan.ring import elements
from ..maker import Half
from .blinded_weights import BlindedWeights
from .seeds import WIRE_MASK
from .table import DEALINGS


class ServerHalf(Half):
    """Links: ``client``, ``dealer``.

    Once it sends ``E``. Then, per inference and map: ``V = U + h``, U from the dealer, h from the client; per
    activation the mask of its wire, from the seed, and what the dealer sends.
    """

    party: Server

    def __init__(self, party: Server, model: BlindedWeights):
        super().__init__(party)
        self.model, self.seed = model, os.urandom(16)

    def setup(self) -> None:
        self.share_seeds()
        self.send_weights()

    def share_seeds(self) -> None:
        """Give the dealer the seed of this session, and that of ``A``."""
        self.party.links["dealer"].send(SETUP, np.frombuffer(self.seed + self.model.seed, np.uint8))

    def send_weights(self) -> None:
        """Give the client ``E``."""
        for e in self.model.blinded():
            self.party.links["client"].send(SETUP, e)

    def prepare(self, batch: int) -> Prepared:
        self.party.start_counting()
        self.inference += 1
        stream = Stream(self.seed, self.inference)
        masks: dict[str, np.ndarray] = {}
        shares: dict[str, Shares] = {}
        for index, step in enumerate(self.party.plan.steps):
            if step.op == "map":
                masks[step.name] = self._sum(index, step, batch)
            elif step.masked:
                shares[step.name] = self._shares(step, index, batch, stream)
                masks[step.name] = stream.elements(index, WIRE_MASK, (batch, *step.wire_shape), step.attrs["wire"])
        self.party.links["client"].send(READY)
        return Prepared("server", batch, self.inference, self.party.made_ready(masks, batch), shares)

    def _sum(self, index: int, step: Step, batch: int) -> np.ndarray:
        u, h = (np.empty((batch, *step.shape), elements(step.width)) for _ in range(2))
        self.party.links["dealer"].receive(index, u)
        self.party.links["client"].receive(index, h)
        u += h
        return u

    def _shares(self, step: Step, index: int, batch: int, stream: Stream) -> Shares:
        found = layout.layout(step, batch)
        buffer = np.empty(layout.words(found), np.uint64)
        size = layout.key_words(step, batch)
        key = np.empty(size, np.uint64) if size else None
        self.party.links["dealer"].receive(index, *([buffer] if key is None else [buffer, key]))
        return DEALINGS[step.op].complete(step, index, batch, layout.views(buffer, found), stream, key)
