"""The dealer: makes correlated randomness, sees nothing of input, weights or output."""

from __future__ import annotations

import os

import numpy as np

from ..link.message import SETUP
from ..plan.plan import Plan, Step
from ..ring import narrowed
from . import activation, maps
from .correlations import BLIND, T_MASK, WIRE_MASK, Stream
from .party import Party, walk
from .weights import pack_masks


class Dealer(Party):
    """Links: ``client``, ``server``.

    Once it receives the seeds and lays out every map's ``A``. Then, per inference and map, with the input's
    blinding ``B``: ``U = A B - t - c`` goes to the server; per activation and output, with ``r = s - B``: shares and
    key. One ring convolution a layer. Layers are streamed: nothing is kept. What it deals follows from the seeds,
    its own among them, and the number of the inference: it may be dealt anywhere.
    """

    name = "dealer"

    def __init__(self, plan: Plan, **options):
        super().__init__(plan, **options)
        self.seed, self.inference = os.urandom(16), 0
        self.seeds: dict[str, bytes] = {}

    def setup(self) -> None:
        self.hello()
        self.masks = pack_masks(self.plan, self.receive_seeds())

    def receive_seeds(self) -> bytes:
        """Learn the seeds of this session; that of ``A`` is returned."""
        client, server = np.empty(16, np.uint8), np.empty(32, np.uint8)
        self.links["client"].receive(SETUP, client)
        self.links["server"].receive(SETUP, server)
        self.seeds = {"client": client.tobytes(), "server": server[:16].tobytes()}
        return server[16:].tobytes()

    def serve(self, batch: int) -> None:
        """Deal one inference on ``batch`` samples."""
        self.start_counting()
        self.inference += 1
        client, server = (Stream(self.seeds[p], self.inference) for p in ("client", "server"))
        public = Stream(self.seed, self.inference)

        def visit(index: int, step: Step, inputs: list[np.ndarray]) -> np.ndarray | None:
            shape = (batch, *step.shape)
            if step.op == "input":
                return client.elements(index, BLIND, shape, step.width)
            if step.op == "constant":
                return narrowed(inputs[0], step.width)
            if step.op == "map":
                mask, c = (client.elements(index, slot, shape, step.width) for slot in (T_MASK, BLIND))
                mask += c
                self.links["server"].send(index, maps.apply(step, self.masks[step.name], inputs[0]) - mask)
                return c
            width = step.attrs["wire"]
            blinding = np.concatenate([narrowed(x, width).reshape(batch, -1) for x in inputs], 1)
            r = server.elements(index, WIRE_MASK, (batch, step.wire_size), width) - blinding
            shares, key = activation.deal(step, index, r, client, server, public)
            if key is not None:
                self.links["client"].send(index, key)
                self.links["server"].send(index, shares, key)
            else:
                self.links["server"].send(index, shares)
            return None if step.op == "output" else client.elements(index, BLIND, shape, step.width)

        walk(self.plan, visit)
