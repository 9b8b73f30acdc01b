"""What both parties do alike: transfers, and the correlations of all steps that have masked wires, side by side."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import numpy as np

from ....text import brief
from ...correlations.prepared import Prepared, Shares
from ...correlations.stream import Stream
from ...link.channel import Channel
from ...link.message import CORRELATIONS
from ...parties.party import Party
from ...plan.plan import Step
from ...plan.ring import U64
from ..maker import Half
from .maps import ClientKey, PublicKey
from .ot import Kind, Receiver, Sender
from .table import MAKING, encrypted
from .transfers import Pair, Received, Sent, Transfers
from .turns import run, together, words_together

#: That a party holds of a transfer of each direction.
TRANSFER_BYTES = 32

#: Messages that wait for one another in an extension, at most.
EXTENSION_WAITS = 4


class Extension(NamedTuple):
    """How oblivious transfers are extended.

    Attributes:
        at_once: how many, in either direction, are made and used before there are more: 32 bytes each at a party. Fewer
            fit caches, more make fewer messages that wait for one another.
    """

    kind: Kind
    at_once: int

    def __repr__(self) -> str:
        return brief(self)


class Job(NamedTuple):
    """One step of one inference.

    Attributes:
        inference: which of those that are prepared together.
        number: of the step.
        half: this party's half of the mask of its wires, (N, elements).
    """

    inference: int
    number: int
    step: Step
    half: np.ndarray

    def __repr__(self) -> str:
        return brief(self)


class Link:
    """A party's link to another, whatever it is at the time: it may be slowed down while something is measured."""

    def __init__(self, party: Party, peer: str):
        self._party, self._peer = party, peer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._party.links[self._peer], name)


class TwoPartyHalf(Half):
    """Links: the other one, ``peer``.

    Args:
        number: 0 at the server, 1 at the client.
        extension: of transfers.

    Attributes:
        key: of encrypted maps: the client's own, or what the server has of it.
    """

    between_two = True
    key: ClientKey | PublicKey

    def __init__(self, party: Party, peer: str, number: int, extension: Extension):
        super().__init__(party)
        self.peer, self.number, self.seed = peer, number, os.urandom(16)
        link, self._most = cast(Channel, Link(party, peer)), party.clock.limit
        self._sender = Sender(link, CORRELATIONS, extension.kind)
        self._receiver = Receiver(link, CORRELATIONS, extension.kind)
        self._at_once = extension.at_once

    def setup_transfers(self) -> None:
        """Base transfers both ways, one after the other: those that the server sends come first."""
        for half in (self._sender, self._receiver) if self.number == 0 else (self._receiver, self._sender):
            half.setup()

    def prepare(self, batch: int) -> Prepared:
        return self.prepare_several(batch, 1)[0]

    @abstractmethod
    def prepare_several(self, batch: int, count: int) -> list[Prepared]:
        """``count`` inferences on ``batch`` samples each, which share what weights take to be transformed."""

    def streams(self, count: int) -> list[Stream]:
        """Of the next inferences, whose numbers are taken."""
        first = self.inference + 1
        self.inference += count
        return [Stream(self.seed, number) for number in range(first, first + count)]

    def correlate(self, jobs: list[Job], batch: int, streams: list[Stream]) -> list[dict[str, Shares]]:
        """This party's shares of all jobs, by inference and step; the other side has the same jobs in the same
        order."""
        found: list[dict[str, Shares]] = [{} for _ in streams]
        for part in parts(jobs, batch, self._at_once):
            self.party.clock.limit = self._most + waits(part, batch) + self.party.clock.depth
            transfers = self._transfers(sum(_transfers_of(job, batch) for job in part))
            protocols = []
            for job in part:
                own, stream = Transfers(transfers.take(_transfers_of(job, batch))), streams[job.inference]
                making = MAKING[job.step.op]
                key = [self.key] if making.encrypted else []
                protocols.append(making.make(job.step, batch, job.half, own, self.number, job.number, stream, *key))
            shares = run(together(*protocols), self.party.links[self.peer], CORRELATIONS)
            for job, share in zip(part, shares):
                found[job.inference][job.step.name] = share
        return found

    def _transfers(self, n: int) -> Transfers:
        indices = self._sender.index, self._receiver.index
        sent = received = np.empty((0, 2), U64)
        choices = np.empty(0, U64)
        if n:
            both = together(self._sender.extending(n), self._receiver.extending(n))
            sent, (received, choices) = run(both, self.party.links[self.peer], CORRELATIONS)
        return Transfers(
            Pair(
                Sent(sent, self._sender.delta, self._sender.hash_key, indices[0]),
                Received(received, choices, self._receiver.hash_key, indices[1]),
            )
        )


def waits(part: list[Job], batch: int) -> int:
    """Messages that wait for one another while a part's transfers are extended and used."""
    turns = words_together(*(MAKING[job.step.op].words(job.step, batch) for job in part))
    return len(turns) + 2 * EXTENSION_WAITS


def parts(jobs: list[Job], batch: int, at_once: int) -> Iterator[list[Job]]:
    """Jobs that go on together: as many as have transfers, or as much that is encrypted, as may be held at once, one at
    least."""
    part: list[Job] = []
    held = 0
    for job in jobs:
        count = _held_by(job, batch)
        if part and held + count > at_once:
            yield part
            part, held = [], 0
        part.append(job)
        held += count
    if part:
        yield part


def _transfers_of(job: Job, batch: int) -> int:
    return MAKING[job.step.op].transfers(job.step, batch)


def _held_by(job: Job, batch: int) -> int:
    """What a job holds at a party, in transfers of one direction."""
    of_messages = encrypted(job.step)
    held = of_messages.held(job.step, batch) // TRANSFER_BYTES if of_messages else 0
    return _transfers_of(job, batch) + held
