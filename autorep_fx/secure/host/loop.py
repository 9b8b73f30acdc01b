"""What a party does once it is set up, wherever it runs: one inference after the other, and a report of each phase."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from ...text import brief
from ..link.count import Count
from ..link.shaped import Shaped
from ..network import Network
from ..parties.client import Client
from ..parties.dealer import Dealer
from ..parties.party import Party
from ..parties.server import Server
from .supervisor import Report


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


def work(party: Party, inputs: Iterable[np.ndarray], tell: Tell, network: Network | None = None) -> None:
    """Answer until the client wants no more.

    Args:
        inputs: the client's; nobody else looks at them.
        network: slow the link between client and server down to this while online.
    """
    {"client": _client, "server": _server, "dealer": _dealer}[party.name](party, inputs, tell, network)


def _client(party: Client, inputs: Iterable[np.ndarray], tell: Tell, network: Network | None) -> None:
    for x in inputs:
        start = time.monotonic()
        party.request(len(x))
        prepared = party.prepare(len(x))
        tell(_report(party, "offline", start))
        with _slowed(party, "server", network):
            start = time.monotonic()
            output = party.infer(prepared, x)
            tell(_report(party, "online", start, output))
    party.request(0)


def _server(party: Server, _: Iterable[np.ndarray], tell: Tell, network: Network | None) -> None:
    while batch := party.next_batch():
        start = time.monotonic()
        prepared = party.prepare(batch)
        tell(_report(party, "offline", start))
        with _slowed(party, "client", network):
            start = time.monotonic()
            party.infer(prepared)
            tell(_report(party, "online", start))


def _dealer(party: Dealer, _: Iterable[np.ndarray], tell: Tell, __: Network | None) -> None:
    while batch := party.next_batch():
        start = time.monotonic()
        party.serve(batch)
        tell(_report(party, "offline", start))


def _report(party: Party, phase: str, start: float, output: np.ndarray | None = None) -> PhaseReport:
    seconds = time.monotonic() - start
    memory = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return PhaseReport(
        party.name, phase, party.inference, seconds=seconds, count=party.count(), output=output, memory=memory
    )


@contextmanager
def _slowed(party: Party, peer: str, network: Network | None) -> Iterator[None]:
    channel = party.links[peer]
    if network is not None:
        party.links[peer] = Shaped(channel, network)
    try:
        yield
    finally:
        party.links[peer] = channel
