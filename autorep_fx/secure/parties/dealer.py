"""The dealer: makes correlated randomness, sees nothing of input, weights or output."""

from __future__ import annotations

import numpy as np

from ..link.message import SETUP
from ..plan.plan import Step
from ..ring import narrowed
from . import activation, maps
from .correlations import BLIND, T_MASK, WEIGHT_MASK, WIRE_MASK, Stream
from .party import Party, walk


class Dealer(Party):
    """Links: ``client``, ``server``.

    Once per model it receives both seeds and lays out every map's ``A``. Then, per inference and map, with the input's
    blinding ``B``: ``U = A B - t - c`` goes to the server; per activation and output, with ``r = s - B``: shares and
    key. One ring convolution a layer. Layers are streamed: nothing is kept.
    """

    name = "dealer"

    def setup(self) -> None:
        self.hello()
        self.seeds = {}
        for peer, channel in self.links.items():
            seed = np.empty(16, np.uint8)
            channel.receive(SETUP, seed)
            self.seeds[peer] = seed.tobytes()
        model = Stream(self.seeds["server"], 0)
        self.masks = {
            step.name: maps.pack(step, model.elements(index, WEIGHT_MASK, maps.weight_shape(step), step.width))
            for index, step in enumerate(self.plan.steps)
            if step.op == "map"
        }
        self.inference = 0

    def serve(self, batch: int) -> None:
        """Deal one inference on ``batch`` samples."""
        self.start_counting()
        self.inference += 1
        client, server = (Stream(self.seeds[p], self.inference) for p in ("client", "server"))

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
            shares, key = activation.deal(step, index, r, client, server)
            if key is not None:
                self.links["client"].send(index, key)
                self.links["server"].send(index, shares, key)
            else:
                self.links["server"].send(index, shares)
            return None if step.op == "output" else client.elements(index, BLIND, shape, step.width)

        walk(self.plan, visit)
