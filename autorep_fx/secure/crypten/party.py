"""One party of a run: what happens inside its process."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import PeerLost
from ...text import brief
from ..host.supervisor import Report
from . import wire
from .compat import load_crypten
from .fixed_point import FixedPublic
from .kernels import TorchKernels
from .meter import Meter, Wire
from .roles import CLIENT, DEALER, SERVER
from .values import Values


@dataclass
class Job:
    """What one process is told. Nobody gets more than this: the weights are in the server's job only, the input in the
    client's only, and the dealer gets the name of the provider.

    Attributes:
        rank: SERVER, CLIENT or DEALER.
        batch: samples in this run, public.
        server: the server's numbers; None elsewhere.
        x: the input; None elsewhere.
    """

    rank: int
    folder: str
    provider: str
    kernels: str
    threads: int
    batch: int = 0
    public: FixedPublic | None = None
    server: dict[str, np.ndarray] | None = None
    x: np.ndarray | None = None

    __repr__ = brief


#: The one phase of a run that is reported.
DONE = "done"


@dataclass
class Done(Report):
    """What one party's process tells at its end.

    Attributes:
        started: ``time.monotonic()`` when the online phase began.
        sent: bytes on the wire, [setup, online, offline].
        message_bytes: bytes of tensors, online.
        dealt_bytes: bytes of tensors that the dealer sent to this party.
    """

    output: np.ndarray | None = None
    started: float = 0.0
    seconds: float = 0.0
    provider_seconds: float = 0.0
    rounds: list[int] = field(default_factory=lambda: [0, 0])
    sent: list[int] = field(default_factory=lambda: [0, 0, 0])
    message_bytes: int = 0
    dealt_bytes: int = 0

    __repr__ = brief


class Progress:
    """Where each party is, in memory that the parent sees: the step it is in, and whether it waits for a peer."""

    STARTING, SHARING, FIRST_STEP = 0, 1, 2

    def __init__(self, cells: Any, rank: int):
        self.cells, self.rank = cells, rank

    def at(self, position: int) -> None:
        self.cells[2 * self.rank] = position

    def waiting(self, value: bool) -> None:
        self.cells[2 * self.rank + 1] = int(value)

    @staticmethod
    def name(position: int, public: FixedPublic) -> str:
        steps = [s.name for s in public.steps]
        return ["start-up", "sharing the weights", *(f"step '{n}'" for n in steps), "opening the output"][position]


def main(connection: Connection, cells: Any) -> None:
    """Entry point of the process. Its :class:`Job` comes through the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes; the launcher ends the run
    threading.Thread(target=_die_with_parent, daemon=True).start()
    job: Job = connection.recv()
    progress = Progress(cells, job.rank)
    report = Done(job.rank, DONE)
    try:
        torch.set_num_threads(job.threads)
        seed_from_system()
        _join(job, progress)
        if job.rank == DEALER:
            _deal(job, report)
        else:
            _compute(job, report, progress)
    except BaseException as error:  # the parent must hear of it, whatever it is
        text = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        # gloo has no exception class of its own: a peer that is gone is a RuntimeError with such a text.
        lost = isinstance(error, (PeerLost, ConnectionError)) or (
            isinstance(error, RuntimeError)
            and any(word in str(error) for word in ("gloo", "onnection", "peer", "ECONN"))
        )
        connection.send(Report(job.rank, error=text, trace=traceback.format_exc(), lost=lost))
        os._exit(1)  # no goodbye to peers that may hang
    connection.send(report)
    if job.rank != DEALER:
        load_crypten().uninit()
    sys.stdout.flush()


def seed_from_system() -> None:
    """Seed torch's default generator from the operating system.

    CrypTen's dealer draws from it the seeds that it shares with the parties, and in a fresh process its seed is a
    constant of torch: without this every run would use the same, publicly known masks.
    """
    torch.seed()


def _die_with_parent() -> None:
    # A parent that is killed cannot reap; without this its parties would wait for gloo's half hour.
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _join(job: Job, progress: Progress) -> None:
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    os.environ.update(
        WORLD_SIZE="2", RANK=str(job.rank), RENDEZVOUS=f"file://{job.folder}/rendezvous", DISTRIBUTED_BACKEND="gloo",
        GLOO_SOCKET_IFNAME=loopback,
    )  # fmt: skip
    crypten = load_crypten()
    crypten.cfg.mpc.provider = job.provider
    if job.rank != DEALER:
        progress.waiting(True)
        crypten.init()
        progress.waiting(False)


def _deal(job: Job, report: Done) -> None:
    from crypten.mpc.provider import TTPServer

    sockets = Wire(job.folder, DEALER, 3)
    before = {}

    class Dealer(TTPServer):
        def _setup_generators(self) -> None:
            super()._setup_generators()
            if wire.can_count():
                sockets.publish()
                before["sent"] = sum(link.sent for link in wire.links())

    class FusedDealer(Dealer):
        def __init__(self) -> None:
            from .fused.dealer import serve

            crypten = load_crypten()
            crypten.init()
            communicator = crypten.communicator.get()
            self.ttp_group = communicator.ttp_group
            self._setup_generators()
            serve(communicator)

    (FusedDealer if job.kernels == "fused" else Dealer)()
    if wire.can_count():
        report.sent = [before["sent"], 0, sum(link.sent for link in wire.links()) - before["sent"]]


def _engine(job: Job, crypten: ModuleType, meter: Meter) -> tuple[Values, dict[str, Callable]]:
    """What a party works with: its shares' arithmetic, and the operations on them."""
    if job.kernels == "fused":
        from .fused.ops import OPS as FUSED_OPS
        from .fused.party import FusedShares

        return FusedShares(crypten, job.public, job.batch, job.provider, meter, job.threads), FUSED_OPS
    from .beaver import Shares
    from .ops import OPS

    return Shares(crypten, TorchKernels(), job.public.frac_bits, meter), OPS


def _compute(job: Job, report: Done, progress: Progress) -> None:
    crypten, public = load_crypten(), job.public
    communicator = crypten.communicator.get()
    meter = Meter(crypten, progress.waiting)
    s, ops = _engine(job, crypten, meter)
    sockets = Wire(job.folder, job.rank, 3 if job.provider == "TTP" else 2) if wire.can_count() else None
    if sockets:
        sockets.publish()

    progress.at(Progress.SHARING)
    server = None
    if job.rank == SERVER:
        server = {key: s.encode(torch.from_numpy(value)) for key, value in job.server.items()}
    secrets = s.connect(server, public.secret_shapes)
    gc.freeze()  # a collection that walks all of torch takes 0.1 s, more than an inference
    progress.waiting(True)
    communicator.barrier()
    progress.waiting(False)
    if sockets:
        sockets.meet()
    before = sockets.sent() if sockets else {}
    meter.reset()

    report.started, start = time.monotonic(), time.perf_counter()
    s.start()
    shape = (job.batch, *public.input_shape)
    x = s.encode(torch.from_numpy(job.x)) if job.rank == CLIENT else None
    values: dict[str, Tensor] = {public.input: s.share_input(x, shape)}
    gone = public.last_uses()
    for position, step in enumerate(public.steps, Progress.FIRST_STEP):
        progress.at(position)
        mine = {role: secrets[key] for role, key in step.secrets.items()}
        values[step.name] = ops[step.op](s, step, mine, *(values[name] for name in step.inputs))
        for name in gone.get(step.name, ()):
            del values[name]
    progress.at(Progress.FIRST_STEP + len(public.steps))
    output = s.open_to(values[public.output], CLIENT)
    report.seconds = time.perf_counter() - start

    report.rounds, report.provider_seconds = list(meter.rounds), meter.provider_seconds
    report.message_bytes, report.dealt_bytes = meter.message_bytes, meter.dealt_bytes
    if sockets:
        now = {rank: sent - before.get(rank, 0) for rank, sent in sockets.sent().items()}
        dealer = now.pop(DEALER, 0)
        report.sent = [sum(before.values()), sum(now.values()), dealer]
    if output is not None:
        report.output = output.numpy()
