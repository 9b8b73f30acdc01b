"""The server's half in a checked plan: the local parts of the client's tags, and the check of every h."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ....text import brief
from ...correlations import layout
from ...correlations.prepared import Prepared, Shares
from ...correlations.stream import Stream
from ...correlations.tags import KEY, with_tags
from ...link.message import READY
from ...parties.check import challenge, need
from ...plan import wire
from ...plan.plan import Step
from ...plan.ring import U64, elements, narrowed
from .map_check import ANSWERS, MapCheck
from .own import check_key, drawn_u, draws_u, is_tagged, local, opening_masks
from .seeds import ROOT, WIRE_MASK
from .server import ServerHalf


@dataclass
class _Made:
    """One inference before its check: masks and shares, the local parts of the client's tags, h, and the key."""

    number: int
    key: np.ndarray
    masks: dict[str, np.ndarray] = field(default_factory=dict)
    shares: dict[str, Shares] = field(default_factory=dict)
    local: dict[str, Shares] = field(default_factory=dict)
    sent: dict[str, np.ndarray] = field(default_factory=dict)

    __repr__ = brief


class CheckedServerHalf(ServerHalf):
    """h has 64 bits a number. Once all of them are there, of all inferences that are prepared together, it asks about
    them, and nothing that did not pass leaves this class."""

    def prepare(self, batch: int) -> Prepared:
        return self.prepare_several(batch, 1)[0]

    def prepare_several(self, batch: int, count: int) -> list[Prepared]:
        """The offline phase of the next ``count`` inferences.

        Raises:
            CheckFailed: what the client sent is not what it should be.
        """
        self.party.start_counting()
        client = self.party.links["client"]
        made = [self._make(batch) for _ in range(count)]
        if any(step.op == "map" for step in self.party.plan.steps):
            answers = np.empty((count, batch, ANSWERS), U64)
            check = MapCheck(self.party.plan, self.model.folded, challenge(client, answers))
            wanted = [each.key * check.of_sent(each.sent, batch) + check.of_made(each.local, batch) for each in made]
            need(answers, np.stack(wanted))
        client.send(READY)
        return [self._prepared(each, batch) for each in made]

    def _make(self, batch: int) -> _Made:
        self.inference += 1
        stream = Stream(self.seed, self.inference)
        made = _Made(self.inference, check_key(stream))
        for index, step in enumerate(self.party.plan.steps):
            if is_tagged(step):
                made.local[step.name] = local(self.party.plan.lifted, index, batch, stream)[1]
            if step.op == "map":
                made.masks[step.name], made.sent[step.name] = self._sum_of(index, step, batch, stream)
            elif step.masked:
                values = self._values(step, index, batch, stream)
                made.shares[step.name] = with_tags(values, made.local.get(step.name, {}))
                mask = stream.elements(index, WIRE_MASK, (batch, *step.wire_shape), step.attrs["wire"])
                made.masks[step.name] = mask
        made.shares[self.party.plan.input.name] = {KEY: made.key}
        return made

    def _sum_of(self, index: int, step: Step, batch: int, stream: Stream) -> tuple[np.ndarray, np.ndarray]:
        """``U + h``, and h as it came."""
        h = np.empty((batch, *step.shape), U64)
        if draws_u(self.party.plan, step):
            u = drawn_u(step, index, batch, stream)
        else:
            u = np.empty((batch, *step.shape), elements(step.width))
            self.party.links["dealer"].receive(index, u)
        self.party.links["client"].receive(index, h)
        u += narrowed(h, step.width)
        return u, h

    def _values(self, step: Step, index: int, batch: int, stream: Stream) -> Shares:
        """The server's shares."""
        found = layout.whole(step, batch)
        buffer, size = np.empty(layout.words(found), U64), layout.key_words(step, batch, checked=True)
        key = np.empty(size, U64)
        self.party.links["dealer"].receive(index, *([buffer, key] if size else [buffer]))
        shares = layout.views(buffer, found)
        if "knots" in step.attrs:
            shares["a"] = opening_masks(step, index, batch, stream)
        if size:
            shares |= {"key": key, "root": stream.words(index, ROOT, (wire.compared(step, batch), 2))}
        return shares

    def _prepared(self, made: _Made, batch: int) -> Prepared:
        return Prepared("server", batch, made.number, self.party.made_ready(made.masks, batch), made.shares)
