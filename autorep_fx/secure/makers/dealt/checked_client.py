"""The client's half in a checked plan: all of its numbers in 64 bits, with tags, and the check of every h."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....text import brief
from ...correlations import layout
from ...correlations.prepared import Prepared, Shares
from ...correlations.stream import Stream
from ...correlations.tags import BLINDING, T, with_tags
from ...link.message import CHALLENGE_BYTES, CHECK, READY
from ...plan import linear, wire
from ...plan.plan import Step
from ...plan.ring import U64
from ..walk import visited
from .blinded_weights import pack_folded, pack_lifted
from .client import ClientHalf
from .map_check import MapCheck
from .own import held, held_arrays, is_tagged
from .seeds import ROOT


@dataclass
class _Made:
    """One inference before its check."""

    number: int
    values: dict[str, Shares]
    tags: dict[str, Shares]

    __repr__ = brief


class CheckedClientHalf(ClientHalf):
    """Beside the comparison keys it receives the tags of what its seed gives it; h has 64 bits a number, and the server
    asks about all of them at once before it says that what was prepared is ready."""

    def take_weights(self, blinded: Iterable[np.ndarray]) -> None:
        found = list(blinded)
        self._weights = pack_lifted(self.party.plan, found)
        self._folded: dict[str, Any] = pack_folded(self.party.plan, found)

    def prepare(self, batch: int) -> Prepared:
        return self.prepare_several(batch, 1)[0]

    def prepare_several(self, batch: int, count: int) -> list[Prepared]:
        self.party.start_counting()
        server = self.party.links["server"]
        made = [self._make(batch) for _ in range(count)]
        if self._folded:
            seed = np.empty(CHALLENGE_BYTES, np.uint8)
            server.allow_a_message()  # who leaves now has failed
            server.receive(CHECK, seed)
            self.asked = True
            check = MapCheck(self.party.plan, self._folded, seed.tobytes())
            server.send(CHECK, np.stack([check.of_made(each.tags, batch) for each in made]))
            self.asked = False
        server.receive(READY)
        return [self._prepared(each, batch) for each in made]

    def _make(self, batch: int) -> _Made:
        self.inference += 1
        plan = self.party.plan.lifted
        stream = Stream(self.seed, self.inference)
        made, blindings = _Made(self.inference, {}, {}), dict[str, np.ndarray]()
        for index, step, inputs in visited(plan, blindings, plan.mapped):
            if step.op == "constant":
                blindings[step.name] = inputs[0]
                continue
            _, mine = held(plan, index, batch, stream)
            self._receive(step, index, batch, stream, mine, made)
            if step.op == "map":
                h = linear.apply(step, self._weights[step.name], inputs[0], add=mine[T])
                self.party.links["server"].send(index, h)
            if BLINDING in mine:
                blindings[step.name] = mine[BLINDING]
        return made

    def _receive(self, step: Step, index: int, batch: int, stream: Stream, mine: Shares, made: _Made) -> None:
        """What the dealer sends of a step: tags, a comparison key, or both."""
        found, arrays = held_arrays(self.party.plan, step, batch), []
        if is_tagged(step):
            tags = np.empty(layout.words(found), U64)
            arrays.append(tags)
            made.tags[step.name] = layout.views(tags, found)
        if step.masked and (size := layout.key_words(step, batch, checked=True)):
            mine |= {"key": np.empty(size, U64), "root": stream.words(index, ROOT, (wire.compared(step, batch), 2))}
            arrays.append(mine["key"])
        if arrays:
            self.party.links["dealer"].receive(index, *arrays)
        made.values[step.name] = mine

    def _prepared(self, made: _Made, batch: int) -> Prepared:
        """What the online phase needs of it."""
        steps = [step for step in self.party.plan.steps if step.masked]
        shares = {step.name: with_tags(made.values[step.name], made.tags.get(step.name, {})) for step in steps}
        for step in steps:
            shares[step.name].pop(BLINDING, None)
        answered = [step.name for step in (*self.party.plan.inputs, *steps) if step is not self.party.plan.output]
        blindings = {name: made.values[name][BLINDING] for name in answered}
        return Prepared("client", batch, made.number, blindings, shares)
