"""Clients whose messages have not passed a check: who they are, by name and by certificate, until one is cleared.

A client is refused by either, so neither another certificate of that name nor another name of that certificate is a
way back. Who clears is whoever owns the file (``python -m autorep_fx refused``), also while services run: they look
there at each connection.
"""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from .rows import Rows

#: The file, in a service's state folder.
FILE = "refused.sqlite"

_TABLE = """
create table if not exists refused (
    name text not null,
    fingerprint text not null,
    session text not null,
    number integer not null,
    at real not null,
    primary key (name, fingerprint)
) without rowid
"""

_COLUMNS = [("name", "TEXT", 1), ("fingerprint", "TEXT", 2), ("session", "TEXT", 0), ("number", "INTEGER", 0),
            ("at", "REAL", 0)]  # fmt: skip


class Refusal(NamedTuple):
    """Who is refused.

    Attributes:
        name: of the client.
        fingerprint: SHA-256 of its certificate, hexadecimal; "" where it had none.
        session, number: of the first inference whose check failed; "" and 0 where somebody has added it.
        at: of ``time.time``.
    """

    name: str
    fingerprint: str
    session: str
    number: int
    at: float


class Refusals(Rows):
    """All of them."""

    called, lost = "table of refused clients", "whoever was refused by it is not any more"
    table, create, columns = "refused", _TABLE, _COLUMNS

    def _begin(self) -> None:
        self._base.execute("pragma synchronous=full")  # a power failure, too, is no way back

    def add(self, name: str, fingerprint: str = "", session: str = "", number: int = 0) -> None:
        """Refuse a client from now on."""
        self._do("insert or ignore into refused values (?, ?, ?, ?, ?)",
                 (name, fingerprint, session, number, time.time()))  # fmt: skip

    def has(self, name: str, fingerprint: str = "") -> bool:
        """Whether a client is refused, by its name or by its certificate."""
        with self._using() as base:
            found = base.execute("select 1 from refused where name = ? or (fingerprint = ? and fingerprint != '')",
                                 (name, fingerprint))  # fmt: skip
            return found.fetchone() is not None

    def clear(self, name: str) -> None:
        """Refuse a client no more.

        Raises:
            ValueError: it is not refused; says who is.
        """
        if not self._do("delete from refused where name = ?", (name,)):
            names = ", ".join(sorted({line.name for line in self.lines()})) or "nobody is"
            raise ValueError(f"'{name}' is not refused in {self._path}: {names}")

    def lines(self) -> list[Refusal]:
        """All, the first one first."""
        with self._using() as base:
            return [*map(Refusal._make, base.execute("select * from refused order by at, name").fetchall())]


def refusals_in(state: str | os.PathLike | None) -> Refusals:
    """Those of a state folder; in memory without one."""
    return Refusals(None if state is None else os.path.join(state, FILE))
