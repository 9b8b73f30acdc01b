"""Rows in an SQLite file that is its owner's alone, whatever is killed when: of ledgers, and of who is refused."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from ..errors import FormatError, PartyError
from ..secure.owner import Owner
from .private import make_private, private_file, private_folder

#: Seconds until a file that others use is given up, and between two tries where SQLite does not wait by itself.
_PATIENCE, _AGAIN = 10.0, 0.01


class Rows:
    """One table. Threads, processes of a machine, and those that one of them was started again as, may share the file.
    A process opens it for itself: a fork may not use a connection of SQLite.

    Attributes:
        called: what such a file is; lost: what it means to begin a new one.
        table: its name, and ``columns``: (name, type, place in the key) of its columns.
        create: the command that makes it.

    Args:
        path: of the file; None keeps it in memory.

    Raises:
        FormatError: the file is no such thing, damaged, somebody else's, or cannot be opened; names it and the way out.
        PartyError: by any call, the file can no longer be read or written, or another process has opened it.
    """

    called: ClassVar[str]
    lost: ClassVar[str]
    table: ClassVar[str]
    create: ClassVar[str]
    columns: ClassVar[list[tuple[str, str, int]]]

    def __init__(self, path: str | os.PathLike | None):
        self._lock, self._path, self._process = threading.Lock(), path, Owner(f"this {self.called}")
        try:
            if path is not None:
                _make(Path(path))
            self._base = sqlite3.connect(":memory:" if path is None else path, timeout=_PATIENCE,
                                         check_same_thread=False, isolation_level=None)  # fmt: skip
            # A commit is in the file when the process is killed.
            _write_ahead(self._base)
            self._base.execute("pragma synchronous=normal")
            self._base.execute(self.create)
            self._check_whole()
            self._begin()
        except PartyError as error:
            raise self._damaged(str(error)) from error
        except (sqlite3.OperationalError, OSError) as error:
            raise FormatError(f"{path} cannot be used as a {self.called}: {error}") from error
        except (sqlite3.Error, UnicodeError) as error:  # the latter of a damaged name in SQLite's own message
            raise self._damaged(str(error)) from error

    def close(self) -> None:
        if self._process.here:
            with self._using() as base:
                base.close()

    def _begin(self) -> None:
        """What is done with the rows of a file that was opened."""

    def _do(self, command: str, values: tuple) -> int:
        """How many rows it changes."""
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
                raise PartyError(f"the {self.called} {self._path} cannot be read or written: {error}") from error

    def _check_whole(self) -> None:
        """Raise sqlite3.Error or FormatError for a file that would fail later."""
        found = self._base.execute("select name, type, pk from pragma_table_info(?)", (self.table,)).fetchall()
        if [(name, kind.upper(), key) for name, kind, key in found] != self.columns:
            raise self._damaged("its table is of another kind")
        ((first,), *_) = self._base.execute("pragma quick_check").fetchall()
        if first != "ok":
            raise self._damaged(first)

    def _damaged(self, why: str) -> FormatError:
        return FormatError(
            f"{self._path} is no {self.called}, or is damaged: {why}; move it away, and a new one is begun; {self.lost}"
        )


def _write_ahead(base: sqlite3.Connection) -> None:
    """Keep a log ahead of the file. Of two that begin one at the same time SQLite lets one fail at once, for neither
    could wait for the other."""
    last = time.monotonic() + _PATIENCE
    while True:
        try:
            base.execute("pragma journal_mode=wal")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > last:
                raise
        time.sleep(_AGAIN)


def _make(path: Path) -> None:
    """A file for nobody but its owner, of whose clients and sessions it tells; SQLite's own beside it are like it."""
    private_folder(path.parent)
    private_file(path)
    for beside in (path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal")):
        with contextlib.suppress(FileNotFoundError):
            make_private(beside)
