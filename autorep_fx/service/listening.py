"""A port, or an error of one line that names it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import PartyError

#: What can be done about it.
_WAYS_OUT = {
    errno.EADDRINUSE: "another process has it; end that one, or give another port",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.EACCES: "ports below 1024 are the system's",
}


def listen(option: str, address: tuple[str, int]) -> socket.socket:
    """A socket that listens at HOST, PORT, as an option says.

    Raises:
        PartyError: it cannot.
    """
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with naming(option, address):
        return socket.create_server(address, family=family, backlog=1024)


@contextmanager
def naming(option: str, address: tuple[str, int]) -> Iterator[None]:
    """Errors of the system name the option, the port and a way out.

    Raises:
        PartyError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        why = _WAYS_OUT.get(error.errno or 0, error.strerror or str(error))
        raise PartyError(f"{option}: cannot listen on {address[0]}:{address[1]}: {why}") from error
