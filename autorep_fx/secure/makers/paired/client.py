"""The client's half: its blindings, encrypted for every map, and its part of the shares."""

from __future__ import annotations

import numpy as np

from ...correlations.prepared import Prepared
from ...correlations.stream import Stream
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
    ``h = W B - U - c``. All maps are on the way at once, and so are all correlations of masked wires.
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
        outputs = []
        for index, step, inputs in visited(self.party.plan, values):
            if step.op == "constant":
                values[step.name] = narrowed(inputs[0], step.width)
                continue
            if step.op == "map":
                server.send(index, *maps.encrypt(step, self.key, inputs[0]))
            elif step.masked:
                wires = [narrowed(x, step.attrs["wire"]).reshape(count, batch, -1) for x in inputs]
                halves = np.concatenate(wires, 2)
                for i, half in enumerate(halves):
                    jobs += jobs_of(i, index, step, half, batch, self.extension)
            if step is not self.party.plan.output:
                values[step.name] = blinding = _drawn(streams, index, (batch, *step.shape), step.width)
                if step.op == "map":
                    outputs.append((index, step, inputs[0], blinding))
                else:
                    for own, part in zip(blindings, blinding.reshape(count, batch, *step.shape)):
                        own[step.name] = part
        hidden = []
        for index, step, given, blinding in outputs:
            answer = np.empty(maps.sizes(step, len(given))[1], U64)
            server.receive(index, answer)
            hidden.append((index, maps.decrypt(step, self.key, [answer], given) - blinding))
        for index, h in hidden:  # all answers were read: nobody waits for one who waits
            server.send(index, h)
        shares = self.correlate(sorted(jobs, key=lambda job: job.inference), batch, count)
        server.receive(READY)
        return [
            Prepared("client", batch, stream.inference, own, share)
            for stream, own, share in zip(streams, blindings, shares)
        ]


def _drawn(streams: list[Stream], index: int, shape: tuple[int, ...], width: int) -> np.ndarray:
    return np.concatenate([stream.elements(index, BLIND, shape, width) for stream in streams])
