"""Processes of this machine, watched by the one that started them: reports in, failures named, nobody left behind."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from ...errors import PartyError

#: Seconds that the others get to report when one party failed, so that the cause is named and not its echo.
GRACE = 2.0

#: The same where nothing but echoes was heard: a large process that died may still be writing its memory down.
_DYING = 20.0

log = logging.getLogger(__name__)


@dataclass
class Report:
    """What a party's process tells its launcher.

    Attributes:
        party: by which name it was started.
        phase: what it has finished; nothing in a failure.
        number: of the request that this is about.
        error, trace: of a failure.
        lost: only a peer's end was seen, so another party is the cause.
    """

    party: Hashable
    phase: str = ""
    number: int = 0
    error: str = ""
    trace: str = ""
    lost: bool = False


class Supervisor:
    """Starts processes, asks them, and waits for what they report through a pipe each.

    Pipes are read and written by threads of their own, so that no message is torn by an exception out of a signal
    handler, and a process that does not read or write holds up nobody beyond a deadline.

    Args:
        method: how multiprocessing starts processes: "forkserver" or "spawn".
        preload: modules that a fork server imports once for all.

    Attributes:
        processes: by name.
        closed: no more can be asked.
    """

    def __init__(self, method: str, preload: tuple[str, ...] = ()):
        self.context = multiprocessing.get_context(method)
        if preload:
            self.context.set_forkserver_preload(list(preload))
        self.processes: dict[Hashable, BaseProcess] = {}
        self.closed = False
        self._pipes: dict[Hashable, Connection] = {}
        self._heard: set[Hashable] = set()
        self._inbox: queue.SimpleQueue[Report] = queue.SimpleQueue()
        self._owner = os.getpid()
        weakref.finalize(self, _kill, self.processes, self._owner)

    @property
    def mine(self) -> bool:
        """Whether this is the process that started the parties, not a fork of it."""
        return os.getpid() == self._owner

    def start(self, name: Hashable, main: Callable, *args: Any) -> None:
        """Start ``main(pipe, *args)`` in a process.

        Raises:
            PartyError: no process can be started from here; says why, and what to do.
        """
        _check_main(name)
        pipe, theirs = self.context.Pipe()
        process = self.context.Process(target=main, args=(theirs, *args), name=str(name), daemon=True)
        try:
            process.start()
        except (OSError, RuntimeError) as error:
            pipe.close()
            raise PartyError(f"{name}: its process cannot be started: {error}") from error
        finally:
            theirs.close()  # so that a dead party's pipe reads as closed
        self.processes[name], self._pipes[name] = process, pipe
        threading.Thread(target=_read, args=(name, pipe, self._inbox), daemon=True).start()

    def ask(self, name: Hashable, message: Any) -> None:
        """Send a message to a party; does not wait until it is read. One at a time to each."""
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        threading.Thread(target=_write, args=(self._pipes[name], data), daemon=True).start()

    def collect(self, left: set[tuple[Hashable, str]], deadline: float, number: int = 0) -> list[Report]:
        """The reports of these (party, phase) about request ``number``. Others are thrown away.

        Args:
            left: is emptied as they come, so that an interrupted call can be made again with what it left.
            deadline: of ``time.monotonic``.

        Raises:
            PartyError: a party failed, died, or said nothing; names the first cause. All processes are ended.
        """
        found: list[Report] = []
        failed: dict[Hashable, Report] = {}
        start = time.monotonic()
        while {party for party, _ in left} - failed.keys():
            try:
                report = self._inbox.get(timeout=max(deadline - time.monotonic(), 0))
            except queue.Empty:
                break
            if report.phase:
                self._heard.add(report.party)
                if report.number == number:
                    left.discard((report.party, report.phase))
                    found.append(report)
            elif report.party not in failed and (report.error or self._died(report, left)):
                failed[report.party] = report
                patience = _DYING if all(r.lost for r in failed.values()) else GRACE
                deadline = min(deadline, time.monotonic() + patience)
        if failed or left:
            self.close(patience=0)
            late = {party for party, _ in left} - failed.keys()
            silent = [party for party in self.processes if party in late]
            if not failed:
                raise self.silence(silent, time.monotonic() - start)
            # Who died is the cause before who complains, and that before who only lost a peer; of equals the first.
            cause = min(failed.values(), key=lambda r: (r.lost, bool(r.trace)))
            log.error("%s failed:\n%s", cause.party, cause.trace or cause.error)
            raise self.failure(cause, silent)
        return found

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
            _kill(self.processes, self._owner)
        for process in self.processes.values():
            process.join()
        self._pipes.clear()  # each is closed when its threads have seen the end of the other side

    def _died(self, report: Report, left: set[tuple[Hashable, str]]) -> bool:
        """Complete the notice that a pipe was closed; False where that party was done."""
        name, process = report.party, self.processes[report.party]
        process.join(GRACE)
        code = process.exitcode
        if code == 0 and name not in {party for party, _ in left}:
            return False
        if code is not None and code < 0:
            names = {number.value: number.name for number in signal.Signals}
            report.error = f"died with signal {-code} ({names.get(-code, 'unknown')})"
        else:
            report.error = f"died with exit code {code}"
        if code == 1 and name not in self._heard:
            report.error += (
                ' before it began: its process imports the main script first. A script that runs parties does so under '
                '`if __name__ == "__main__":`'
            )
        return True


def _check_main(name: Hashable) -> None:
    """Refuse early what multiprocessing would fail at, or only in the child."""
    main = sys.modules["__main__"]
    path = getattr(main, "__file__", None)
    if getattr(main, "__spec__", None) is None and path is not None and not os.path.exists(path):
        raise PartyError(
            f"{name}: its process imports the main script first, and {path} is no file; save a script that comes from "
            "standard input to a file, and run that"
        )
    if multiprocessing.current_process().daemon:
        raise PartyError(
            f"{name}: its process cannot be started from a daemonic process, such as a worker of multiprocessing.Pool; "
            "use concurrent.futures.ProcessPoolExecutor, or the main process"
        )


def _read(name: Hashable, pipe: Connection, inbox: queue.SimpleQueue) -> None:
    """Thread: everything that a party reports, and at last that there will be no more."""
    try:
        while True:
            inbox.put(pipe.recv())
    except (EOFError, OSError):
        inbox.put(Report(name))


def _write(pipe: Connection, data: bytes) -> None:
    """Thread: one message."""
    try:
        pipe.send_bytes(data)
    except OSError:
        pass  # the party is gone, as the end of its reports says


def _kill(processes: dict[Hashable, BaseProcess], owner: int) -> None:
    if os.getpid() == owner:
        for process in processes.values():
            process.kill()
