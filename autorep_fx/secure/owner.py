"""Which process may use something: a fork has a copy of every mask, key and socket, and would use them again."""

from __future__ import annotations

import os

from ..errors import PartyError

#: This process; a fork gets one of its own. The number of a process alone may come twice, in containers above all.
_here = object()


class Owner:
    """The process that made something. What it costs to ask is a call of the system, a tenth of a microsecond.

    Args:
        what: that which is owned, for errors.
    """

    __slots__ = ("_number", "_process", "what")

    def __init__(self, what: str):
        self.what, self._process, self._number = what, _here, os.getpid()

    def __repr__(self) -> str:
        return f"Owner({self.what!r}, process={self._number})"

    @property
    def here(self) -> bool:
        """Whether this is that process. Both are looked at, as some fork without Python's knowledge."""
        return self._process is _here and self._number == os.getpid()

    def check(self) -> None:
        """Raises:
        PartyError: this is another process, such as a fork.
        """
        if not self.here:
            raise PartyError(
                f"{self.what} belongs to the process that started it ({self._number}), and this one, {os.getpid()}, "
                "would use its masks and keys a second time; start one in each process"
            )


def _forked() -> None:
    global _here
    _here = object()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
