"""Ferret: oblivious transfers from learning parity with noise, at a tenth of a byte each.

The sender has delta, whose lowest bit is 1; a block's lowest bit is 0 at the sender and the choice at the receiver. So
`q ^ t = c delta` holds for choices that nobody keeps apart, and blocks may be added up.

From k + h d + 128 transfers one round makes n = h 2**d, of which as many are kept for the next round:

1. The receiver draws a leaf of each of h trees of depth d, and says, hidden by the choices of h d transfers, where the
   paths do not go. The sender grows the trees, correlated by delta (`trees_full`), and says the sum of left nodes of
   each level, each hidden by a transfer: the receiver has all leaves but those drawn, and of these it has leaf ^ delta.
2. [Check] A hash of what both said is the seed of coefficients, by which both sum up their leaves (`block_fold`). These
   sums differ by delta times the coefficients' sum at the leaves drawn, which the receiver says, hidden by the choices
   of 128 transfers. The sender says a digest of what the receiver must have then.
3. To leaf i both add ten of the first k transfers' blocks, row i of a public matrix (`lpn_`). The receiver's choices
   are then a short random vector times that matrix, plus noise, a 1 in each 2**d: learning parity with regular noise.

Two messages each way. What the check is for: a sender that deviates might say sums that fit some paths alone, and
learn where paths lie from whether the receiver goes on. It learns so what it guesses, no more (but with 2^-128 for
each message that it hashes), and a failure ends the session. A receiver can deviate by its choices and by the sum of
coefficients; then the digest is of no use to it, unless it guesses delta. Sources: Ferret (Yang, Weng, Lan, Zhang,
Wang, CCS 2020, ePrint 2020/924); Half-tree (Guo et al., EUROCRYPT 2023, ePrint 2022/1431).

The size of the noise. Ferret's own sets are too small by what is known since. Products of two entries of a block are
zero: h 2**(2 d - 1) quadratic equations (Briaud, Oygarden, EUROCRYPT 2023, ePrint 2023/176; hybrids, ePrint 2025/1284
and 2025/1476). For n = 10,180,608, k = 124,000, h = 4,971 (b11) they are more than the k^2 / 2 products of unknowns,
with some 120 terms each, for rows have ten ones: 2^74 operations by Wiedemann's method (small instances fall so). And
k (k / n)^(1/9) unknowns of a sparse matrix have as many rows to themselves; for b11 these are free of noise once in
2^54, 2^91 operations. SAFE is taken so that each of these takes 2^145 or more (degrees 2 to 4 with any number of
zeros guessed, sparse or dense solving; information sets among all rows and among the sparse ones' own), and 2^135 if
0.6 k such unknowns could be found. tests/helpers/lpn_bits.py computes these; they are what we know of, and the matrix
is new in each round.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass

import numpy as np

from .....errors import PartyError
from .....text import brief
from ....link.channel import Channel
from ....plan.ring import U64, kernel
from ....rates import Rates
from ..turns import Protocol, Turn, run
from .kind import Both, Kind, ReceivingHalf, SendingHalf, check_size
from .said import Said
from .softspoken import SoftReceiver, SoftSender, SoftSpoken

#: Transfers whose choices hide one element of GF(2^128); words of a digest.
_HIDING, _DIGEST = 128, 4

#: Trees that are hashed and multiplied at a time: 2 MB of blocks.
_TREES = 64


@dataclass(frozen=True)
class Noise:
    """Learning parity with regular noise.

    Attributes:
        weight: ones of the noise, h, one in each of as many blocks.
        depth: of the tree of a block of 2**depth, d.
        unknowns: the length of the secret vector, k.
    """

    weight: int
    depth: int
    unknowns: int

    __repr__ = brief

    @property
    def made(self) -> int:
        """Transfers that one round makes."""
        return self.weight << self.depth

    @property
    def used(self) -> int:
        """Transfers that one round uses up."""
        return self.unknowns + self.weight * self.depth + _HIDING


#: 2^22 equations: see above.
SAFE = Noise(weight=2048, depth=11, unknowns=7 << 15)


@dataclass(frozen=True)
class Ferret(Kind):
    """Ferret, after a start by SoftSpokenOT.

    Args:
        noise: h 2**d, and what is used up of it, multiples of 64.
        start: how the first transfers are made; its check is part of this one's security.
    """

    noise: Noise = SAFE
    start: SoftSpoken = SoftSpoken()

    def __post_init__(self):
        noise = self.noise
        if noise.made % 64 or noise.used % 64 or noise.made <= noise.used or noise.weight * noise.depth % 64:
            raise ValueError(f"noise: a round makes and uses transfers by the 64, and more than it uses; got {noise}")

    __repr__ = brief

    @property
    def kept_bytes(self) -> int:
        return 16 * (self.noise.made + self.noise.used)  # blocks of a round, and those of the next one's start

    def sender(self, channel: Channel, step: int) -> FerretSender:
        return FerretSender(self, channel, step)

    def receiver(self, channel: Channel, step: int) -> FerretReceiver:
        return FerretReceiver(self, channel, step)

    def setup_said(self) -> Both:
        pairs = zip(self.start.setup_said(), self.start.extension_said(self.noise.used))
        sender, receiver = (one + other for one, other in pairs)
        return sender, receiver

    def extension_said(self, n: int, index: int = 0) -> Both:
        rounds, levels = self.rounds(n, index), self.noise.weight * self.noise.depth
        return Said(2 * rounds, (2 * levels + _DIGEST) * rounds), Said(2 * rounds, (levels // 64 + 2) * rounds)

    def extension_turns(self, n: int, index: int = 0) -> int:
        return 4 * self.rounds(n, index)

    def rate(self, rates: Rates) -> float:
        return rates.transfers_lpn

    def rounds(self, n: int, index: int) -> int:
        """That n transfers take after ``index`` others."""
        each = self.noise.made - self.noise.used
        return -(-(index + check_size(n)) // each) - -(-index // each)


class _Half:
    """What both halves have in common: blocks that are made, of which some are used up by the next round."""

    def __init__(self, kind: Ferret, channel: Channel, step: int, start: SoftSender | SoftReceiver):
        self.kind, self.channel, self.step, self.index = kind, channel, step, 0
        self._start, self._rounds = start, 0
        self._used: np.ndarray | None = None
        self._ready = np.empty((0, 2), U64)
        self._blocks: np.ndarray | None = (
            None  # of a round; kept, for fresh memory costs more than all that is done in it
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.index} transfers>"

    @property
    def hash_key(self) -> bytes:
        return self._start.hash_key

    def rest(self) -> None:
        """What a round has made is kept for whoever asks next."""

    def _take(self, n: int) -> Protocol[np.ndarray]:
        """The next n blocks; they may be gone when more are taken."""
        parts: list[np.ndarray] = []
        left = check_size(n)
        while left:
            if not len(self._ready):
                parts = [part.copy() for part in parts]
                yield from self._next()
            parts.append(self._ready[:left])
            self._ready, left = self._ready[left:], left - len(parts[-1])
        self.index += n
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _next(self) -> Protocol[None]:
        """One round."""
        if self._used is None:
            raise PartyError(
                f"{self.channel.me}: oblivious transfers with the {self.channel.peer} are not set up, or failed"
            )
        used, self._used, noise = self._used, None, self.kind.noise
        levels = noise.unknowns + noise.weight * noise.depth
        vector = used[: noise.unknowns]
        masks = used[noise.unknowns : levels].reshape(noise.weight, noise.depth, 2)
        if self._blocks is None:
            self._blocks = np.empty((noise.made, 2), U64)
        blocks = self._blocks
        yield from self._round(vector, masks, used[levels:], blocks)
        self._rounds += 1
        self._used = blocks[noise.made - noise.used :].copy()
        self._ready = blocks[: noise.made - noise.used]

    def _round(self, vector: np.ndarray, masks: np.ndarray, hiding: np.ndarray, out: np.ndarray) -> Protocol[None]:
        raise NotImplementedError

    def _seed(self, purpose: bytes, *said: np.ndarray) -> bytes:
        """16 public bytes for a purpose in this round, a hash of what was said in it."""
        transcript = hashlib.sha256(self._start.session + self._rounds.to_bytes(8, "little") + purpose)
        for array in said:
            transcript.update(array.data)
        return transcript.digest()[:16]

    def _fold(self, leaves: np.ndarray, coefficients: bytes, vector: np.ndarray) -> np.ndarray:
        """The hash of all leaves, to which the matrix times the vector is added, in place."""
        size, tags, matrix = _TREES << self.kind.noise.depth, np.zeros((2, 2), U64), self._seed(b"matrix")
        for at in range(0, len(leaves), size):
            part = leaves[at : at + size]
            tags ^= kernel().block_fold(part, seed=coefficients, first=at)
            kernel().lpn_(part, vector, seed=matrix, first=at)
        return tags

    def _digest(self, tag: np.ndarray) -> np.ndarray:
        digest = hashlib.blake2b(tag.tobytes(), digest_size=8 * _DIGEST, key=self._seed(b"digest"))
        return np.frombuffer(digest.digest(), U64)


class FerretSender(_Half, SendingHalf):
    def __init__(self, kind: Ferret, channel: Channel, step: int):
        self._first = kind.start.sender(channel, step)
        super().__init__(kind, channel, step, self._first)
        self.delta = self._first.delta | np.array([1, 0], U64)

    def setup(self) -> None:
        self._first.setup()
        used = run(self._first.extend(self.kind.noise.used), self.channel, self.step)
        used[:, 0] &= ~U64(1)
        self._first.rest()
        self._used = used

    def extend(self, n: int) -> Protocol[np.ndarray]:
        return self._take(n)

    def _round(self, vector: np.ndarray, masks: np.ndarray, hiding: np.ndarray, out: np.ndarray) -> Protocol[None]:
        noise = self.kind.noise
        (plane,) = yield Turn([], [noise.weight * noise.depth // 64])
        flips = kernel().unpack_bits(plane[None], noise.weight * noise.depth).reshape(noise.weight, noise.depth, 1)
        roots = kernel().prg_words(os.urandom(16), 0, (noise.weight, 2))
        key = self._seed(b"trees")
        leaves, sums = kernel().trees_full(roots, self.delta, key=key, depth=noise.depth, out=out)
        sums ^= masks ^ (U64(0) - flips & self.delta)
        yield Turn([sums], [])
        tag = self._fold(leaves, self._seed(b"coefficients", plane, sums), vector)[0]
        (marked,) = yield Turn([], [2])
        chosen = kernel().unpack_bits(marked[None], 128)[:, None]
        yield Turn([self._digest(tag ^ _powers(hiding ^ (U64(0) - chosen & self.delta)))], [])


class FerretReceiver(_Half, ReceivingHalf):
    def __init__(self, kind: Ferret, channel: Channel, step: int):
        self._first = kind.start.receiver(channel, step)
        super().__init__(kind, channel, step, self._first)

    def setup(self) -> None:
        self._first.setup()
        used, choices = run(self._first.extend(self.kind.noise.used), self.channel, self.step)
        used[:, 0] ^= (used[:, 0] ^ kernel().unpack_bits(choices[None], len(used))) & U64(1)
        self._first.rest()
        self._used = used

    def extend(self, n: int) -> Protocol[tuple[np.ndarray, np.ndarray]]:
        blocks = yield from self._take(n)
        return blocks, _choices(blocks)

    def _round(self, vector: np.ndarray, masks: np.ndarray, hiding: np.ndarray, out: np.ndarray) -> Protocol[None]:
        noise = self.kind.noise
        missing = np.frombuffer(os.urandom(8 * noise.weight), U64) >> U64(64 - noise.depth)
        path = missing[:, None] >> np.arange(noise.depth, dtype=U64)[::-1]
        plane = kernel().pack_bits(((masks[..., 0] ^ path ^ U64(1)) & U64(1)).reshape(-1), bits=1)[0]
        yield Turn([plane], [])
        (said,) = yield Turn([], [2 * noise.weight * noise.depth])
        sums = said.reshape(noise.weight, noise.depth, 2)
        leaves = kernel().trees_lacking(sums ^ masks, missing, key=self._seed(b"trees"), out=out)
        tag, marked = self._fold(leaves, self._seed(b"coefficients", plane, sums), vector)
        yield Turn([marked ^ _choices(hiding)], [])
        (digest,) = yield Turn([], [_DIGEST])
        if not hmac.compare_digest(self._digest(tag ^ _powers(hiding)).tobytes(), digest.tobytes()):
            raise PartyError(
                f"{self.channel.me}: the {self.channel.peer} does not follow the protocol: its trees of oblivious "
                "transfers do not fit their sums"
            )


def _choices(blocks: np.ndarray) -> np.ndarray:
    """The lowest bits, as a plane."""
    return kernel().pack_bits(np.ascontiguousarray(blocks[:, 0]), bits=1)[0]


def _powers(blocks: np.ndarray) -> np.ndarray:
    """The sum of block i times x^i in GF(2^128), of 128 blocks; by no branch."""
    bits = np.unpackbits(np.ascontiguousarray(blocks).view(np.uint8), axis=1, bitorder="little")
    total = np.zeros(2 * _HIDING, np.uint8)
    for i, block in enumerate(bits):
        total[i : i + _HIDING] ^= block
    for i in range(2 * _HIDING - 1, _HIDING - 1, -1):  # x^128 = x^7 + x^2 + x + 1
        total[[i - 128, i - 127, i - 126, i - 121]] ^= total[i]
    return np.packbits(total[:_HIDING], bitorder="little").view(U64)
