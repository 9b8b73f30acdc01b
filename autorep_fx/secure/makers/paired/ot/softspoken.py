"""SoftSpokenOT: oblivious transfers from punctured trees, whose security is that of AES and hashes alone.

Set-up: the sender draws delta, 128 bits. The receiver has 128 / k trees of 2**k leaves (trees.py) and, by base
oblivious transfers (base.py), leaves the sender all leaves but number delta_t of tree t, delta_t being k bits of delta.

An extension of n transfers, which is one message, or with the check three, of which two are short:

1. Both expand their leaves to n + 128 bits (AES in counter mode) and add them up by `vole_receive` and `vole_send`. The
   receiver sends what the sums u_t of its trees differ by from u_0, its choices: (128 / k - 1) / 8 bytes a transfer.
2. [Check] The sender, which has the message, draws the seed of coefficients, by which each of the 128 rows and the
   choices are hashed to 128 bits (`vole_fold_`); the last 128 columns, which are used for nothing else, are added to
   hide them, whatever the coefficients. The receiver sends the choices' tag and a digest of the rows' tags.
3. [Check] The sender's tags must be those, plus the choices' tag in the rows where delta has a 1.

What the check is for: a receiver that deviates may send for each tree another u_t than its choices, and what is hashed
then shows delta. Where u_t is wrong by e_t (e_0 = 0), step 3 holds for one delta_t in 2**k of each tree whose tag of
e_t is not the error of the choices' tag that was sent. All other trees have one tag of e_t. Two e_t that differ have
one tag with probability 2^-128 (a universal hash, coefficients drawn after the message), some two of at most 2^13 pairs
of trees (k >= 1; 2^9 for k = 4) with 2^-115, once for each extension. So these trees agree on e, and choices are
u_0 + e, which is the receiver's right. In the others, c of them, it learns k c bits of delta with probability 2^-(k c),
and else the session ends with its delta: what guessing would give. The check of trees.py leaks of the same kind.
Source: SoftSpokenOT (Roy, CRYPTO 2022, ePrint 2022/192), its consistency check for malicious receivers, here with a
digest in place of the rows' tags. Asking for it takes a message each way; a hash of the corrections in place of that
(Fiat, Shamir) would take longer than what it saves.

Without the check: for a receiver that follows the protocol. A sender that deviates learns nothing in either case: all
that it is sent is under the streams of leaves that it lacks.
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
from ..turns import Protocol, Turn
from . import base, trees
from .kind import Both, Kind, ReceivingHalf, SendingHalf, check_size
from .said import Said

#: Columns of an extension that hide the tags, in words; words of the choices' tag with the digest of the rows' tags.
_HIDING, _TAG, _DIGEST = 2, 2, 4

#: Words of the coefficients' seed.
_SEED = 2

#: Trees may have 2**k leaves.
SIZES = (1, 2, 4, 8)


@dataclass(frozen=True)
class SoftSpoken(Kind):
    """SoftSpokenOT.

    Args:
        k: bits of delta for each tree: (128 / k - 1) / 8 bytes, and 2**k / k blocks of AES, a transfer.
        checked: whether a receiver that deviates is found out.
    """

    k: int = 4
    checked: bool = True

    def __post_init__(self):
        if self.k not in SIZES:
            raise ValueError(f"k: expected one of {', '.join(map(str, SIZES))}, got {self.k}")

    __repr__ = brief

    def sender(self, channel: Channel, step: int) -> SoftSender:
        return SoftSender(self, channel, step)

    def receiver(self, channel: Channel, step: int) -> SoftReceiver:
        return SoftReceiver(self, channel, step)

    def setup_said(self) -> Both:
        point = base.POINT // 8
        return Said(1, 128 * point), Said(2, point + sum(trees.message_words(self.k)))

    def extension_said(self, n: int, index: int = 0) -> Both:
        if not self.checked:
            return Said(), Said(1, self.correction_words(n))
        return Said(1, _SEED), Said(2, self.correction_words(n) + _TAG + _DIGEST)

    def extension_turns(self, n: int, index: int = 0) -> int:
        return 3 if self.checked else 1

    def rate(self, rates: Rates) -> float:
        return rates.transfers

    def words(self, n: int) -> int:
        """Words of a row."""
        return check_size(n) // 64 + _HIDING * self.checked

    def correction_words(self, n: int) -> int:
        """Of what the receiver says first."""
        return self.words(n) * (128 // self.k - 1)


class _Half:
    """What both halves have in common.

    Attributes:
        session: a public name that both parties' randomness went into.
    """

    def __init__(self, kind: SoftSpoken, channel: Channel, step: int, sender: str, receiver: str):
        self.kind, self.channel, self.step, self.index = kind, channel, step, 0
        self._direction = f"{sender}>{receiver}".encode()
        self.session, self._extensions = b"", 0
        self._keys: np.ndarray | None = None
        self._blocks: np.ndarray | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.index} transfers>"

    @property
    def hash_key(self) -> bytes:
        return hashlib.blake2b(self.session, digest_size=16, person=b"autorep_fx hash ").digest()

    def _options(self, n: int) -> dict:
        if self._keys is None:
            raise PartyError(
                f"{self.channel.me}: oblivious transfers with the {self.channel.peer} are not set up, or failed"
            )
        return dict(words=self.kind.words(n), k=self.kind.k, purpose=self._extensions)

    def _room(self, n: int) -> np.ndarray:
        """For blocks: memory that was used before need not be cleared by the system."""
        blocks = 64 * self.kind.words(n)
        if self._blocks is None or len(self._blocks) < blocks:
            self._blocks = np.empty((blocks, 2), U64)
        return self._blocks[:blocks]

    def rest(self) -> None:
        self._blocks = None

    def _made(self, n: int) -> None:
        self.index += n
        self._extensions += 1

    def _coefficients(self, n: int, seed: np.ndarray) -> np.ndarray:
        """Of the hashes of all rows."""
        coefficients = kernel().prg_words(seed.tobytes(), self._extensions, (self.kind.words(n), 2))
        coefficients[-_HIDING:] = [[1, 0], [0, 1]]
        return coefficients

    def _digest(self, tags: np.ndarray) -> np.ndarray:
        digest = hashlib.blake2b(tags.tobytes(), digest_size=8 * _DIGEST, key=self.session)
        return np.frombuffer(digest.digest(), U64)


class SoftSender(_Half, SendingHalf):
    def __init__(self, kind: SoftSpoken, channel: Channel, step: int):
        super().__init__(kind, channel, step, channel.me, channel.peer)
        self.delta = np.frombuffer(os.urandom(16), U64)

    def setup(self) -> None:
        k, offered = self.kind.k, np.empty(base.POINT, np.uint8)
        self.channel.receive(self.step, offered)
        opposite = U64(1) - trees.path(self.delta, k)
        points, keys, self.session = base.choose(offered.tobytes(), opposite, self._direction)
        self.channel.send(self.step, points)
        said = [np.empty(n, U64) for n in trees.message_words(k)]
        self.channel.receive(self.step, *said)
        seeds = trees.grow(keys, self.delta, k, self.session, said)
        self._keys = kernel().expand_keys(seeds.reshape(-1, 2))

    def extend(self, n: int) -> Protocol[np.ndarray]:
        options = dict(self._options(n), transpose=True, out=self._room(n))
        (message,) = yield Turn([], [self.kind.correction_words(n)])
        if not self.kind.checked:
            blocks = kernel().vole_send(self._keys, self.delta, message, **options)
        else:
            seed = np.frombuffer(os.urandom(8 * _SEED), U64)
            yield Turn([seed], [])
            options["coefficients"] = self._coefficients(n, seed)
            blocks, tags = kernel().vole_send(self._keys, self.delta, message, **options)
            proof = yield Turn([], [_TAG, _DIGEST])
            self._check(tags[:128], *proof)
        self._made(n)
        return blocks[:n]

    def _check(self, tags: np.ndarray, tag: np.ndarray, digest: np.ndarray) -> None:
        chosen = U64(0) - kernel().unpack_bits(self.delta[None], 128)
        if not hmac.compare_digest(self._digest(tags ^ tag & chosen[:, None]).tobytes(), digest.tobytes()):
            self._keys = None
            raise PartyError(
                f"{self.channel.me}: the {self.channel.peer} does not follow the protocol: its choices in oblivious "
                "transfers are not the same in all their parts"
            )


class SoftReceiver(_Half, ReceivingHalf):
    def __init__(self, kind: SoftSpoken, channel: Channel, step: int):
        super().__init__(kind, channel, step, channel.peer, channel.me)

    def setup(self) -> None:
        secret, offered = base.offer()
        self.channel.send(self.step, np.frombuffer(offered, np.uint8))
        points = np.empty((128, base.POINT), np.uint8)
        self.channel.receive(self.step, points)
        keys, self.session = base.both_keys(secret, offered, points, self._direction)
        seeds, said = trees.plant(keys, self.kind.k, self.session)
        self.channel.send(self.step, *said)
        self._keys = kernel().expand_keys(seeds.reshape(-1, 2))

    def extend(self, n: int) -> Protocol[tuple[np.ndarray, np.ndarray]]:
        options = dict(self._options(n), transpose=not self.kind.checked, out=self._room(n))
        rows, choices, message = kernel().vole_receive(self._keys, **options)
        yield Turn([message], [])
        if self.kind.checked:
            (seed,) = yield Turn([], [_SEED])
            tags = kernel().vole_fold_(rows, self._coefficients(n, seed), choices)
            yield Turn([tags[128], self._digest(tags[:128])], [])
        self._made(n)
        return rows[:n], choices[: n // 64]
