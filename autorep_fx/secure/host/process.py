"""One party in a process of its own."""

from __future__ import annotations

import gc
import socket
import time
import traceback
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from ... import kernels
from ...errors import PartyError
from ..link.count import Count
from ..link.tcp import TcpChannel
from ..network import Network
from ..parties.client import Client
from ..parties.dealer import Dealer
from ..parties.server import Server
from ..plan.numbers import Numbers
from ..plan.plan import Plan

#: Seconds that starting and connecting the processes may take in any case: they import torch.
STARTUP = 60.0

_ROLE = 8  # bytes of the name that a connecting party sends first


@dataclass
class Job:
    """What a party gets to start.

    Attributes:
        role: "client", "server" or "dealer".
        numbers: the server's.
        listener: of server and dealer.
        addresses: of those it connects to.
        network: shape of the link between client and server while online.
    """

    role: str
    plan: Plan
    timeout: float
    threads: int
    addresses: dict[str, tuple[str, int]]
    listener: socket.socket | None = None
    numbers: dict[str, Numbers] | None = None
    network: Network | None = None


@dataclass
class Report:
    """What a party tells its launcher.

    Attributes:
        phase: "setup", "offline", "online" or "error".
        seconds: wall time in the phase.
        count: what it sent.
        output: the client's answer.
        error, trace, lost: of an error; lost says that only the peer's end was seen.
    """

    role: str
    phase: str
    seconds: float = 0.0
    count: Count = field(default_factory=lambda: Count({}, {}, 0))
    output: np.ndarray | None = None
    error: str = ""
    trace: str = ""
    lost: bool = False


def main(job: Job, pipe: Connection) -> None:
    """Run a party until the launcher wants no more. Every error is reported, and hangs up."""
    party = None
    try:
        _use_threads(job.threads)
        start = time.monotonic()
        channels = _connect(job)
        party = _party(job, channels)
        party.setup()
        gc.freeze()  # a collection that walks all of torch takes 0.1 s, more than an inference
        for channel in channels.values():
            channel.set_timeout(job.timeout)
        pipe.send(Report(job.role, "setup", time.monotonic() - start, party.count()))
        {"client": _client, "server": _server, "dealer": _dealer}[job.role](party, job, pipe)
    except BaseException as error:  # noqa: BLE001  (every way to fail must reach the launcher)
        lost = isinstance(error, PartyError) and "hung up" in str(error) or isinstance(error, EOFError)
        text = str(error) if isinstance(error, PartyError) else f"{type(error).__name__}: {error}"
        try:
            pipe.send(Report(job.role, "error", error=text, trace=traceback.format_exc(), lost=lost))
        except OSError:
            pass  # the launcher is gone
    finally:
        if party is not None:
            party.close()


def _party(job: Job, links: dict[str, TcpChannel]) -> Any:
    if job.role == "client":
        return Client(job.plan, **links)
    return Server(job.plan, job.numbers, **links) if job.role == "server" else Dealer(job.plan, **links)


def _use_threads(count: int) -> None:
    import torch

    torch.set_num_threads(count)
    if kernels.available():
        kernels.set_num_threads(count)


def _connect(job: Job) -> dict[str, TcpChannel]:
    limit = max(job.timeout, STARTUP)
    deadline = time.monotonic() + limit
    links = {}
    for peer, address in job.addresses.items():
        try:
            connection = socket.create_connection(address, timeout=limit)
        except OSError as error:
            raise PartyError(f"{job.role}, at 'connect': no {peer} at {address[0]}:{address[1]} ({error})") from error
        connection.sendall(job.role.encode().ljust(_ROLE, b"\0"))
        links[peer] = connection
    wanted = {"client": 0, "server": 1, "dealer": 2}[job.role]
    for _ in range(wanted):
        job.listener.settimeout(max(deadline - time.monotonic(), 0.01))
        try:
            connection, _ = job.listener.accept()
            connection.settimeout(max(deadline - time.monotonic(), 0.01))
            name = connection.recv(_ROLE, socket.MSG_WAITALL).rstrip(b"\0").decode(errors="replace")
        except TimeoutError:
            raise PartyError(f"{job.role}, at 'connect': nobody connected within {limit:g} s") from None
        if name not in ("client", "server") or name in links:
            raise PartyError(f"{job.role}, at 'connect': a stranger connected")
        links[name] = connection
    return {peer: TcpChannel(c, job.role, peer, timeout=limit) for peer, c in links.items()}


def _client(party: Client, job: Job, pipe: Connection) -> None:
    while (x := pipe.recv()) is not None:
        start = time.monotonic()
        party.links["server"].network = None
        party.prepare(len(x))
        pipe.send(Report("client", "offline", time.monotonic() - start, party.count()))
        party.links["server"].network = job.network
        output = party.infer(x)
        pipe.send(Report("client", "online", party.seconds, party.count(), output))
    party.finish()


def _server(party: Server, job: Job, pipe: Connection) -> None:
    while True:
        party.links["client"].network = None
        if not party.prepare():
            return
        pipe.send(Report("server", "offline", party.seconds, party.count()))
        party.links["client"].network = job.network
        start = time.monotonic()
        party.infer()
        pipe.send(Report("server", "online", time.monotonic() - start, party.count()))


def _dealer(party: Dealer, job: Job, pipe: Connection) -> None:
    while party.serve():
        pipe.send(Report("dealer", "offline", party.seconds, party.count()))
