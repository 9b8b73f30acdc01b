"""One party in a process of its own."""

from __future__ import annotations

import faulthandler
import gc
import socket
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np

from ... import kernels
from ...errors import PartyError, PeerLost
from ...text import brief
from ..link import door
from ..link.network import Network
from ..link.tcp import TcpChannel
from ..makers.table import MAKERS
from ..plan.plan import Plan
from ..plan.server_numbers import Numbers
from .loop import PhaseReport, work
from .members import member
from .report import Report

#: Seconds that starting and connecting the processes may take in any case, on however busy a machine.
STARTUP = 60.0


@dataclass
class Job:
    """What a party gets to start.

    Attributes:
        role: one of ``maker.roles``.
        maker: of the correlations, by name.
        token: of the session; who connects without it is turned away.
        addresses: of those it connects to; ``awaited`` connect to it.
        numbers: the server's.
        network: shape of the link between client and server while online.
    """

    role: str
    maker: str
    plan: Plan
    timeout: float
    threads: int
    max_batch: int
    token: bytes
    addresses: dict[str, tuple[str, int]]
    awaited: set[str]
    numbers: dict[str, Numbers] | None = None
    network: Network | None = None

    __repr__ = brief


def main(pipe: Connection, listener: socket.socket | None) -> None:
    """Run the party whose :class:`Job` comes through the pipe, until the launcher wants no more.

    Every error is reported, and hangs up.
    """
    faulthandler.enable()  # who dies of a signal in compiled code says on standard error where
    found, role = None, "party"
    try:
        job: Job = pipe.recv()
        role = job.role
        _use_threads(job.threads)
        start = time.monotonic()
        channels = _connect(job, listener)
        numbers, job.numbers = job.numbers, None
        found = member(role, job.plan, MAKERS[job.maker], channels, numbers=numbers, max_batch=job.max_batch)
        del numbers  # a server has laid them out for its kernels
        found.setup()
        gc.freeze()  # no collection walks what stays to the end
        for channel in channels.values():
            channel.set_timeout(job.timeout)
        pipe.send(PhaseReport(role, "setup", seconds=time.monotonic() - start, count=found.party.count()))
        work(found, _inputs(pipe), pipe.send, job.network)
    except BaseException as error:  # noqa: BLE001  (every way to fail must reach the launcher)
        lost = isinstance(error, (PeerLost, EOFError))
        text = str(error) if isinstance(error, PartyError) else f"{type(error).__name__}: {error}"
        try:
            pipe.send(Report(role, error=text, trace=traceback.format_exc(), lost=lost))
        except OSError:
            pass  # the launcher is gone
    finally:
        if found is not None:
            found.party.close()


def _inputs(pipe: Connection) -> Iterator[np.ndarray]:
    while (x := pipe.recv()) is not None:
        yield x


def _use_threads(count: int) -> None:
    if kernels.available():
        kernels.set_num_threads(count)


def _connect(job: Job, listener: socket.socket | None) -> dict[str, TcpChannel]:
    limit = max(job.timeout, STARTUP)
    deadline = time.monotonic() + limit
    links = {}
    for peer, address in job.addresses.items():
        try:
            connection = socket.create_connection(address, timeout=limit)
            door.introduce(connection, job.role, job.token)
        except OSError as error:
            raise PartyError(f"{job.role}, at 'connect': no {peer} at {address[0]}:{address[1]} ({error})") from error
        links[peer] = connection
    if listener is not None:
        with listener:
            try:
                links |= door.admit(listener, job.awaited, job.token, deadline)
            except TimeoutError:
                who = " and ".join(sorted(job.awaited))
                raise PartyError(f"{job.role}, at 'connect': no {who} came within {limit:g} s") from None
    return {peer: TcpChannel(c, job.role, peer, timeout=limit) for peer, c in links.items()}
