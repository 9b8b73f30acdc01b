"""The server: has the weights, learns nothing."""

from __future__ import annotations

import os
from collections import deque

import numpy as np

from ..link.message import READY, SETUP
from ..plan import local, wire
from ..plan.plan import Plan, Step
from ..ring import elements, narrowed
from . import activation, maps
from .activation import Shares
from .correlations import WIRE_MASK, Stream
from .party import Party
from .prepared import Prepared
from .weights import Weights


class Server(Party):
    """Links: ``client``, ``dealer``.

    Once it sends ``E = W - A``. Online, per map: ``M' = W M + V``, with ``V = U + h + bias`` from the offline
    phase; per activation it sends ``m = M + s`` and receives the client's part of the next blinded wire.
    """

    name = "server"

    def __init__(self, plan: Plan, weights: Weights, **options):
        super().__init__(plan, **options)
        self.weights, self.constants = weights.packed, weights.constants
        self.model = weights
        self.seed, self.inference = os.urandom(16), 0

    def setup(self) -> None:
        self.hello()
        self.share_seeds()
        self.send_weights()

    def send_weights(self) -> None:
        """Give the client ``E``."""
        for e in self.model.blinded():
            self.links["client"].send(SETUP, e)

    def share_seeds(self) -> None:
        """Give the dealer the seed of this session, and that of ``A``."""
        self.links["dealer"].send(SETUP, np.frombuffer(self.seed + self.model.seed, np.uint8))

    def prepare(self, batch: int) -> Prepared:
        """The offline phase of one inference on ``batch`` samples."""
        self.start_counting()
        self.inference += 1
        stream = Stream(self.seed, self.inference)
        added: dict[str, np.ndarray] = {}
        shares: dict[str, Shares] = {}
        shapes = {step.name: (batch, *step.shape) for step in self.plan.steps}
        for index, step in enumerate(self.plan.steps):
            if step.op == "map":
                maps.prepare(step, self.weights[step.name], shapes[step.inputs[0]])
                added[step.name] = self._sum(index, step, batch)
            elif step.op in ("activation", "product", "output"):
                shares[step.name] = self._shares(step, index, batch, stream)
                shape = (step.wire_size,) if step.op == "product" else step.shape
                mask = stream.elements(index, WIRE_MASK, (batch, *shape), step.attrs["wire"])
                if step.name in self.constants:
                    mask += self.constants[step.name]
                added[step.name] = mask
        self.links["client"].send(READY)
        return Prepared(self.name, batch, self.inference, added, shares)

    def _sum(self, index: int, step: Step, batch: int) -> np.ndarray:
        u, h = (np.empty((batch, *step.shape), elements(step.width)) for _ in range(2))
        self.links["dealer"].receive(index, u)
        self.links["client"].receive(index, h)
        u += h
        if step.name in self.constants:
            u += self.constants[step.name]
        return u

    def _shares(self, step: Step, index: int, batch: int, stream: Stream) -> Shares:
        found = wire.layout(step, batch)
        buffer = np.empty(wire.words(found), np.uint64)
        size = wire.key_words(step, batch)
        key = np.empty(size, np.uint64) if size else None
        self.links["dealer"].receive(index, *([buffer] if key is None else [buffer, key]))
        return activation.complete(step, index, batch, wire.views(buffer, found), stream, key)

    def infer(self, prepared: Prepared) -> None:
        """The online phase.

        Raises:
            PartyError: ``prepared`` was used before.
        """
        batch, (added, shares) = prepared.batch, prepared.take()
        self.start_counting()
        client, gone = self.links["client"], self.plan.last_uses()
        values: dict[str, np.ndarray] = {}
        #: Activations whose answer was not read yet, in the order in which the client sends them, with this party's
        #: share.
        waiting: deque[tuple[int, str, np.ndarray]] = deque()

        def value(name: str) -> np.ndarray:
            while name not in values:
                index, found, share = waiting.popleft()
                answer = np.empty_like(share)
                client.receive(index, answer)
                share += answer
                values[found] = share
            return values[name]

        for index, step in enumerate(self.plan.steps):
            inputs = [value(name) for name in step.inputs]
            if step.op == "input":
                blinded = np.empty((batch, *step.shape), elements(step.width))
                client.receive(index, blinded)
                values[step.name] = blinded
            elif step.op == "map":
                values[step.name] = maps.apply(step, self.weights[step.name], inputs[0], add=added.pop(step.name))
            elif step.op == "constant":
                values[step.name] = narrowed(inputs[0], step.width) + self.constants[step.name]
            elif step.op == "local":
                values[step.name] = local.apply(step, *inputs)
            else:
                if step.op == "activation" and wire.exchanges(step) and waiting:
                    value(waiting[-1][1])  # its exchanges come after the client's earlier answers
                wires = [narrowed(x, step.attrs["wire"]) for x in inputs]
                wires = wires[0] if len(wires) == 1 else np.concatenate([x.reshape(batch, -1) for x in wires], 1)
                self._activate(index, step, wires + added.pop(step.name), shares.pop(step.name), waiting)
            for name in gone.get(step.name, ()):
                del values[name]

    def _activate(self, index: int, step: Step, masked: np.ndarray, shares: Shares, waiting: deque) -> None:
        client = self.links["client"]
        masked = masked.reshape(len(masked), -1)

        def exchange(mine: np.ndarray) -> np.ndarray:
            theirs = np.empty_like(mine)
            client.exchange(index, np.ascontiguousarray(mine), theirs)
            return theirs

        if step.op == "output":
            client.send(index, masked, activation.evaluate(step, masked, shares, party=0, exchange=exchange))
            return
        client.send(index, masked)
        share = activation.evaluate(step, masked, shares, party=0, exchange=exchange)
        waiting.append((index, step.name, share.reshape(len(masked), *step.shape)))
