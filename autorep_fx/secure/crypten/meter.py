"""Counting what a party sends, in how many rounds, and how long the provider of correlations takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
from torch import Tensor

from . import wire

_PROVIDES = ("generate_additive_triple", "square", "generate_binary_triple", "B2A_rng", "wrap_rng")


class Meter:
    """Rounds, bytes of messages and seconds of one party, online and in the provider.

    Wraps the methods of CrypTen's communicator and provider objects of this process. Every communication call is one
    round, except that a request to the dealer (object out, size and tensor back) is one together.

    Attributes:
        rounds: [online, offline].
        message_bytes: bytes of the tensors that this party sent online.
        dealt_bytes: bytes of the tensors that the dealer sent to this party.
        provider_seconds: time spent inside the provider.
        waiting: called with True before and False after each call that may block on a peer.
    """

    def __init__(self, crypten: ModuleType, waiting: Callable[[bool], None]):
        self.waiting = waiting
        self._providing = False
        communicator = crypten.communicator.get()
        self._rank = communicator.get_rank()
        self.reset()
        for name in ("all_reduce", "reduce", "broadcast", "gather", "scatter", "all_gather", "send_obj", "recv_obj"):
            setattr(communicator, name, self._communication(name, getattr(communicator, name)))
        provider = crypten.mpc.get_default_provider()
        metered = _Provider(self, provider)
        crypten.mpc.get_default_provider = lambda: metered

    def reset(self) -> None:
        self.rounds, self.message_bytes, self.dealt_bytes, self.provider_seconds = [0, 0], 0, 0, 0.0

    @contextmanager
    def providing(self) -> Iterator[None]:
        start, self._providing = time.perf_counter(), True
        try:
            yield
        finally:
            self._providing = False
            self.provider_seconds += time.perf_counter() - start

    def _communication(self, name: str, function: Callable) -> Callable:
        def counted(*args: Any, **kwargs: Any) -> Any:
            if not self._providing:
                self.rounds[0] += 1
                self.message_bytes += self._size(name, args, kwargs)
            elif name == "send_obj":
                self.rounds[1] += 1
            elif name == "broadcast":
                self.dealt_bytes += _bytes(args[0])
            with self.wait_for_peer():
                return function(*args, **kwargs)

        return counted

    def sends(self, arrays: Sequence[Tensor | np.ndarray], rounds: int) -> None:
        """Count what goes to the peer past the communicator's methods, and how many rounds that adds."""
        self.rounds[0] += rounds
        self.message_bytes += _bytes(arrays)

    @contextmanager
    def wait_for_peer(self) -> Iterator[None]:
        self.waiting(True)
        try:
            yield
        finally:
            self.waiting(False)

    def _size(self, name: str, args: tuple, kwargs: dict) -> int:
        """Bytes that this party sends to the other."""
        if name in ("all_reduce", "all_gather"):
            return _bytes(args[0])
        if name in ("reduce", "gather"):
            destination = args[1] if len(args) > 1 else kwargs["dst"]
            return 0 if destination == self._rank else _bytes(args[0])
        if name == "send_obj":  # CrypTen's goodbye to the dealer, after the run
            return 0
        raise NotImplementedError(f"communicator.{name} is not counted; add its size here")


class _Provider:
    """A provider whose time and messages count as offline."""

    def __init__(self, meter: Meter, provider: Any):
        self._meter, self._provider = meter, provider

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._provider, name)
        if name not in _PROVIDES:
            return value

        def provide(*args: Any, **kwargs: Any) -> Any:
            with self._meter.providing():
                return value(*args, **kwargs)

        return provide


class Wire:
    """Bytes sent over the sockets to each other party, by rank.

    A socket's peer is told from the port at its other end, so every party publishes its own ports as a file in the
    run's folder (all of them are on this machine).
    """

    def __init__(self, folder: str, rank: int, parties: int):
        self.folder, self.rank, self.parties = folder, rank, parties
        self.owner: dict[int, int] = {}

    def publish(self) -> None:
        """Call when connected, before a barrier."""
        with open(f"{self.folder}/ports{self.rank}", "w") as file:
            file.write(" ".join(str(link.local) for link in wire.links()))

    def meet(self) -> None:
        """Call after that barrier."""
        for rank in range(self.parties):
            with open(f"{self.folder}/ports{rank}") as file:
                self.owner.update((int(port), rank) for port in file.read().split())

    def sent(self) -> dict[int, int]:
        totals: dict[int, int] = {}
        for link in wire.links():
            if link.peer in self.owner:
                peer = self.owner[link.peer]
                totals[peer] = totals.get(peer, 0) + link.sent
        return totals


def _bytes(arrays: Tensor | Sequence[Tensor | np.ndarray]) -> int:
    return arrays.nbytes if isinstance(arrays, Tensor) else sum(a.nbytes for a in arrays)
