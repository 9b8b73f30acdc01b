"""Random oblivious transfers as an ideal functionality gives them, and two protocols run against each other."""

from __future__ import annotations

import numpy as np

from autorep_fx.secure.makers.paired.stock import Need, Transfers
from autorep_fx.secure.makers.paired.transfers import Pair, Received, Sent

#: Of the hash.
KEY = bytes(range(16))


def ideal(needs: list[Need], rng: np.random.Generator) -> tuple[Transfers, Transfers]:
    """Transfers each way, at the server and at the client; they come in two parts, as an extension's may."""
    halves, n = [], sum(need.n for need in needs)
    for _ in range(2):
        delta = rng.integers(0, 2**64, 2, np.uint64) | np.array([1, 0], np.uint64)
        q, choices = (rng.integers(0, 2**64, shape, np.uint64) for shape in ((n, 2), n // 64))
        chosen = np.unpackbits(choices.view(np.uint8), bitorder="little").astype(np.uint64)
        halves.append((Sent(q.copy(), delta, KEY, 0), Received(q ^ delta * chosen[:, None], choices, KEY, 0)))
    (to_client, at_client), (to_server, at_server) = halves
    found = Transfers(needs, 0), Transfers(needs, 1)
    for transfers, pair in zip(found, (Pair(to_client, at_server), Pair(to_server, at_client))):
        for start, stop in ((0, n // 128 * 64), (n // 128 * 64, n)):
            transfers.fill(pair.part(start, stop))
    return found


def against(server, client) -> tuple[object, object, list[tuple[int, int]]]:
    """Results of both protocols, and the words of each turn, of the server's messages and of the client's."""
    sides, results, received, turns = (server, client), [None, None], [None, None], []
    while True:
        said = []
        for i, side in enumerate(sides):
            try:
                said.append(side.send(received[i]))
            except StopIteration as end:
                results[i] = end.value
        if len(said) < 2:
            assert not said, "one of them goes on alone"
            return *results, turns
        for mine, other in ((0, 1), (1, 0)):
            assert [a.size for a in said[mine].mine] == said[other].theirs
            received[other] = [a.reshape(-1).copy() for a in said[mine].mine]
        turns.append(tuple(sum(a.size for a in turn.mine) for turn in said))
