"""Which inferences of which session were dealt, used and spoiled: each number is used once, whatever is killed when.

A line is written before the first byte that depends on it is, so what the ledger does not allow does not happen. The
seeds of a session are never written down, so what a killed process had prepared is of no use to the next one, and is
burned there when it starts.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import FormatError, PartyError
from ..secure.owner import Owner
from .private import make_private, private_file, private_folder

_TABLE = """
create table if not exists inferences (
    session text not null,
    number integer not null,
    client text not null,
    owner text not null,
    state text not null check (state in ('prepared', 'claimed', 'done', 'burned')),
    at real not null,
    primary key (session, number)
) without rowid
"""

#: (name, type, place in the key) of its columns.
_COLUMNS = [("session", "TEXT", 1), ("number", "INTEGER", 2), ("client", "TEXT", 0), ("owner", "TEXT", 0),
            ("state", "TEXT", 0), ("at", "REAL", 0)]  # fmt: skip

_OPEN = "state in ('prepared', 'claimed')"

#: What may follow on what.
_BEFORE = {"claimed": ("prepared",), "done": ("claimed",), "burned": ("prepared", "claimed")}


class Ledger:
    """Threads, processes of a machine, and those that one of them was started again as, may share the file. A process
    opens it for itself: a fork may not use a connection of SQLite.

    Args:
        path: of an SQLite file; None keeps it in memory.
        owner: who writes: a name that stays when the process is started again, and that no other one has meanwhile; or,
            with ``many``, one that several have at once, in one process or in several.

    Raises:
        FormatError: the file is no ledger, damaged, somebody else's, or cannot be opened; names it and the way out.
        PartyError: by any call, the file can no longer be read or written, or another process has opened it.
    """

    def __init__(self, path: str | os.PathLike | None, owner: str, many: bool = False):
        self.owner, self._lock, self._path, self._process = owner, threading.Lock(), path, Owner("this ledger")
        if many:
            self.owner = f"{owner} {os.getpid()} {secrets.token_hex(4)}"
        try:
            if path is not None:
                _make(Path(path))
            self._base = sqlite3.connect(":memory:" if path is None else path, timeout=10, check_same_thread=False,
                                         isolation_level=None)  # fmt: skip
            # A commit is in the file when the process is killed; that the machine's power may fail matters not, as the
            # seeds are gone then.
            self._base.execute("pragma journal_mode=wal")
            self._base.execute("pragma synchronous=normal")
            self._base.execute(_TABLE)
            self._check_whole()
            for gone in self._dead(owner) if many else [owner]:
                self._burn_all("owner", gone)
        except PartyError as error:
            raise self._damaged(str(error)) from error
        except (sqlite3.OperationalError, OSError) as error:
            raise FormatError(f"{path} cannot be used as a ledger: {error}") from error
        except (sqlite3.Error, UnicodeError) as error:  # the latter of a damaged name in SQLite's own message
            raise self._damaged(str(error)) from error

    def prepare(self, session: str, number: int, client: str) -> None:
        """Write that an inference is being prepared.

        Raises:
            PartyError: there is one of this number.
        """
        try:
            self._do("insert into inferences values (?, ?, ?, ?, 'prepared', ?)",
                     (session, number, client, self.owner, time.time()))  # fmt: skip
        except sqlite3.IntegrityError:
            raise PartyError(f"inference {number} of session {session} is in the ledger already") from None

    def claim(self, session: str, number: int) -> None:
        """Write that an inference is used now.

        Raises:
            PartyError: it was used before, or never prepared.
        """
        if not self._move(session, number, "claimed"):
            raise PartyError(f"inference {number} of session {session} may not be used: it was before, or never was "
                             "prepared")  # fmt: skip

    def done(self, session: str, number: int) -> None:
        self._move(session, number, "done")

    def burn(self, session: str, number: int | None = None) -> None:
        """Write that an inference, or every open one of a session, will not be answered any more."""
        if number is not None:
            self._move(session, number, "burned")
        else:
            self._burn_all("session", session)

    def forget(self, days: float) -> None:
        """Leave out what ended longer ago than that."""
        self._do("delete from inferences where state in ('done', 'burned') and at < ?", (time.time() - 86400 * days,))

    def lines(self) -> list[tuple[str, int, str, str]]:
        """(session, number, client, state) of all."""
        with self._using() as base:
            found = base.execute("select session, number, client, state from inferences order by session, number")
            return found.fetchall()

    def close(self) -> None:
        if self._process.here:
            with self._using() as base:
                base.close()

    def _burn_all(self, column: str, value: str) -> None:
        self._do(f"update inferences set state = 'burned', at = ? where {column} = ? and {_OPEN}", (time.time(), value))

    def _dead(self, owner: str) -> list[str]:
        """Those of several owners of a name whose processes are gone."""
        with self._using() as base:
            found = base.execute(f"select distinct owner from inferences where owner like ? and {_OPEN}",
                                 (f"{owner} %",)).fetchall()  # fmt: skip
        try:
            return [name for (name,) in found if not _lives(int(name.split()[-2]))]
        except (ValueError, IndexError, OverflowError):
            raise self._damaged("an owner in it is none") from None

    def _move(self, session: str, number: int, state: str) -> bool:
        before = _BEFORE[state]
        return 1 == self._do(
            f"update inferences set state = ?, at = ? where session = ? and number = ? and state in "
            f"({', '.join('?' * len(before))})", (state, time.time(), session, number, *before),
        )  # fmt: skip

    def _do(self, command: str, values: tuple) -> int:
        with self._using() as base:
            return base.execute(command, values).rowcount

    @contextlib.contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        """The file, for this thread alone.

        Raises:
            PartyError: it can no longer be read or written, or another process has opened it.
        """
        self._process.check()
        with self._lock:
            try:
                yield self._base
            except sqlite3.IntegrityError:
                raise
            except (sqlite3.Error, UnicodeError) as error:
                raise PartyError(f"the ledger {self._path} cannot be read or written: {error}") from error

    def _check_whole(self) -> None:
        """Raise sqlite3.Error or FormatError for a file that would fail later."""
        found = self._base.execute("select name, type, pk from pragma_table_info('inferences')").fetchall()
        if [(name, kind.upper(), key) for name, kind, key in found] != _COLUMNS:
            raise self._damaged("its table is of another kind")
        ((first,), *_) = self._base.execute("pragma quick_check").fetchall()
        if first != "ok":
            raise self._damaged(first)

    def _damaged(self, why: str) -> FormatError:
        return FormatError(
            f"{self._path} is no ledger, or is damaged: {why}; move it away, and a new one is begun; what "
            "was open in it is answered by nobody any more"
        )


def _make(path: Path) -> None:
    """A file for nobody but its owner, of whose clients and sessions it tells; SQLite's own beside it are like it."""
    private_folder(path.parent)
    private_file(path)
    for beside in (path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal")):
        with contextlib.suppress(FileNotFoundError):
            make_private(beside)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is somebody else's
    return True
