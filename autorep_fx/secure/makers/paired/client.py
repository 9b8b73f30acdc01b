"""The client's half: its blindings, encrypted for every map, and its part of the shares."""

from __future__ import annotations

from collections import deque

import numpy as np

from ...correlations.prepared import Prepared
from ...correlations.stream import Stream
from ...link.channel import Channel
from ...link.message import READY, SETUP
from ...parties.party import Party
from ...plan.ring import U64, narrowed
from ..walk import visited
from . import maps
from .half import Extension, Job, TwoPartyHalf, jobs_of
from .model import widths
from .seeds import BLIND


class ClientHalf(TwoPartyHalf):
    """Links: ``server``.

    Per map with the input's blinding ``B`` and the output's ``c``: it sends B encrypted, decrypts ``W B - U`` and sends
    ``h = W B - U - c``. As many maps are on the way at once as the server may hold (maps/groups.py), and then as many
    correlations of masked wires as either may (half.py).
    """

    def __init__(self, party: Party, extension: Extension):
        super().__init__(party, "server", 1, extension)
        self.key: maps.ClientKey = maps.ClientKey(widths(party.plan))

    def setup(self) -> None:
        self.party.links["server"].send(SETUP, *self.key.public)
        self.setup_transfers()

    def prepare_several(self, batch: int, count: int) -> list[Prepared]:
        self.party.start_counting()
        server, streams = self.party.links["server"], self.streams(count)
        values: dict[str, np.ndarray] = {}
        blindings: list[dict[str, np.ndarray]] = [{} for _ in streams]
        jobs: list[Job] = []
        asking = Asking(server, self.key, maps.in_groups(self.party.plan, batch * count, self.extension.transform_bits))
        self.allow(2 * len(asking.groups))
        for index, step, inputs in visited(self.party.plan, values):
            if step.op == "constant":
                values[step.name] = narrowed(inputs[0], step.width)
                continue
            if step.masked:
                wires = [narrowed(x, step.attrs["wire"]).reshape(count, batch, -1) for x in inputs]
                halves = np.concatenate(wires, 2)
                for i, half in enumerate(halves):
                    jobs += jobs_of(i, index, step, half, batch, self.extension)
            if step is not self.party.plan.output:
                values[step.name] = blinding = _drawn(streams, index, (batch, *step.shape), step.width)
                if step.op == "map":
                    asking.ask(index, inputs[0], blinding)
                else:
                    for own, part in zip(blindings, blinding.reshape(count, batch, *step.shape)):
                        own[step.name] = part
        shares = self.correlate(sorted(jobs, key=lambda job: job.inference), batch, count)
        server.receive(READY)
        return [
            Prepared("client", batch, stream.inference, own, share)
            for stream, own, share in zip(streams, blindings, shares)
        ]


class Asking:
    """Encrypted maps, group by group.

    Args:
        groups: of all maps, in order.
    """

    def __init__(self, server: Channel, key: maps.ClientKey, groups: list[list[maps.Part]]):
        self.groups, self._server, self._key = groups, server, key
        self._left = deque(deque(group) for group in groups)
        self._asked: list[tuple[maps.Part, np.ndarray, np.ndarray]] = []

    def ask(self, number: int, given: np.ndarray, blinding: np.ndarray) -> None:
        """The map of step ``number``, the next one, of the blindings ``given``, whose result is blinded by
        ``blinding``."""
        while self._left and self._left[0][0].number == number:
            part = self._left[0].popleft()
            self._server.send(number, *maps.encrypt(part.step, self._key, given[part.samples], part.transform_bits))
            self._asked.append((part, given[part.samples], blinding[part.samples]))
            if not self._left[0]:
                self._left.popleft()
                self._answer()

    def _answer(self) -> None:
        """Read all answers of a group, and then say what they are for: nobody waits for one who waits."""
        hidden = []
        for part, given, blinding in self._asked:
            answer = np.empty(part.words[1], U64)
            self._server.receive(part.number, answer)
            share = maps.decrypt(part.step, self._key, [answer], given, part.transform_bits)
            hidden.append((part.number, share - blinding))
        self._asked = []
        for number, h in hidden:
            self._server.send(number, h)


def _drawn(streams: list[Stream], index: int, shape: tuple[int, ...], width: int) -> np.ndarray:
    return np.concatenate([stream.elements(index, BLIND, shape, width) for stream in streams])
