"""All parties as processes of this machine, started once and asked many times."""

from __future__ import annotations

import threading
import time

import numpy as np

from ...errors import PartyError
from ..link import door
from ..link.network import Network
from ..makers.maker import Maker
from ..makers.table import DEALT
from ..plan.plan import Plan
from ..plan.server_numbers import Numbers
from ..result import Phase, Stats
from .admission import largest_batch
from .loop import PhaseReport
from .process import STARTUP, Job, main
from .supervisor import GRACE, Supervisor


class Session:
    """The parties, asked one thing at a time::

        with Session(plan, numbers) as session:
            output, stats = session.run(x)

    Threads may share a session: they take turns. A run that is interrupted (Ctrl-C, an exception out of a signal
    handler) leaves nothing to the next one: what it asked is answered first, within its timeout, and thrown away.

    Args:
        plan: what all of them know.
        numbers: the server's part; only the server's process gets it.
        timeout: seconds that a party waits for a message, and the launcher for an answer; starting up may take longer.
        threads: of each party.
        network: slow the link between client and server down to this while online.
        max_batch: samples that one run may have; None: as many as have correlations that fit into the machine's memory.
        maker: of the correlations.

    Raises:
        ValueError: an argument out of its range.
        PartyError: a party failed, died or hung; names it and the step. The session is over then.
    """

    def __init__(self, plan: Plan, numbers: dict[str, Numbers], *, timeout: float = 300.0, threads: int = 1,
                 network: Network | None = None, max_batch: int | None = None, maker: Maker = DEALT):  # fmt: skip
        if not 0 < timeout < 1e9 or threads < 1:
            raise ValueError(
                f"timeout must be above 0 and below 1e9, and threads at least 1, got {timeout!r} and {threads!r}"
            )
        if max_batch is not None and max_batch < 1:
            raise ValueError(f"max_batch must be at least 1 or None, got {max_batch!r}")
        self.timeout, self.max_batch = timeout, largest_batch(plan, maker) if max_batch is None else max_batch
        self._lock, self._number, self._deadline = threading.Lock(), 0, 0.0
        self._asked = False  # something that was not answered yet
        self._parties = Supervisor()
        start = time.monotonic()
        listeners = {}
        self.roles = maker.roles
        order = (*reversed(maker.helpers), "server", "client")  # each connects to all before it
        try:
            listeners.update((party, door.listen()) for party in order[:-1])
            at = {party: listener.getsockname() for party, listener in listeners.items()}
            common = {"plan": plan, "timeout": timeout, "threads": threads, "network": network, "maker": maker.name,
                      "max_batch": self.max_batch, "token": door.new_token()}  # fmt: skip
            for i, role in enumerate(order):
                self._parties.start(role, main, listeners.get(role))
                addresses = {party: at[party] for party in reversed(order[:i])}
                self._parties.ask(role, Job(role, **common, addresses=addresses, awaited={*order[i + 1 :]},
                                            numbers=numbers if role == "server" else None))  # fmt: skip
            wanted = {(party, "setup") for party in self.roles}
            found = self._parties.collect(wanted, start + max(timeout, STARTUP) + GRACE)
            self.setup = _phase("setup", found)
            self.setup.seconds = time.monotonic() - start
        except BaseException:
            self._parties.close(patience=0)
            raise
        finally:
            for listener in listeners.values():
                listener.close()

    def __repr__(self) -> str:
        return f"Session(of {', '.join(self.roles)}; max_batch={self.max_batch}, timeout={self.timeout:g})"

    @property
    def processes(self) -> dict:
        """The parties' processes, by name."""
        return self._parties.processes

    def run(self, x: np.ndarray) -> tuple[np.ndarray, Stats]:
        """Answer one batch (N, ...) of numbers: the output in float64, and what it cost.

        Raises:
            ValueError: more than ``max_batch`` samples.
            PartyError: see above; or the session is over, or it is that of the process that this one is a fork of.
        """
        x = np.asarray(x, np.float64)
        if not 0 < len(x) <= self.max_batch:
            raise ValueError(f"x: {len(x)} samples, and a run takes 1 to {self.max_batch} (max_batch); ask in parts")
        self._parties.check()
        with self._lock:
            if self._asked and not self._parties.closed:
                self._answer()  # nobody waits for it any more: its caller was interrupted
            if self._parties.closed:
                raise PartyError("this session is over; start another")
            try:
                self._number, self._asked, self._deadline = self._number + 1, True, time.monotonic() + self.timeout
                self._parties.ask("client", x)
            except BaseException:
                self._parties.close(patience=0)  # nobody knows whether it was asked
                raise
            found = self._answer()
        (output,) = (report.output for report in found if report.output is not None)
        offline, online = _phase("offline", found), _phase("online", found)
        memory = {party: max(r.memory for r in found if r.party == party) for party in self.roles}
        return output, Stats(online=online, offline=offline, setup=self.setup, counted="messages", memory=memory)

    def _answer(self) -> list[PhaseReport]:
        wanted = {*((party, "offline") for party in self.roles), ("client", "online"), ("server", "online")}
        found = self._parties.collect(wanted, self._deadline + GRACE, self._number)
        self._asked = False
        return found

    def close(self) -> None:
        """End the parties, once the run of another thread is done."""
        if not self._parties.mine:
            return
        with self._lock:
            if not self._asked and not self._parties.closed:
                self._parties.ask("client", None)
            # What an interrupted run asked is of no use to anyone.
            self._parties.close(patience=0 if self._asked else GRACE)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type | None, *_) -> None:
        self.close()


def _phase(name: str, found: list[PhaseReport]) -> Phase:
    reports = {r.party: r for r in sorted(found, key=lambda r: str(r.party)) if r.phase == name}
    return Phase(
        seconds=reports["client"].seconds,
        rounds=max(r.count.depth for r in reports.values()),
        bytes_sent={party: r.count.total_bytes for party, r in reports.items()},
        message_bytes={party: r.count.message_bytes for party, r in reports.items()},
    )
