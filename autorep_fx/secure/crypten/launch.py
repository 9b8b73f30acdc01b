"""Starting the parties, watching them, and collecting what they report."""

from __future__ import annotations

import logging
import multiprocessing
import shutil
import tempfile
import time
from multiprocessing.connection import wait

import torch
from torch import Tensor

from ... import kernels as extension
from ...errors import PartyError
from ..stats import Phase, Result, Stats
from . import wire
from .compat import load_crypten
from .fixed_point import FixedProgram, on_grid
from .forms import check_input
from .kernels import KERNELS
from .party import Job, Progress, Report, main
from .precision import check_precision
from .roles import CLIENT, DEALER, SERVER

PROVIDERS = ("TFP", "TTP")
NAMES = {SERVER: "party0", CLIENT: "party1", DEALER: "dealer"}
_ROLES = {SERVER: "party 0 (server)", CLIENT: "party 1 (client)", DEALER: "the dealer"}

#: Seconds that the others get to report when one party failed, so that the cause is named and not its echo.
_GRACE = 2.0

log = logging.getLogger(__name__)


def run(program: FixedProgram, x: Tensor, *, provider: str, kernels: str, timeout: float, threads: int) -> Result:
    """See :meth:`autorep_fx.SecureProgram.run`."""
    for name, value, allowed in (("provider", provider, PROVIDERS), ("kernels", kernels, KERNELS)):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
    if timeout <= 0 or threads < 1:
        raise ValueError(f"timeout must be above 0 and threads at least 1, got {timeout!r} and {threads!r}")
    program.check_input(x)
    check_input(program, x)
    check_precision(program, x)
    kernels = _usable(kernels)
    load_crypten()  # before anything is started, so that a missing package is one clear error

    folder = tempfile.mkdtemp(prefix="autorep_fx-")
    try:
        jobs = _jobs(program, x, folder, provider, kernels, threads)
        start = time.monotonic()
        reports = _Watch(jobs, program, timeout).collect()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    output = torch.from_numpy(reports[CLIENT].output).to(x.dtype)
    return Result(output, _stats(reports, start))


def _usable(kernels: str) -> str:
    if kernels == "fused" and not extension.available():
        log.warning("the compiled kernels are not installed: using kernels='torch', which is several times slower")
        return "torch"
    return kernels


def _jobs(program: FixedProgram, x: Tensor, folder: str, provider: str, kernels: str, threads: int) -> list[Job]:
    common = {"folder": folder, "provider": provider, "kernels": kernels, "threads": threads}
    public = {"public": program.public, "batch": len(x)}
    # numpy: torch would pass tensors by shared memory, whose files outlive a party that is killed.
    weights = {key: tensor.numpy() for key, tensor in on_grid(program).items()}
    jobs = [
        Job(SERVER, **common, **public, server=weights),
        Job(CLIENT, **common, **public, x=x.detach().to("cpu", torch.float64).numpy()),
    ]
    return jobs + [Job(DEALER, **common)] if provider == "TTP" else jobs


class _Watch:
    """The processes of one run; none survives :meth:`collect`."""

    def __init__(self, jobs: list[Job], program: FixedProgram, timeout: float):
        self.public, self.timeout = program.public, timeout
        self.deadline = time.monotonic() + timeout
        context = multiprocessing.get_context("spawn")  # fork and torch's threads do not go together
        self.cells = context.RawArray("q", 2 * len(jobs))
        self.processes, self.pipes, self.ends = {}, {}, []
        for job in jobs:
            mine, theirs = context.Pipe(duplex=False)
            process = context.Process(target=main, args=(job, theirs, self.cells), name=NAMES[job.rank], daemon=True)
            self.processes[job.rank], self.pipes[job.rank] = process, mine
            self.ends.append(theirs)

    def collect(self) -> dict[int, Report]:
        try:
            for process in self.processes.values():
                process.start()
            for end in self.ends:
                end.close()  # so that a dead party's pipe reads as closed
            reports = self._reports()
            self._reap(patience=_GRACE)  # they say goodbye to one another
            return reports
        finally:
            self._reap(patience=0)

    def _reports(self) -> dict[int, Report]:
        reports: dict[int, Report] = {}
        deadline = self.deadline
        while len(reports) < len(self.processes):
            open_pipes = {pipe: rank for rank, pipe in self.pipes.items() if rank not in reports}
            ready = wait(list(open_pipes), timeout=max(deadline - time.monotonic(), 0))
            if not ready:
                break
            for pipe in ready:
                rank = open_pipes[pipe]
                try:
                    reports[rank] = pipe.recv()
                except EOFError:
                    self.processes[rank].join(_GRACE)
                    code = self.processes[rank].exitcode
                    reports[rank] = Report(rank, error=f"died with exit code {code}")
                if reports[rank].error:
                    deadline = min(deadline, time.monotonic() + _GRACE)
        failed = [r for r in reports.values() if r.error]
        if failed:
            raise self._failure(failed)
        if len(reports) < len(self.processes):
            raise self._timeout(reports)
        return reports

    def _failure(self, failed: list[Report]) -> PartyError:
        report = min(failed, key=lambda r: (r.lost_peer, r.rank))
        log.error("%s failed:\n%s", _ROLES[report.rank], report.trace or report.error)
        return PartyError(f"{_ROLES[report.rank]} failed at {self._where(report.rank)}: {report.error}")

    def _timeout(self, reports: dict[int, Report]) -> PartyError:
        late = [rank for rank in self.processes if rank not in reports and rank != DEALER]
        late = late or [DEALER]
        # Who waits for a peer is held up by it; the cause is a party that does not wait, or is furthest behind.
        rank = min(late, key=lambda r: (self.cells[2 * r + 1], self.cells[2 * r]))
        return PartyError(f"no answer within timeout={self.timeout:g} s; {_ROLES[rank]} is at {self._where(rank)}")

    def _where(self, rank: int) -> str:
        return "dealing" if rank == DEALER else Progress.name(self.cells[2 * rank], self.public)

    def _reap(self, patience: float) -> None:
        deadline = time.monotonic() + patience
        while self.processes:
            _, process = self.processes.popitem()
            if process.pid is not None:
                process.join(max(deadline - time.monotonic(), 0))
                process.kill()
                process.join()
            process.close()
        while self.pipes:
            self.pipes.popitem()[1].close()


def _stats(reports: dict[int, Report], start: float) -> Stats:
    server, client = reports[SERVER], reports[CLIENT]
    parties = (server, client)
    counted = "wire" if wire.can_count() else "messages"

    def phase(index: int, seconds: float, rounds: int, senders, messages: dict[int, int]) -> Phase:
        sizes = {NAMES[r.rank]: messages.get(r.rank, 0) for r in senders}
        sent = {NAMES[r.rank]: r.sent[index] for r in senders} if counted == "wire" else dict(sizes)
        return Phase(seconds, rounds, sent, sizes)

    everyone = [reports[rank] for rank in sorted(reports)]
    return Stats(
        online=phase(1, client.seconds, max(r.rounds[0] for r in parties), parties,
                     {r.rank: r.message_bytes for r in parties}),
        offline=phase(2, max(r.provider_seconds for r in parties), max(r.rounds[1] for r in parties), everyone,
                      {DEALER: server.dealt_bytes}),
        setup=phase(0, client.started - start, 0, everyone, {}),
        counted=counted,
    )  # fmt: skip
