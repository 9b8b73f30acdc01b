"""The server's half: what its weights make of the client's blindings, its masks, and its part of the shares."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from ...correlations.prepared import Prepared
from ...link.message import READY, SETUP
from ...parties.server import Server
from ...plan.plan import Step
from ...plan.ring import U64, elements
from . import maps
from .half import Extension, Job, TwoPartyHalf, jobs_of
from .model import EncryptedMaps, widths
from .seeds import WIRE_MASK


class ServerHalf(TwoPartyHalf):
    """Links: ``client``.

    Per map: it answers the client's encrypted ``B`` by ``W B - U`` for a random U, and ``V = U + h``. Per masked wire:
    a mask s, to which half a unit is added, so that what two make of it is off by nothing on average.
    """

    party: Server
    key: maps.PublicKey

    def __init__(self, party: Server, model: EncryptedMaps, extension: Extension):
        super().__init__(party, "client", 0, extension)
        self.model = model

    def setup(self) -> None:
        used = widths(self.party.plan)
        public = [np.empty(words, U64) for words in maps.public_words(used)]
        self.party.links["client"].receive(SETUP, *public)
        self.key = maps.PublicKey.of(public, used)
        self.setup_transfers()

    def prepare_several(self, batch: int, count: int) -> list[Prepared]:
        self.party.start_counting()
        client, streams, plan = self.party.links["client"], self.streams(count), self.party.plan
        asked: deque[tuple[int, Step, np.ndarray]] = deque()
        for index, step in enumerate(plan.steps):
            if step.op == "map":
                message = np.empty(maps.sizes(step, batch * count)[0], U64)
                client.receive(index, message)
                asked.append((index, step, message))
        masks: list[dict[str, np.ndarray]] = [{} for _ in streams]
        sums = []
        while asked:  # what was answered is let go
            index, step, message = asked.popleft()
            u, answer = maps.respond(step, self.model.weights[step.name], self.key, [message], batch * count)
            client.send(index, *answer)
            sums.append((index, step, u))
        for index, step, u in sums:
            h = np.empty((batch * count, *step.shape), elements(step.width))
            client.receive(index, h)
            for own, part in zip(masks, (u + h).reshape(count, batch, *step.shape)):
                own[step.name] = part
        jobs: list[Job] = []
        for i, stream in enumerate(streams):
            for index, step in enumerate(plan.steps):
                if step.masked:
                    shape = (batch, *step.wire_shape)
                    s = stream.elements(index, WIRE_MASK, shape, step.attrs["wire"])
                    jobs += jobs_of(i, index, step, s.reshape(batch, -1), batch, self.extension)
                    masks[i][step.name] = s + _half_units(step)
        shares = self.correlate(jobs, batch, count)
        client.send(READY)
        return [
            Prepared("server", batch, stream.inference, self.party.made_ready(own, batch), share)
            for stream, own, share in zip(streams, masks, shares)
        ]


def _half_units(step: Step) -> np.ndarray:
    """Half a unit of each of a step's wires, (elements of a sample) in the shape of what is sent."""
    shifts = np.atleast_1d(step.attrs.get("shift", [0] * len(step.wires)))
    sizes = [math.prod(shape) for shape in step.wires]
    half = [1 << (shift - 1) if shift else 0 for shift in shifts.tolist()]
    return np.repeat(np.array(half, elements(step.attrs["wire"])), sizes).reshape(step.wire_shape)
