"""Messages between the two parties, over CrypTen's process group."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from ..meter import Meter


class Message(NamedTuple):
    """A party's half of one message of a protocol: what it sends (int64), and the shape of what it gets, if anything.

    What is sent must not be written to afterwards: it may still be on its way.
    """

    send: Tensor | None = None
    receive: Sequence[int] | None = None


#: A protocol yields its messages one by one, is resumed with what the peer sent, and returns its result.
Protocol = Generator[Message, Any, Any]


class Channel:
    """The link to the other party. Counts rounds and bytes."""

    def __init__(self, communicator: Any, meter: Meter):
        self._group, self._peer, self._meter = communicator.main_group, 1 - communicator.get_rank(), meter
        self._sent = self._received = 0
        self._on_the_way: list[tuple[Any, Tensor]] = []

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
                incoming = dict(zip(messages, self.exchange(list(messages.values()))))
        return results

    def exchange(self, messages: list[Message]) -> list[Tensor | None]:
        """One round."""
        self._meter.sends([m.send for m in messages if m.send is not None], 1)
        receipts, buffers = [], []
        for message in messages:
            buffers.append(None if message.receive is None else torch.empty(*message.receive, dtype=torch.int64))
            if buffers[-1] is not None:
                self._received += 1
                receipts.append(dist.irecv(buffers[-1], self._peer, self._group, tag=self._received))
        for message in messages:
            if message.send is not None:
                self._sent += 1
                sent = message.send.contiguous()
                self._on_the_way.append((dist.isend(sent, self._peer, self._group, tag=self._sent), sent))
        with self._meter.wait_for_peer():
            for receipt in receipts:
                receipt.wait()
        if receipts:  # the peer is this far, so what was sent before the last round has arrived
            self.flush(keep=len(messages))
        return buffers

    def flush(self, keep: int = 0) -> None:
        """Wait until all but the last ``keep`` messages have left."""
        with self._meter.wait_for_peer():
            while len(self._on_the_way) > keep:
                self._on_the_way.pop(0)[0].wait()
