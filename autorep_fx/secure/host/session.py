"""The three parties as processes of this machine: starting them, asking them, and naming who failed."""

from __future__ import annotations

import logging
import multiprocessing
import socket
import time
from multiprocessing.connection import wait

import numpy as np

from ...errors import PartyError
from ..link.message import HEADER_BYTES
from ..network import Network
from ..plan.numbers import Numbers
from ..plan.plan import Plan
from ..stats import Phase, Stats
from . import process as party_process
from .process import STARTUP, Job, Report, main

#: Seconds that the others get to report when one party failed, so that the cause is named and not its echo.
_GRACE = 2.0

log = logging.getLogger(__name__)


class Session:
    """Client, server and dealer, started once and asked many times::

        with Session(plan, numbers) as session:
            output, stats = session.run(x)

    Args:
        plan: what all three know.
        numbers: the server's part; only the server's process gets it.
        timeout: seconds that a party waits for a message, and the launcher for an answer; starting up may take longer.
        threads: of each party.
        network: slow the link between client and server down to this while online.

    Raises:
        PartyError: a party failed, died or hung; names it and the step. The session is over then.
    """

    def __init__(self, plan: Plan, numbers: dict[str, Numbers], *, timeout: float = 300.0, threads: int = 1,
                 network: Network | None = None):  # fmt: skip
        if timeout <= 0 or threads < 1:
            raise ValueError(f"timeout must be above 0 and threads at least 1, got {timeout!r} and {threads!r}")
        self.timeout = timeout
        listeners = {role: _listen() for role in ("server", "dealer")}
        at = {role: listener.getsockname() for role, listener in listeners.items()}
        common = {"plan": plan, "timeout": timeout, "threads": threads, "network": network}
        jobs = [
            Job("dealer", **common, addresses={}, listener=listeners["dealer"]),
            Job("server", **common, addresses={"dealer": at["dealer"]}, listener=listeners["server"], numbers=numbers),
            Job("client", **common, addresses=at),
        ]
        # Fork and torch's threads do not go together; a server that imports once and forks from there is clean and
        # quick.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([party_process.__name__])
        self.processes, self.pipes = {}, {}
        start = time.monotonic()
        try:
            for job in jobs:
                mine, theirs = context.Pipe()
                self.processes[job.role] = context.Process(target=main, args=(job, theirs), name=job.role, daemon=True)
                self.processes[job.role].start()
                theirs.close()  # so that a dead party's pipe reads as closed
                self.pipes[job.role] = mine
            for listener in listeners.values():
                listener.close()
            found = self._collect({role: ["setup"] for role in self.pipes}, max(timeout, STARTUP))
            self.setup = self._phase("setup", found, ("client", "server", "dealer"))
            self.setup.seconds = time.monotonic() - start
        except BaseException:
            self._reap()
            raise

    def run(self, x: np.ndarray) -> tuple[np.ndarray, Stats]:
        """Answer one batch (N, ...) of numbers: the output in float64, and what it cost."""
        if not self.pipes:
            raise PartyError("this session is over; start another")
        try:
            self.pipes["client"].send(np.asarray(x, np.float64))
        except OSError:
            pass  # it is gone, as its missing report will say
        phases = {"client": ["offline", "online"], "server": ["offline", "online"], "dealer": ["offline"]}
        found = self._collect(phases, self.timeout)
        output = found["client", "online"].output
        offline = self._phase("offline", found, ("client", "server", "dealer"))
        online = self._phase("online", found, ("client", "server"))
        return output, Stats(online=online, offline=offline, setup=self.setup, counted="messages")

    def close(self) -> None:
        """End the parties."""
        if self.pipes:
            try:
                self.pipes["client"].send(None)
            except OSError:
                pass  # it is gone already
        self._reap()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type | None, *_) -> None:
        self.close()

    def _phase(self, name: str, found: dict[tuple[str, str], Report], roles: tuple[str, ...]) -> Phase:
        reports = {role: found[role, name] for role in roles}
        sent = {role: r.count.total_bytes for role, r in reports.items()}
        framed = {role: HEADER_BYTES * sum(r.count.messages_sent.values()) for role, r in reports.items()}
        return Phase(
            seconds=reports["client"].seconds,
            rounds=max(r.count.depth for r in reports.values()),
            bytes_sent=sent,
            message_bytes={role: sent[role] - framed[role] for role in roles},
        )

    def _collect(self, wanted: dict[str, list[str]], timeout: float) -> dict[tuple[str, str], Report]:
        """Reports of these phases by (role, phase)."""
        left = {role: list(phases) for role, phases in wanted.items()}
        found: dict[tuple[str, str], Report] = {}
        failed: list[Report] = []
        deadline = time.monotonic() + timeout + _GRACE
        while any(left.values()):
            pipes = {self.pipes[role]: role for role, phases in left.items() if phases}
            ready = wait(list(pipes), timeout=max(deadline - time.monotonic(), 0))
            if not ready:
                break
            for pipe in ready:
                role = pipes[pipe]
                try:
                    report = pipe.recv()
                except (EOFError, OSError):
                    self.processes[role].join(_GRACE)
                    report = Report(role, "error", error=f"{role}: died with exit code {self.processes[role].exitcode}")
                if report.phase == "error":
                    failed.append(report)
                    left[role] = []
                    deadline = min(deadline, time.monotonic() + _GRACE)
                else:
                    found[role, report.phase] = report
                    left[role].remove(report.phase)
        late = [role for role, phases in left.items() if phases]
        if failed or late:
            self._reap()
            self._raise(failed, late, timeout)
        return found

    def _raise(self, failed: list[Report], late: list[str], timeout: float) -> None:
        if not failed:
            raise PartyError(f"no answer within {timeout:g} s from: {', '.join(late)}")
        # Who hung up because a peer did is an echo.
        report = min(failed, key=lambda r: r.lost)
        log.error("%s failed:\n%s", report.role, report.trace or report.error)
        raise PartyError(
            report.error if report.error.startswith(report.role) else f"{report.role} failed: {report.error}"
        )

    def _reap(self) -> None:
        patience = time.monotonic() + _GRACE
        for pipe in self.pipes.values():
            pipe.close()
        for process in self.processes.values():
            process.join(max(patience - time.monotonic(), 0))
            if process.is_alive():
                process.kill()
                process.join()
            process.close()
        self.processes, self.pipes = {}, {}


def _listen() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), backlog=2)
