"""Which inferences of which session were dealt, used and spoiled: each number is used once, whatever is killed when.

A line is written before the first byte that depends on it is, so what the ledger does not allow does not happen. The
seeds of a session are never written down, so what a killed process had prepared is of no use to the next one, and is
burned there when it starts.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import time

from ..errors import PartyError
from .rows import Rows

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


class Ledger(Rows):
    """What the processes of one owner did, in rows that all of them share.

    Args:
        path: of an SQLite file; None keeps it in memory.
        owner: who writes: a name that stays when the process is started again, and that no other one has meanwhile; or,
            with ``many``, one that several have at once, in one process or in several.
    """

    called, lost = "ledger", "what was open in it is answered by nobody any more"
    table, create, columns = "inferences", _TABLE, _COLUMNS

    def __init__(self, path: str | os.PathLike | None, owner: str, many: bool = False):
        self._name, self._many = owner, many
        self.owner = f"{owner} {os.getpid()} {secrets.token_hex(4)}" if many else owner
        super().__init__(path)

    def _begin(self) -> None:
        """The seeds of those that are gone are gone, so what they left open is burned."""
        for gone in self._dead(self._name) if self._many else [self._name]:
            self._burn_all("owner", gone)

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

    def spoil(self, session: str, number: int) -> None:
        """Write that an inference is answered by nobody, also one that was done with here: its check has failed."""
        self._do("update inferences set state = 'burned', at = ? where session = ? and number = ?",
                 (time.time(), session, number))  # fmt: skip

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


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is somebody else's
    return True
