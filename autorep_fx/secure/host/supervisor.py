"""Processes of this machine, watched by the one that started them: reports in, failures named, nobody left behind."""

from __future__ import annotations

import logging
import os
import pickle
import queue
import signal
import threading
import time
import weakref
from collections.abc import Callable, Hashable
from multiprocessing.connection import Connection
from typing import Any

from ...errors import PartyError
from ..owner import Owner
from .interpreter import Interpreter
from .report import Report

#: Seconds that the others get to report when one party failed, so that the cause is named and not its echo.
GRACE = 2.0

#: The same where nothing but echoes was heard: a large process that died may still be writing its memory down.
_DYING = 20.0

log = logging.getLogger(__name__)


class Supervisor:
    """Starts processes, asks them, and waits for what they report through a pipe each.

    Pipes are read and written by threads of their own, so that no message is torn or lost by an exception out of a
    signal handler, and a process that does not read or write holds up nobody beyond a deadline. Whatever becomes of the
    launcher, its processes end with it.

    Attributes:
        processes: by name.
        closed: no more can be asked.
    """

    def __init__(self) -> None:
        self.processes: dict[Hashable, Interpreter] = {}
        self.closed = False
        self._outboxes: dict[Hashable, queue.SimpleQueue[bytes | None]] = {}
        self._reports: list[Report] = []
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()  # rings once for each report
        self._heard: set[Hashable] = set()
        self._owner = Owner("this session")
        weakref.finalize(self, _end, self.processes, self._outboxes, self._owner)
        _supervisors.add(self)

    @property
    def mine(self) -> bool:
        """Whether this is the process that started the parties, not a fork of it."""
        return self._owner.here

    def check(self) -> None:
        """Raises:
        PartyError: this is another process than the one that started the parties.
        """
        self._owner.check()

    def start(self, name: Hashable, main: Callable, *args: Any) -> None:
        """Start ``main(pipe, *args)`` in a process (interpreter.py).

        Raises:
            PartyError: no process can be started from here; says why, and what to do.
        """
        try:
            process = Interpreter(name, main, *args)
        except OSError as error:
            raise PartyError(f"{name}: its process cannot be started: {error}") from error
        outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        pipe = process.pipe
        try:  # whoever is interrupted here leaves nobody either
            for target, args in ((_read, (process, name, self._reports, self._bell)), (_write, (outbox,))):
                threading.Thread(target=target, args=(pipe, *args), daemon=True).start()
            self._outboxes[name], self.processes[name] = outbox, process
        except BaseException:
            process.kill()
            process.see_end()
            outbox.put(None)
            raise

    def ask(self, name: Hashable, message: Any) -> None:
        """Send a message to a party; does not wait until it is read."""
        self.check()
        self._outboxes[name].put(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))

    def collect(self, wanted: set[tuple[Hashable, str]], deadline: float, number: int = 0) -> list[Report]:
        """The reports of these (party, phase) about request ``number``; those about earlier ones are thrown away.

        An interrupted call can be made again.

        Args:
            deadline: of ``time.monotonic``.

        Raises:
            PartyError: a party failed, died, or said nothing; names the first cause. All processes are ended.
        """
        start, failures = time.monotonic(), 0
        while self._reports and self._reports[0].phase and self._reports[0].number < number:
            del self._reports[0]
        while True:
            found = [r for r in self._reports if r.phase and r.number == number]
            missing = wanted - {(r.party, r.phase) for r in found}
            self._heard.update(r.party for r in found)
            failed = self._failed({party for party, _ in missing})
            late = [p for p in self.processes if p in {party for party, _ in missing} and p not in failed]
            if len(failed) > failures:
                failures = len(failed)
                patience = _DYING if all(r.lost for r in failed.values()) else GRACE
                deadline = min(deadline, time.monotonic() + patience)
            if not late:
                break
            try:
                self._bell.get(timeout=max(deadline - time.monotonic(), 0))
            except queue.Empty:
                break
        if not missing:
            return found
        self.close(patience=0)
        if not failed:
            raise self.silence(late, time.monotonic() - start)
        # Who died is the cause before who complains, and that before who only lost a peer; of equals the first.
        cause = min(failed.values(), key=lambda r: (r.lost, bool(r.trace)))
        log.error("%s failed:\n%s", cause.party, cause.trace or cause.error)
        raise self.failure(cause, late)

    def failure(self, report: Report, silent: list[Hashable]) -> PartyError:
        """The error that says what befell a party. silent: who said nothing in spite of it."""
        text = report.error if report.error.startswith(str(report.party)) else f"{report.party} failed: {report.error}"
        return PartyError(text + (f"; no word from: {', '.join(map(str, silent))}" if silent else ""))

    def silence(self, late: list[Hashable], seconds: float) -> PartyError:
        """The error that says who did not answer in time."""
        return PartyError(f"no answer after {seconds:.1f} s from: {', '.join(map(str, late))}")

    def close(self, patience: float = GRACE) -> None:
        """End the processes: those that do not end by themselves within ``patience`` seconds are killed."""
        if not self.mine:
            return
        self.closed = True
        deadline = time.monotonic() + patience
        try:
            for process in self.processes.values():
                process.join(max(deadline - time.monotonic(), 0))
        finally:
            _end(self.processes, self._outboxes, self._owner)
        for process in self.processes.values():
            process.join()

    def _failed(self, missing: set[Hashable]) -> dict[Hashable, Report]:
        """What befell each party that failed. missing: parties that still have something to report."""
        failed: dict[Hashable, Report] = {}
        for report in list(self._reports):
            if not report.phase and report.party not in failed:
                if not report.error:  # its pipe was closed
                    process = self.processes[report.party]
                    process.join(GRACE)
                    if process.exitcode == 0 and report.party not in missing:
                        continue
                    report.error = _obituary(process.exitcode, report.party in self._heard)
                failed[report.party] = report
        return failed


def _obituary(code: int | None, began: bool) -> str:
    if code is not None and code < 0:
        names = {number.value: number.name for number in signal.Signals}
        return f"died with signal {-code} ({names.get(-code, 'unknown')})"
    return f"died with exit code {code}" + ("" if began else " before it began; standard error may say why")


def _read(
    pipe: Connection, process: Interpreter, name: Hashable, reports: list[Report], bell: queue.SimpleQueue
) -> None:
    """Thread: everything that a party reports, that there will be no more, and at last its end."""
    report = None
    try:
        while report is None or report.phase:
            try:
                report = pipe.recv()
            except (EOFError, OSError):
                report = Report(name)
            reports.append(report)
            bell.put(None)
    finally:
        process.see_end()


def _write(pipe: Connection, outbox: queue.SimpleQueue) -> None:
    """Thread: one message after the other."""
    try:
        while (data := outbox.get()) is not None:
            pipe.send_bytes(data)
    except OSError:
        pass  # the party is gone, as the end of its reports says


def _end(processes: dict[Hashable, Interpreter], outboxes: dict[Hashable, queue.SimpleQueue], owner: Owner) -> None:
    """Processes end, and with them what reads; what writes ends, too, and with the last of both each pipe is closed."""
    if owner.here:
        for name, process in processes.items():
            process.kill()
            outboxes[name].put(None)


#: Those of this process.
_supervisors: weakref.WeakSet[Supervisor] = weakref.WeakSet()


def _let_go() -> None:
    """In a fork, which must not keep the parties of a launcher that is gone."""
    for supervisor in _supervisors:
        for process in supervisor.processes.values():
            process.let_go()
    _supervisors.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
