"""What both parties do alike: transfers, and the correlations of all steps that have masked wires, side by side."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np

from ....text import brief
from ...correlations.prepared import Prepared, Shares
from ...correlations.stream import Stream
from ...link.channel import Channel
from ...link.message import CORRELATIONS
from ...parties.party import Party
from ...plan.plan import Step
from ..maker import Half
from .making import Piece
from .maps import ClientKey, PublicKey
from .ot import Kind, Receiver, Sender
from .stock import Need, Transfers
from .table import MAKING, encrypted
from .transfers import Pair, Received, Sent
from .turns import Protocol, Words, run, together, words_together

T = TypeVar("T")

#: Pieces that what is held has room for, at least: a part is then full but for one of them.
_PIECES = 4


class Extension(NamedTuple):
    """How oblivious transfers are extended, and maps encrypted.

    Attributes:
        at_once: how many, in either direction, are made in one go, and let go but for what is kept of them: 32 bytes
            each at a party. Fewer fit caches, more make fewer messages that wait for one another.
        held: bytes that a party keeps of transfers whose protocols go on side by side (stock.py); more make fewer
            messages that wait for one another.
        transform_bits: how many bits of encrypted maps one would rather send than transform a polynomial of weights:
            what a link carries in the time that this takes (maps/packing.py).
    """

    kind: Kind
    at_once: int
    held: int = 2**26
    transform_bits: int = 0

    def __repr__(self) -> str:
        return brief(self)


class Job(NamedTuple):
    """A piece of a step of one inference.

    Attributes:
        inference: which of those that are prepared together.
        number: of the step.
        half: this party's half of the mask of the step's wires, (N, elements).
        piece: which part of the step.
    """

    inference: int
    number: int
    step: Step
    half: np.ndarray
    piece: Piece

    def __repr__(self) -> str:
        return brief(self)

    @property
    def needs(self) -> list[Need]:
        return MAKING[self.step.op].needs(self.step, self.piece)

    @property
    def words(self) -> Words:
        return MAKING[self.step.op].words(self.step, self.piece)


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
        self.extension = extension

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

    def correlate(self, jobs: list[Job], batch: int, count: int) -> list[dict[str, Shares]]:
        """This party's shares of ``count`` inferences, by step; the other side has the same jobs in the same order."""
        found: list[dict[str, Shares]] = [{} for _ in range(count)]
        made: dict[tuple[int, str], tuple[list[Piece], list[Shares]]] = {}
        for part in parts(jobs, self.extension.held):
            needs = [job.needs for job in part]
            transfers, protocols = self._transfers([need for own in needs for need in own]), []
            for job, own in zip(part, needs):
                making, key = MAKING[job.step.op], [self.key] if encrypted(job.step) else []
                protocols.append(
                    making.make(job.step, job.piece, job.half, transfers.part(len(own)), self.number, *key)
                )
            for job, share in zip(part, self._run(together(*protocols), waits(part))):
                pieces, shares = made.setdefault((job.inference, job.step.name), ([], []))
                pieces.append(job.piece)
                shares.append(share)
                if job.piece.last == MAKING[job.step.op].units(job.step, batch)[0]:
                    del made[job.inference, job.step.name]
                    found[job.inference][job.step.name] = MAKING[job.step.op].joined(job.step, batch, pieces, shares)
            del protocols
        self._sender.rest()
        self._receiver.rest()
        return found

    def _transfers(self, needs: list[Need]) -> Transfers:
        transfers = Transfers(needs, self.number)
        for n in chunks(sum(need.n for need in needs), self.extension.at_once):
            indices = self._sender.index, self._receiver.index
            both = together(self._sender.extending(n), self._receiver.extending(n))
            sent, (received, choices) = self._run(both, self.extension.kind.extension_turns(n, indices[0]))
            transfers.fill(
                Pair(
                    Sent(sent, self._sender.delta, self._sender.hash_key, indices[0]),
                    Received(received, choices, self._receiver.hash_key, indices[1]),
                )
            )
        return transfers

    def allow(self, messages: int) -> None:
        """Let so many more wait for one another from now on than a plan says."""
        self.party.clock.limit = self._most + messages + self.party.clock.depth

    def _run(self, protocol: Protocol[T], turns: int) -> T:
        self.allow(2 * turns)
        return run(protocol, self.party.links[self.peer], CORRELATIONS)


def waits(part: list[Job]) -> int:
    """Messages that wait for one another while a part's transfers are used."""
    return len(words_together(*(job.words for job in part)))


def jobs_of(inference: int, number: int, step: Step, half: np.ndarray, batch: int, extension: Extension) -> list[Job]:
    """A step's work on ``batch`` samples, in pieces of which several fit what is held."""
    pieces = MAKING[step.op].pieces(step, batch, extension.held // _PIECES)
    return [Job(inference, number, step, half, piece) for piece in pieces]


def parts(jobs: list[Job], held: int) -> Iterator[list[Job]]:
    """Jobs that go on together: as many as keep so many bytes, one at least."""
    part: list[Job] = []
    kept = 0
    for job in jobs:
        own = MAKING[job.step.op].kept_bytes(job.step, job.piece)
        if part and kept + own > held:
            yield part
            part, kept = [], 0
        part.append(job)
        kept += own
    if part:
        yield part


def chunks(n: int, at_once: int) -> list[int]:
    """How n transfers are made one part after the other."""
    return [min(at_once, n - at) for at in range(0, n, at_once)]
