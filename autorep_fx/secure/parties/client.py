"""The client: has the input, learns the output."""

from __future__ import annotations

import numpy as np

from ..correlations.prepared import Prepared, Shares
from ..link.channel import Channel
from ..plan.plan import Plan, Step
from ..plan.ring import decode, elements, encode, narrowed
from .check import Said
from .party import Party
from .table import evaluate
from .talk import Talk


class Client(Party):
    """Links: ``server``, and those that the maker of correlations needs.

    Online it computes no linear map at all: it sends ``x - B``, then for each activation receives ``m`` and sends its
    share of the result less the next blinding. In a checked plan it has all of its numbers in 64 bits, and answers what
    the server asks about them before it gets the output (check.py).
    """

    def __init__(self, plan: Plan, **links: Channel):
        super().__init__("client", plan, **links)

    def infer(self, prepared: Prepared, x: np.ndarray) -> np.ndarray:
        """The online phase: (N, ...) numbers in (rows, of several inputs), the output in float64 out.

        Raises:
            ValueError: ``prepared`` is for another number of samples.
            PartyError: it was used before.
        """
        batch = prepared.batch
        if len(x) != batch:
            raise ValueError(f"prepared for {batch} samples, got {len(x)}")
        blindings, shares = prepared.take()
        server, said, given = Talk(self.links["server"]), Said(), self.plan.given(x)
        self.start_counting()
        for index, step in enumerate(self.plan.steps):
            if step.op == "input":
                blinding = narrowed(blindings.pop(step.name), step.width)
                server.send(index, narrowed(encode(given.pop(step.name), step.frac_bits), step.width) - blinding)
            elif step.answered:
                blinding = blindings.pop(step.name).reshape(batch, -1)
                m = np.empty((batch, step.wire_size), elements(step.attrs["wire"]))
                server.receive(index, m)
                if self.plan.checked:
                    said.say(index, step.lifted, m, shares.pop(step.name), blinding, server)
                    continue
                server.send(index, self._evaluate(step, index, m, shares.pop(step.name), server, sub=blinding))
            elif step.masked:
                if self.plan.checked:
                    said.answer(server)
                widths = step.attrs["wire"], step.width
                m, theirs = (np.empty((batch, step.size), elements(width)) for width in widths)
                server.receive(index, m, theirs)
                theirs += narrowed(self._evaluate(step, index, m, shares.pop(step.name), server), step.width)
        return decode(theirs, self.plan.output.frac_bits).reshape(batch, *self.plan.output.shape)

    def _evaluate(
        self, step: Step, index: int, m: np.ndarray, shares: Shares, server: Talk, sub: np.ndarray | None = None
    ) -> np.ndarray:
        return evaluate(step, m, shares, party=1, exchange=server.exchange(index), sub=sub)
