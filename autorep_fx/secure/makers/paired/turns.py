"""Protocols of two that run side by side.

A protocol is a generator: it yields a :class:`Turn`, what it says now and how much the other side says at the same
time, is given what came, and returns its result. Several become one by :func:`together`, which puts their turns into
common ones, so that the number of messages is that of the longest and not of all. Nothing here knows what is said.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ....text import brief
from ...link.channel import Channel

T = TypeVar("T")


class Turn(NamedTuple):
    """One message each way.

    Attributes:
        mine: arrays of words (uint64) to send.
        theirs: words of each array that comes.
    """

    mine: list[np.ndarray]
    theirs: list[int]

    def __repr__(self) -> str:
        return brief(self)


#: Words that the server and the client send in each turn of a protocol, in order.
Words = list[tuple[int, int]]

#: Yields turns, is sent what came, returns a T.
Protocol = Generator[Turn, list[np.ndarray], T]


def together(*protocols: Protocol[Any]) -> Protocol[list[Any]]:
    """All of them at once; returns their results, in order. Each goes on with its own turn in every common one."""
    results: list[Any] = [None] * len(protocols)
    turns: dict[int, Turn] = {}

    def go_on(i: int, received: list[np.ndarray] | None) -> None:
        try:
            turns[i] = protocols[i].send(received)  # type: ignore[arg-type]  # None starts a generator
        except StopIteration as end:
            turns.pop(i, None)
            results[i] = end.value

    for i in range(len(protocols)):
        go_on(i, None)
    while turns:
        now = dict(turns)
        came = yield Turn(
            [a for turn in now.values() for a in turn.mine], [n for turn in now.values() for n in turn.theirs]
        )
        at = 0
        for i, turn in now.items():
            go_on(i, came[at : at + len(turn.theirs)])
            at += len(turn.theirs)
    return results


def words_together(*protocols: Words) -> Words:
    """Of protocols that go on at once: what :func:`together` says."""
    turns = itertools.zip_longest(*protocols, fillvalue=(0, 0))
    return [(sum(server for server, _ in turn), sum(client for _, client in turn)) for turn in turns]


def run(protocol: Protocol[T], channel: Channel, step: int) -> T:
    """Run one with the other side, which runs its own; each turn of a side that says something is one message of it."""
    received: list[np.ndarray] | None = None
    while True:
        try:
            mine, sizes = protocol.send(received)  # type: ignore[arg-type]
        except StopIteration as end:
            return end.value
        came = np.empty(sum(sizes), np.uint64)
        if mine and sizes:
            whole = mine[0] if len(mine) == 1 else np.concatenate([a.reshape(-1) for a in mine])
            channel.exchange(step, np.ascontiguousarray(whole), came)
        elif mine:
            channel.send(step, *mine)
        elif sizes:
            channel.receive(step, came)
        received = np.split(came, np.cumsum(sizes)[:-1]) if sizes else []
