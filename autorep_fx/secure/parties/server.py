"""The server: has the weights, learns nothing."""

from __future__ import annotations

from collections import deque

import numpy as np

from ..correlations.prepared import Prepared, Shares
from ..correlations.tags import KEY
from ..link.channel import Channel
from ..plan import linear, local, wire
from ..plan.plan import Plan, Step
from ..plan.ring import U64, elements, narrowed
from .check import Heard
from .party import Party
from .table import evaluate
from .talk import Talk
from .weights import Weights


class Server(Party):
    """Links: ``client``, and those that the maker of correlations needs.

    Online, per map: ``M' = W M + V``, with ``V = U + h + bias`` from the offline phase; per activation it sends
    ``m = M + s`` and receives the client's part of the next blinded wire. In a checked plan it asks the client about
    all that it said before it gives its half of the output (check.py).
    """

    def __init__(self, plan: Plan, weights: Weights, **links: Channel):
        super().__init__("server", plan, **links)
        self.weights = weights

    def made_ready(self, masks: dict[str, np.ndarray], batch: int) -> dict[str, np.ndarray]:
        """Masks and V of an inference, with all done that can be done before the input is there: the server's constants
        are added to them, and weights are laid out for inputs of this size."""
        shapes = {step.name: (batch, *step.shape) for step in self.plan.steps}
        for step in self.plan.steps:
            if step.op == "map":
                linear.prepare(step, self.weights.packed[step.name], shapes[step.inputs[0]])
            if step.name in self.weights.constants and step.name in masks:
                masks[step.name] += self.weights.constants[step.name]
        return masks

    def infer(self, prepared: Prepared) -> None:
        """The online phase.

        Raises:
            PartyError: ``prepared`` was used before.
            CheckFailed: the plan is checked, and the client's messages are not what they should be.
        """
        batch, (masks, shares) = prepared.batch, prepared.take()
        heard = Heard(shares.pop(self.plan.input.name)[KEY]) if self.plan.checked else None
        self.start_counting()
        client, gone = Talk(self.links["client"]), self.plan.last_uses()
        values: dict[str, np.ndarray] = {}
        #: Activations whose answer was not read yet, in the order in which the client sends them, with this party's
        #: share.
        waiting: deque[tuple[int, str, np.ndarray]] = deque()

        def value(name: str) -> np.ndarray:
            while name not in values:
                index, found, share = waiting.popleft()
                answer = np.empty(share.shape, share.dtype if heard is None else U64)
                client.receive(index, answer)
                if heard is not None:
                    heard.hear(index, answer)
                share += narrowed(answer, 8 * share.itemsize)
                values[found] = share
            return values[name]

        for index, step in enumerate(self.plan.steps):
            inputs = [value(name) for name in step.inputs]
            if step.op == "input":
                blinded = np.empty((batch, *step.shape), elements(step.width))
                client.receive(index, blinded)
                values[step.name] = blinded
            elif step.op == "map":
                packed = self.weights.packed[step.name]
                values[step.name] = linear.apply(step, packed, inputs[0], add=masks.pop(step.name))
            elif step.op == "constant":
                values[step.name] = narrowed(inputs[0], step.width) + self.weights.constants[step.name]
            elif step.op == "local":
                values[step.name] = local.apply(step, *inputs)
            else:
                if wire.exchanges(step) and waiting:
                    value(waiting[-1][1])  # its exchanges come after the client's earlier answers
                masked, at = masks.pop(step.name).reshape(batch, -1), 0  # each is used once, so what it masks is added
                for x in inputs:
                    part = narrowed(x, step.attrs["wire"]).reshape(batch, -1)
                    masked[:, at : at + part.shape[1]] += part
                    at += part.shape[1]
                if not step.answered and heard is not None:
                    if waiting:
                        value(waiting[-1][1])  # a challenge comes after all that it is about, used or not
                    heard.check(client)
                self._activate(index, step, masked, shares.pop(step.name), waiting, client, heard)
            for name in gone.get(step.name, ()):
                del values[name]

    def _activate(self, index: int, step: Step, masked: np.ndarray, shares: Shares, waiting: deque, client: Talk,
                  heard: Heard | None) -> None:  # fmt: skip
        exchange = client.exchange(index)
        if not step.answered:
            client.send(index, masked, evaluate(step, masked, shares, party=0, exchange=exchange))
            return
        client.send(index, masked)
        if heard is None:
            share = evaluate(step, masked, shares, party=0, exchange=exchange)
        else:
            share = heard.evaluate(index, step, masked, shares, client)
        waiting.append((index, step.name, share.reshape(len(masked), *step.shape)))
