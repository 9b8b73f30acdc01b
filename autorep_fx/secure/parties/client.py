"""The client: has the input, learns the output."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..link.message import READY, REQUEST, SETUP
from ..plan import wire
from ..plan.plan import Plan, Step
from ..ring import decode, elements, encode, narrowed
from . import activation, maps
from .activation import Shares
from .correlations import BLIND, SHARES, T_MASK, Stream
from .party import Party, walk
from .prepared import Prepared
from .weights import empty_blinded, pack_blinded


class Client(Party):
    """Links: ``server``, ``dealer``. weights: of :func:`~.weights.pack_blinded`, where they are known already.

    Offline, per map: ``h = E B + t`` goes to the server. Online it computes no linear map at all: it sends ``x - B``,
    then for each activation receives ``m`` and sends its share of the result less the next blinding.
    """

    name = "client"

    def __init__(self, plan: Plan, weights: dict[str, Any] | None = None, **options):
        super().__init__(plan, **options)
        self.weights = weights or {}
        self.seed, self.inference = os.urandom(16), 0

    def setup(self) -> None:
        self.hello()
        self.share_seeds()
        self.weights = pack_blinded(self.plan, self.receive_weights())

    def receive_weights(self) -> Iterator[np.ndarray]:
        """``E``, one map after the other."""
        for e in empty_blinded(self.plan):
            self.links["server"].receive(SETUP, e)
            yield e

    def share_seeds(self) -> None:
        """Give the dealer the seed of this session."""
        self.links["dealer"].send(SETUP, np.frombuffer(self.seed, np.uint8))

    def request(self, batch: int) -> None:
        """Ask both others for the offline phase of an inference on ``batch`` samples; 0 says that there is no more."""
        for channel in self.links.values():
            channel.send(REQUEST, np.array([batch], np.int64))

    def prepare(self, batch: int) -> Prepared:
        """The offline phase of one inference on ``batch`` samples."""
        self.inference += 1
        self.start_counting()
        stream = Stream(self.seed, self.inference)
        blindings: dict[str, np.ndarray] = {}
        shares: dict[str, Shares] = {}

        def visit(index: int, step: Step, inputs: list[np.ndarray]) -> np.ndarray | None:
            if step.op == "constant":
                return narrowed(inputs[0], step.width)
            if step.op != "output":
                blinding = stream.elements(index, BLIND, (batch, *step.shape), step.width)
            if step.op == "map":
                h = stream.elements(index, T_MASK, (batch, *step.shape), step.width)
                h = maps.apply(step, self.weights[step.name], inputs[0], add=h)
                self.links["server"].send(index, h)
                return blinding
            if step.op != "input":
                shares[step.name] = self._shares(step, index, batch, stream)
            if step.op == "output":
                return None
            blindings[step.name] = blinding
            return blinding

        walk(self.plan, visit)
        self.links["server"].receive(READY)
        return Prepared(self.name, batch, self.inference, blindings, shares)

    def _shares(self, step: Step, index: int, batch: int, stream: Stream) -> Shares:
        found = wire.layout(step, batch)
        shares = wire.views(stream.words(index, SHARES, wire.words(found)), found)
        key = None
        if size := wire.key_words(step, batch):
            key = np.empty(size, np.uint64)
            self.links["dealer"].receive(index, key)
        return activation.complete(step, index, batch, shares, stream, key)

    def infer(self, prepared: Prepared, x: np.ndarray) -> np.ndarray:
        """The online phase: (N, ...) numbers in, the output in float64 out.

        Raises:
            ValueError: ``prepared`` is for another number of samples.
            PartyError: it was used before.
        """
        batch = prepared.batch
        if len(x) != batch:
            raise ValueError(f"prepared for {batch} samples, got {len(x)}")
        blindings, shares = prepared.take()
        server = self.links["server"]
        self.start_counting()
        for index, step in enumerate(self.plan.steps):
            if step.op == "input":
                server.send(index, narrowed(encode(x, step.frac_bits), step.width) - blindings.pop(step.name))
            elif step.op in ("activation", "product"):
                blinding = blindings.pop(step.name).reshape(batch, -1)
                m = np.empty((batch, step.wire_size), elements(step.attrs["wire"]))
                server.receive(index, m)
                server.send(index, self._evaluate(step, index, m, shares.pop(step.name), sub=blinding))
            elif step.op == "output":
                widths = step.attrs["wire"], step.width
                m, theirs = (np.empty((batch, step.size), elements(width)) for width in widths)
                server.receive(index, m, theirs)
                theirs += self._evaluate(step, index, m, shares.pop(step.name))
        return decode(theirs, self.plan.output.frac_bits).reshape(batch, *self.plan.output.shape)

    def _evaluate(
        self, step: Step, index: int, m: np.ndarray, shares: Shares, sub: np.ndarray | None = None
    ) -> np.ndarray:
        def exchange(mine: np.ndarray) -> np.ndarray:
            theirs = np.empty_like(mine)
            self.links["server"].exchange(index, np.ascontiguousarray(mine), theirs)
            return theirs

        return activation.evaluate(step, m, shares, party=1, exchange=exchange, sub=sub)
