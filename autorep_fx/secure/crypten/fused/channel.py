"""Messages between the two parties."""

from __future__ import annotations

import socket
import time
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from ....errors import PeerLost
from ....text import brief
from ...link import buffers, door
from ...link.buffers import after
from ..meter import Meter

#: What a socket takes at once even if the peer is not reading.
_FITS = 32 << 10

_CLOSED = "connection closed by the other party"

#: Seconds that the client may take to connect once it knows where.
_MEETING = 60.0


class Message(NamedTuple):
    """A party's half of one message of a protocol: what it sends (int64), and the shape of what it gets, if any."""

    send: Tensor | None = None
    receive: Sequence[int] | None = None

    def __repr__(self) -> str:
        return brief(self)


#: A protocol yields its messages one by one, is resumed with what the peer sent, and returns its result.
Protocol = Generator[Message, Any, Any]


class Channel:
    """The link to the other party: a TCP connection of its own. Counts rounds and bytes.

    Not CrypTen's gloo, which has a thread at each end and three messages for one: a round takes it ten times as long
    where processor cores are busy. The connection is arranged over gloo: party 0 listens on the loopback interface and
    tells its port and a random token, which party 1 begins with.

    There is no framing: both parties know the sizes of all messages.
    """

    def __init__(self, communicator: Any, meter: Meter):
        self._meter = meter
        self._socket = _connect(communicator)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self, *protocols: Protocol) -> list[Any]:
        """Run protocols side by side: each round carries one message of every one that is not done.

        A message that only goes one way does not hold up the party that sends it.
        """
        results: list[Any] = [None] * len(protocols)
        active, incoming = dict(enumerate(protocols)), dict.fromkeys(range(len(protocols)))
        while active:
            messages = {}
            for key, protocol in list(active.items()):
                try:
                    messages[key] = protocol.send(incoming[key])
                except StopIteration as done:
                    results[key] = done.value
                    del active[key]
            if messages:
                incoming = dict(zip(messages, self.exchange(*messages.values())))
        return results

    def exchange(self, *messages: Message) -> list[Tensor | None]:
        """One round."""
        sends = [m.send.contiguous() for m in messages if m.send is not None]
        self._meter.sends(sends, 1)
        results = [None if m.receive is None else torch.empty(*m.receive, dtype=torch.int64) for m in messages]
        out, into = _views(sends), _views([r for r in results if r is not None])
        with self._meter.wait_for_peer():
            if not into or sum(map(len, out)) <= _FITS:
                self._send(out)
                self._receive(into)
            else:
                self._both_ways(out, into)
        return results

    def _send(self, out: list[memoryview]) -> None:
        while out:
            out = after(out, self._socket.sendmsg(out))

    def _receive(self, into: list[memoryview]) -> None:
        while into:
            count = self._socket.recv_into(into[0], 0, socket.MSG_WAITALL)
            if not count:
                raise PeerLost(_CLOSED)
            into = after(into, count)

    def _both_ways(self, out: list[memoryview], into: list[memoryview]) -> None:
        try:
            self._send(buffers.exchange(self._socket, out, into))
        except EOFError:
            raise PeerLost(_CLOSED) from None


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


def _views(tensors: list[Tensor]) -> list[memoryview]:
    return [memoryview(t.numpy()).cast("B") for t in tensors if t.numel()]
