"""The check of what a client says, in a checked plan (correlations/tags.py): one challenge behind its last message.

1. Client and server evaluate a step on a masked wire as ever, the client in a ring of 64 bits; and once more on tags,
   the server on their local parts, where nobody adds a public term: it is linear with public coefficients.
2. The client sends all 64 bits of its numbers.
3. Behind its last message, once that was *read*, the server draws a seed: chi, a number of 64 bits for each number that
   was sent. The client answers ``T = sum chi tag``; the server compares that with ``key sum chi v + sum chi local``.

A client whose numbers are off, by whatever it likes but what is zero modulo 2^32, passes with a probability of at most
``(1 + s / 4) 2**-s``, s the bits of the key, 9 * 2**-32: docs/security.md. Chi must be new for each check and unknown
until all was read, and one answer is taken. What the client answers follows from what it sent before, so it says
nothing more to a server, whatever that asks.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from ...errors import CheckFailed, PartyError, PeerLost
from ..correlations.prepared import Shares
from ..correlations.stream import Stream
from ..correlations.tags import BLINDING, parted
from ..link.channel import Channel
from ..link.message import CHALLENGE_BYTES, CHECK
from ..plan import wire
from ..plan.plan import Step
from ..plan.ring import U64, kernel, narrowed
from .table import evaluate
from .talk import Talk

#: Which of a step's messages: the answer to its wire, or what is opened in the middle.
_ANSWER, _OPENING = 0, 1


#: What is weighted, by step and message.
Messages = dict[tuple[int, int], np.ndarray]


def challenge(channel: Channel | Talk, answer: np.ndarray) -> bytes:
    """Draw a challenge, send it, and read the answer: all that it is about was read before.

    Raises:
        CheckFailed: there is none, or not what belongs there.
        PeerLost: the client was gone before it was asked.
    """
    if channel.gone():
        raise PeerLost("server: the client hung up before its messages were checked")
    seed = os.urandom(CHALLENGE_BYTES)
    channel.allow_a_message()  # whoever was slow before, it may be this party, the client has not failed yet
    try:
        channel.send(CHECK, np.frombuffer(seed, np.uint8))
        channel.receive(CHECK, answer)
    except PartyError as error:
        raise _failed() from error
    return seed


def need(answer: np.ndarray, wanted: np.ndarray) -> None:
    """Raise CheckFailed unless they are the same."""
    if not np.array_equal(answer, wanted):
        raise _failed()


def _failed() -> CheckFailed:
    return CheckFailed("server: the client's messages did not pass the check")


def compare_(step: Step, m: np.ndarray, values: Shares, tags: Shares, party: int, key: int = 0) -> None:
    """Evaluate a step's comparison keys, which carry tags, at all of its points: what comes of it is put to the values
    and to the tags, for the evaluation of either."""
    if "key" not in values:
        return
    a, k = step.attrs, kernel()
    windows = [
        k.window(moved, wire.keep(step), shift=a["shift"], bits=a["window"]).reshape(-1)
        for moved in wire.moved(step, m)
    ]
    of, root = values["key"], values["root"]
    if "knots" not in a:
        found = (k.relu_checked(of, root, w, values["relu"], tags["relu"], party=party, tag_key=key) for w in windows)
        values["kept"], tags["kept"] = map(np.stack, zip(*found))
        return
    low = U64((1 << (a["window"] - 1)) - 1)
    value, tag = np.split(np.stack([k.eval_dcf(of, root, w & low, party=party) for w in windows]), 2, -1)
    values["compared"] = narrowed(value, step.width)
    tags["compared"] = tag if party else U64(key) * value - tag


class _Opening:
    """What both say at once in the middle of a step, for the evaluation that says it and for the one on tags."""

    def __init__(self, exchange: Callable[[np.ndarray], np.ndarray], hear: Callable[[np.ndarray], None]):
        self._exchange, self._hear = exchange, hear

    def spoken(self, mine: np.ndarray) -> np.ndarray:
        theirs = self._exchange(mine)
        self.opened, self.theirs = theirs.astype(U64) + mine, theirs
        return theirs.astype(mine.dtype)

    def again(self, mine: np.ndarray) -> np.ndarray:
        """What makes it the same sum; ``mine`` are the tags of what was said, or their local parts."""
        self._hear(mine)
        return self.opened - mine


class Said:
    """At the client: the tags of what it says in one inference."""

    def __init__(self) -> None:
        self._tags: Messages = {}

    def say(self, index: int, step: Step, m: np.ndarray, shares: Shares, blinding: np.ndarray, server: Talk) -> None:
        """Answer the wire of a step of :attr:`~..plan.plan.Plan.lifted`, and keep the tags of what was said."""
        values, tags = parted(shares)
        compare_(step, m, values, tags, party=1)
        exchange = server.exchange(index, step.attrs["wire"])
        opening = _Opening(exchange, lambda tag: self._tags.update({(index, _OPENING): tag}))
        server.send(index, evaluate(step, m, values, party=1, exchange=opening.spoken, sub=blinding))
        sub = tags[BLINDING].reshape(blinding.shape)
        self._tags[index, _ANSWER] = evaluate(step, m, tags, party=1, exchange=opening.again, sub=sub)

    def answer(self, server: Talk) -> None:
        """Wait for the challenge behind the last message, and answer it."""
        seed = np.empty(CHALLENGE_BYTES, np.uint8)
        server.allow_a_message()  # who leaves now has failed
        server.receive(CHECK, seed)
        (total,) = sums_of(seed.tobytes(), self._tags)
        server.allow_a_message()  # however late it was asked
        server.send(CHECK, total)


class Heard:
    """At the server: what it was told in one inference, and the local parts of its tags.

    Args:
        key: of the inference.
    """

    def __init__(self, key: np.ndarray):
        self._key = key
        self._values: Messages = {}
        self._local: Messages = {}

    def evaluate(self, index: int, step: Step, m: np.ndarray, shares: Shares, client: Talk) -> np.ndarray:
        """The server's share of the result of an answered step, and what is to be the local part of the client's."""
        lifted = step.lifted
        values, local = parted(shares)
        compare_(step, m, values, local, party=0, key=int(self._key[0]))
        opening = _Opening(client.exchange(index, 64), lambda mine: self._local.update({(index, _OPENING): mine}))
        share = evaluate(step, m, values, party=0, exchange=opening.spoken)
        sub = local[BLINDING].reshape(share.shape)
        self._local[index, _ANSWER] = evaluate(lifted, m, local, party=1, exchange=opening.again, sub=sub)
        if "knots" in step.attrs:
            self.hear(index, opening.theirs, _OPENING)
        return share

    def hear(self, index: int, value: np.ndarray, message: int = _ANSWER) -> None:
        """Keep a message of the client's, all 64 bits of it."""
        self._values[index, message] = value

    def check(self, client: Talk) -> None:
        """Ask for the one combination that shows whether all of it was right; every message of the client's was read.

        Raises:
            CheckFailed: it was not, or there is no answer.
        """
        answer = np.empty(1, U64)
        seed = challenge(client, answer)
        values, local = sums_of(seed, self._values, self._local)
        need(answer, self._key * values + local)


def sums_of(seed: bytes, *several: Messages) -> list[np.ndarray]:
    """Sums of all messages, weighted by chi, (1,): of their values, of their tags, and so on."""
    totals = [np.zeros(1, U64) for _ in several]
    for step, message in several[0]:
        for total, numbers in zip(totals, several):
            total += Stream(seed, 0).weigh(step, message, numbers[step, message].reshape(1, -1))
    return totals
