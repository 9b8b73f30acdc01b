"""Lists of buffers that a socket takes or fills piece by piece."""

from __future__ import annotations

import select
import socket
import time


def after(parts: list[memoryview], count: int) -> list[memoryview]:
    """What is left of the buffers behind the first ``count`` bytes."""
    while count:
        if count < len(parts[0]):
            return [parts[0][count:], *parts[1:]]
        count -= len(parts[0])
        parts = parts[1:]
    return parts


def exchange(
    connection: socket.socket, out: list[memoryview], into: list[memoryview], deadline: float | None = None
) -> list[memoryview]:
    """Fill ``into`` and send ``out`` meanwhile, so that two who both send never wait for each other to read.

    Returns what is left to send.

    Raises:
        TimeoutError: the deadline (of ``time.monotonic``) has passed.
        EOFError: the peer hung up.
        OSError: the connection broke.
    """
    poll = select.poll()
    while into:
        poll.register(connection, select.POLLIN | (select.POLLOUT if out else 0))
        left = None if deadline is None else 1000 * (deadline - time.monotonic())
        ready = poll.poll(left) if left is None or left > 0 else []
        if not ready:
            raise TimeoutError
        try:
            if out and ready[0][1] & select.POLLOUT:
                out = after(out, connection.sendmsg(out, [], socket.MSG_DONTWAIT))
            if ready[0][1] & ~select.POLLOUT:
                got = connection.recv_into(into[0], 0, socket.MSG_DONTWAIT)
                if not got:
                    raise EOFError
                into = after(into, got)
        except BlockingIOError:
            continue
    return out
