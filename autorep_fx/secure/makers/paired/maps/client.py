"""The client's part of encrypted maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....plan.plan import Step
from ....plan.ring import kernel
from . import messages
from .field import field
from .keys import ClientKey, fresh, generator
from .parameters import low_words


def encrypt(step: Step, key: ClientKey, blinding: np.ndarray, transform_bits: int = 0) -> list[np.ndarray]:
    """The client's message for a map of its ``blinding``, (N, *input shape) of ring elements that may be wider.

    transform_bits: as of :func:`~.packing.choose`, the same at both parties.
    """
    of = field(step, len(blinding), transform_bits)
    plain = of.packing.pack(of.images(blinding))
    seed, flat = fresh(), plain.reshape(-1, plain.shape[-1])
    high, low = kernel().rlwe_encrypt(flat, key.secret[step.width], public_seed=generator("c1", seed),
                                      noise_seed=fresh().tobytes(), low_words=low_words(step))  # fmt: skip
    return messages.join(seed, high, low)


def decrypt(
    step: Step, key: ClientKey, answer: Sequence[np.ndarray], blinding: np.ndarray, transform_bits: int = 0
) -> np.ndarray:
    """The client's share of the map of its blinding, (N, *step.shape), from the server's answer.

    Raises:
        PartyError: the answer has another length.
    """
    of = field(step, len(blinding), transform_bits)
    expected = messages.sizes(step, len(blinding), transform_bits)[1]
    words = messages.whole(step, answer, expected, "client", "the server")
    found = kernel().rlwe_decrypt(*messages.answered(of, words), key.secret[step.width])
    p = of.packing
    share = of.result(found.reshape(p.sets(of.count), p.groups, p.output_sets, p.degree))
    own = of.public(blinding)
    return share if own is None else share + own
