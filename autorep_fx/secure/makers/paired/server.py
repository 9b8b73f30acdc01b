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
        masks: list[dict[str, np.ndarray]] = [{} for _ in streams]
        groups = maps.in_groups(plan, batch * count, self.extension.transform_bits)
        self.allow(2 * len(groups))
        found: dict[str, list[np.ndarray]] = {}
        room = maps.Room()
        for group in groups:
            for part, v in self._answer(group, room):
                found.setdefault(part.step.name, []).append(v)
        del room
        for name, parts in found.items():
            whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
            for own, v in zip(masks, whole.reshape(count, batch, *whole.shape[1:])):
                own[name] = v
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

    def _answer(self, group: list[maps.Part], room: maps.Room) -> list[tuple[maps.Part, np.ndarray]]:
        """V of all maps of a group."""
        client, asked = self.party.links["client"], deque[tuple[maps.Part, np.ndarray]]()
        for part in group:
            message = np.empty(part.words[0], U64)
            client.receive(part.number, message)
            asked.append((part, message))
        found = []
        while asked:  # what was answered is let go
            part, message = asked.popleft()
            weight = self.model.weights[part.step.name]
            u, answer = maps.respond(part.step, weight, self.key, [message], part.size, part.transform_bits, room)
            client.send(part.number, *answer)
            found.append((part, u))
        for part, u in found:
            h = np.empty(u.shape, u.dtype)
            client.receive(part.number, h)
            u += h
        return found


def _half_units(step: Step) -> np.ndarray:
    """Half a unit of each of a step's wires, (elements of a sample) in the shape of what is sent."""
    shifts = np.atleast_1d(step.attrs.get("shift", [0] * len(step.wires)))
    sizes = [math.prod(shape) for shape in step.wires]
    half = [1 << (shift - 1) if shift else 0 for shift in shifts.tolist()]
    return np.repeat(np.array(half, elements(step.attrs["wire"])), sizes).reshape(step.wire_shape)
