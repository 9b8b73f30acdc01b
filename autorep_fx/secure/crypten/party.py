"""One party of a run: what happens inside its process."""

from __future__ import annotations

import gc
import os
import sys
import time
import traceback
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from ...errors import PeerLost
from ...text import brief
from ..host.report import Report
from ..plan.ring import encode, signed
from . import wire
from .compat import load_crypten
from .fixed_point import FixedPublic
from .meter import Meter, Wire
from .ops import OPS, laid_out
from .roles import CLIENT, DEALER, SERVER
from .shares import Shares


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
    """Where each party is, in a file of the run's folder that the launcher sees: the step it is in, and whether it
    waits for a peer."""

    STARTING, SHARING, FIRST_STEP = 0, 1, 2

    def __init__(self, folder: str, rank: int):
        self.cells, self.rank = self.shared(folder), rank

    @staticmethod
    def shared(folder: str) -> np.ndarray:
        """Two numbers for each rank; zeros at first."""
        path = os.path.join(folder, "progress")
        return np.memmap(path, np.int64, "r+" if os.path.exists(path) else "w+", shape=(2 * (DEALER + 1),))

    def at(self, position: int) -> None:
        self.cells[2 * self.rank] = position

    def waiting(self, value: bool) -> None:
        self.cells[2 * self.rank + 1] = int(value)

    @staticmethod
    def name(position: int, public: FixedPublic) -> str:
        steps = [s.name for s in public.steps]
        return ["start-up", "sharing the weights", *(f"step '{n}'" for n in steps), "opening the output"][position]


def main(connection: Connection) -> None:
    """Entry point of the process. Its :class:`Job` comes through the connection."""
    job: Job = connection.recv()
    progress = Progress(job.folder, job.rank)
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

    class Dealer(TTPServer):
        """CrypTen's, which connects, and answers requests until the server says goodbye."""

        def _setup_generators(self) -> None:
            super()._setup_generators()
            sockets.publish()
            report.sent[0] = wire.total()
            if job.kernels == "fused":  # which has no requests
                from .fused.dealer import serve

                serve(load_crypten().communicator.get())

    Dealer()
    report.sent[2] = wire.total() - report.sent[0]


def _shares(job: Job, crypten: ModuleType, meter: Meter) -> Shares:
    if job.kernels == "fused":
        from .fused.shares import FusedShares

        return FusedShares(crypten, job.public, job.batch, job.provider, meter, job.threads)
    from .beaver import BeaverShares

    return BeaverShares(crypten, job.public.frac_bits, meter)


def _compute(job: Job, report: Done, progress: Progress) -> None:
    crypten, public = load_crypten(), job.public
    communicator = crypten.communicator.get()
    meter = Meter(crypten, progress.waiting)
    s = _shares(job, crypten, meter)
    sockets = Wire(job.folder, job.rank, 3 if job.provider == "TTP" else 2)
    sockets.publish()

    progress.at(Progress.SHARING)
    numbers = {key: _encoded(job.server[key], public) if job.rank == SERVER else torch.zeros(shape, dtype=torch.int64)
               for key, shape in public.secret_shapes.items()}  # fmt: skip
    numbers = s.connect({step.name: laid_out(step, {role: numbers[key] for role, key in step.secrets.items()})
                         for step in public.steps})  # fmt: skip
    gc.freeze()  # a collection that walks all of torch takes 0.1 s, more than an inference
    progress.waiting(True)
    communicator.barrier()
    progress.waiting(False)
    sockets.meet()
    before = sockets.sent()
    meter.reset()

    report.started, start = time.monotonic(), time.perf_counter()
    given = public.given(_encoded(job.x, public)) if job.rank == CLIENT else {}
    values: dict[str, Tensor] = {
        name: s.share_input(given.get(name), (job.batch, *shape)) for name, shape in public.inputs.items()
    }
    gone = public.last_uses()
    for position, step in enumerate(public.steps, Progress.FIRST_STEP):
        progress.at(position)
        values[step.name] = OPS[step.op](s, step, numbers[step.name], *(values[name] for name in step.inputs))
        for name in gone.get(step.name, ()):
            del values[name]
    progress.at(Progress.FIRST_STEP + len(public.steps))
    output = s.open_to(values[public.output], CLIENT)
    report.seconds = time.perf_counter() - start

    report.rounds, report.provider_seconds = list(meter.rounds), meter.provider_seconds
    report.message_bytes, report.dealt_bytes = meter.message_bytes, meter.dealt_bytes
    now = {rank: sent - before.get(rank, 0) for rank, sent in sockets.sent().items()}
    dealer = now.pop(DEALER, 0)
    report.sent = [sum(before.values()), sum(now.values()), dealer]
    if output is not None:
        report.output = output.numpy()


def _encoded(value: np.ndarray, public: FixedPublic) -> Tensor:
    """Rounded to the grid. (CrypTen's own encoding cuts off, which is biased and up to a whole unit wrong.)"""
    return torch.from_numpy(signed(encode(value, public.frac_bits)))
