"""What a party does once it is set up, wherever it runs: one inference after the other, and a report of each phase."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from ...errors import PartyError
from ...text import brief
from ..link.count import Count
from ..link.message import REQUEST
from ..link.network import Network
from ..link.shaped import Shaped
from ..makers.maker import Half, Helper
from ..parties.party import Party
from .memory import peak_memory
from .report import Report


@dataclass
class PhaseReport(Report):
    """A phase ("setup", "offline" or "online") is done. Requests are numbered from 1, like inferences.

    Attributes:
        seconds: wall time in the phase.
        count: what the party sent.
        output: the client's answer.
        memory: bytes, the most that the party's process has held so far.
    """

    seconds: float = 0.0
    count: Count = field(default_factory=lambda: Count({}, {}, 0))
    output: np.ndarray | None = None
    memory: int = 0

    __repr__ = brief


#: Takes a report to whoever wants it.
Tell = Callable[[PhaseReport], None]


@dataclass(frozen=True)
class Member:
    """A party of a run, and its part offline.

    Attributes:
        max_batch: samples that an inference may have.
    """

    party: Party
    offline: Half | Helper
    max_batch: int

    def setup(self) -> None:
        """Agree with the others, and do what is done once."""
        self.party.hello()
        self.offline.setup()

    def next_batch(self) -> int:
        """Wait for the client's request of one inference; its batch size, or 0 where it wants no more.

        Raises:
            PartyError: it asks for more than ``max_batch`` samples, or for a negative number.
        """
        batch, client = np.empty(1, np.int64), self.party.links["client"]
        client.wait()
        client.receive(REQUEST, batch)
        if not 0 <= batch[0] <= self.max_batch:
            raise PartyError(
                f"{self.party.name}, at request: the client asks for {batch[0]} samples; 1 to {self.max_batch} are "
                "allowed"
            )
        return int(batch[0])

    def request(self, batch: int) -> None:
        """Ask all others for the offline phase of an inference on ``batch`` samples; 0 says that there is no more."""
        for channel in self.party.links.values():
            channel.send(REQUEST, np.array([batch], np.int64))


def work(member: Member, inputs: Iterable[np.ndarray], tell: Tell, network: Network | None = None) -> None:
    """Answer until the client wants no more.

    Args:
        inputs: the client's; nobody else looks at them.
        network: slow the link between client and server down to this while online.
    """
    {"client": _client, "server": _server}.get(member.party.name, _helper)(member, inputs, tell, network)


def _client(member: Member, inputs: Iterable[np.ndarray], tell: Tell, network: Network | None) -> None:
    for x in inputs:
        start = time.monotonic()
        member.request(len(x))
        with _slowed(member.party, "server", network if member.offline.between_two else None):
            prepared = member.offline.prepare(len(x))
        tell(_report(member, "offline", start))
        with _slowed(member.party, "server", network):
            start = time.monotonic()
            output = member.party.infer(prepared, x)
            tell(_report(member, "online", start, output))
    member.request(0)


def _server(member: Member, _: Iterable[np.ndarray], tell: Tell, network: Network | None) -> None:
    while batch := member.next_batch():
        start = time.monotonic()
        with _slowed(member.party, "client", network if member.offline.between_two else None):
            prepared = member.offline.prepare(batch)
        tell(_report(member, "offline", start))
        with _slowed(member.party, "client", network):
            start = time.monotonic()
            member.party.infer(prepared)
            tell(_report(member, "online", start))


def _helper(member: Member, _: Iterable[np.ndarray], tell: Tell, __: Network | None) -> None:
    while batch := member.next_batch():
        start = time.monotonic()
        member.offline.serve(batch)
        tell(_report(member, "offline", start))


def _report(member: Member, phase: str, start: float, output: np.ndarray | None = None) -> PhaseReport:
    seconds = time.monotonic() - start
    return PhaseReport(
        member.party.name, phase, member.offline.inference, seconds=seconds, count=member.party.count(), output=output,
        memory=peak_memory(),
    )  # fmt: skip


@contextmanager
def _slowed(party: Party, peer: str, network: Network | None) -> Iterator[None]:
    channel = party.links[peer]
    if network is not None:
        party.links[peer] = Shaped(channel, network)
    try:
        yield
    finally:
        party.links[peer] = channel
