"""Starting the parties for one run, and collecting what they report."""

from __future__ import annotations

import logging
import tempfile
import time

import torch
from torch import Tensor

from ... import kernels as extension
from ...errors import PartyError
from ..host.report import Report
from ..host.supervisor import GRACE, Supervisor
from ..result import Phase, Result, Stats
from . import wire
from .compat import load_crypten
from .fixed_point import FixedProgram, on_grid
from .forms import check_input
from .party import DONE, Done, Job, Progress, main
from .precision import check_precision
from .roles import CLIENT, DEALER, SERVER
from .shares import KERNELS

PROVIDERS = ("TFP", "TTP")
NAMES = {SERVER: "party0", CLIENT: "party1", DEALER: "dealer"}
_ROLES = {SERVER: "party 0 (server)", CLIENT: "party 1 (client)", DEALER: "the dealer"}

log = logging.getLogger(__name__)


def run(program: FixedProgram, x: Tensor, *, provider: str, kernels: str, timeout: float, threads: int) -> Result:
    """See :meth:`autorep_fx.SecureProgram.run`; the output is what the client learns."""
    for name, value, allowed in (("provider", provider, PROVIDERS), ("kernels", kernels, KERNELS)):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
    if not 0 < timeout < 1e9 or threads < 1:
        raise ValueError(
            f"timeout must be above 0 and below 1e9, and threads at least 1, got {timeout!r} and {threads!r}"
        )
    program.check_input(x)
    check_input(program, x)
    check_precision(program, x)
    kernels = _usable(kernels)
    load_crypten()  # before anything is started, so that a missing package is one clear error

    with tempfile.TemporaryDirectory(prefix="autorep_fx-", ignore_cleanup_errors=True) as folder:
        jobs = _jobs(program, x, folder, provider, kernels, threads)
        start = time.monotonic()
        reports = _answers(jobs, program, timeout)
    return Result(torch.from_numpy(reports[CLIENT].output), _stats(reports, start))


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


def _answers(jobs: list[Job], program: FixedProgram, timeout: float) -> dict[int, Done]:
    """What every party reports, by rank. No process is left."""
    deadline = time.monotonic() + timeout
    parties = _Parties(program, timeout, jobs[0].folder)
    try:
        for job in jobs:
            parties.start(job.rank, main)
            parties.ask(job.rank, job)
        reports = parties.collect({(job.rank, DONE) for job in jobs}, deadline)
        parties.close(patience=GRACE)  # they say goodbye to one another
        return {report.party: report for report in reports}
    finally:
        parties.close(patience=0)


class _Parties(Supervisor):
    """The processes of one run. Errors name the step that a party was in."""

    def __init__(self, program: FixedProgram, timeout: float, folder: str):
        super().__init__()
        self.public, self.timeout, self.cells = program.public, timeout, Progress.shared(folder)

    def failure(self, report: Report, silent: list[int]) -> PartyError:
        return PartyError(f"{_ROLES[report.party]} failed at {self._where(report.party)}: {report.error}")

    def silence(self, late: list[int], seconds: float) -> PartyError:
        late = [rank for rank in late if rank != DEALER] or [DEALER]
        # Who waits for a peer is held up by it; the cause is a party that does not wait, or is furthest behind.
        rank = min(late, key=lambda r: (self.cells[2 * r + 1], self.cells[2 * r]))
        return PartyError(f"no answer within timeout={self.timeout:g} s; {_ROLES[rank]} is at {self._where(rank)}")

    def _where(self, rank: int) -> str:
        return "dealing" if rank == DEALER else Progress.name(int(self.cells[2 * rank]), self.public)


def _stats(reports: dict[int, Done], start: float) -> Stats:
    server, client = reports[SERVER], reports[CLIENT]
    parties = (server, client)
    counted = "wire" if wire.can_count() else "messages"

    def phase(index: int, seconds: float, rounds: int, senders, messages: dict[int, int]) -> Phase:
        sizes = {NAMES[r.party]: messages.get(r.party, 0) for r in senders}
        sent = {NAMES[r.party]: r.sent[index] for r in senders} if counted == "wire" else dict(sizes)
        return Phase(seconds, rounds, sent, sizes)

    everyone = [reports[rank] for rank in sorted(reports)]
    return Stats(
        online=phase(1, client.seconds, max(r.rounds[0] for r in parties), parties,
                     {r.party: r.message_bytes for r in parties}),
        offline=phase(2, max(r.provider_seconds for r in parties), max(r.rounds[1] for r in parties), everyone,
                      {DEALER: server.dealt_bytes}),
        setup=phase(0, client.started - start, 0, everyone, {}),
        counted=counted,
    )  # fmt: skip
