"""Messages between the two parties."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist

from ....errors import PeerLost
from ....text import brief
from ...link import buffers, door
from ...link.channel import raw
from ...link.sockets import SMALL
from ...plan.ring import U64
from ..meter import Meter

#: Seconds that the client may take to connect once it knows where.
_MEETING = 60.0


class Message(NamedTuple):
    """A party's half of one message of a protocol: what it sends, and the shape of what it gets, if any; uint64."""

    send: np.ndarray | None = None
    receive: Sequence[int] | None = None

    def __repr__(self) -> str:
        return brief(self)


class Channel:
    """The link to the other party: a TCP connection of its own. Counts rounds and bytes.

    Not CrypTen's gloo, which has a thread at each end and three messages for one: a round takes it ten times as long
    where processor cores are busy. The connection is arranged over gloo: party 0 listens on the loopback interface and
    tells its port and a random token, which party 1 begins with.

    There is no framing, which the native runtime's links have: both parties know the sizes of all messages.
    """

    def __init__(self, communicator: Any, meter: Meter):
        self._meter = meter
        self._socket = _connect(communicator)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def exchange(self, *messages: Message) -> list[np.ndarray | None]:
        """One round. What only goes one way does not hold up the party that sends it."""
        sends = [np.ascontiguousarray(m.send) for m in messages if m.send is not None]
        results = [None if m.receive is None else np.empty(tuple(m.receive), U64) for m in messages]
        self._meter.sends(sends, 1)
        out, into = ([raw(a) for a in arrays if a is not None and a.size] for arrays in (sends, results))
        with self._meter.wait_for_peer():
            try:
                self._move(out, into)
            except EOFError:
                raise PeerLost("connection closed by the other party") from None
        return results

    def _move(self, out: list[memoryview], into: list[memoryview]) -> None:
        if into and sum(map(len, out)) > SMALL:
            out, into = buffers.exchange(self._socket, out, into), []
        while out:
            out = buffers.after(out, self._socket.sendmsg(out))
        while into:
            count = self._socket.recv_into(into[0], 0, socket.MSG_WAITALL)
            if not count:
                raise EOFError
            into = buffers.after(into, count)


def _connect(communicator: Any) -> socket.socket:
    group, rank = communicator.main_group, communicator.get_rank()
    word = torch.empty(3, dtype=torch.int64)
    if rank == 1:
        dist.recv(word, 0, group)
        connection = socket.create_connection(("127.0.0.1", int(word[0])))
        door.introduce(connection, "client", word[1:].numpy().tobytes())
        return connection
    with door.listen() as listener:
        token = door.new_token()
        word[0] = listener.getsockname()[1]
        word[1:] = torch.from_numpy(np.frombuffer(token, np.int64).copy())
        dist.send(word, 1, group)
        return door.admit(listener, {"client"}, token, time.monotonic() + _MEETING)["client"]
