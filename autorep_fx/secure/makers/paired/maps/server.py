"""The server's part of encrypted maps."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from ....plan.plan import Step
from ....plan.ring import elements, kernel
from ....plan.server_numbers import Numbers
from . import messages
from .field import Field, field
from .keys import PublicKey, fresh, generator
from .packing import Packing
from .parameters import check_weights


class Weight:
    """A map's weights, laid out for the kernels at first use, for a size of batch; sessions may share it.

    Attributes:
        step: the map.
        memory: bytes that it may take beside the weights, so that they need not be transformed at every use.
    """

    def __init__(self, step: Step, weight: np.ndarray, memory: int):
        self.step, self.memory, self._weight = step, memory, weight
        self._laid: tuple[Packing, Any] | None = None
        self._lock = threading.Lock()

    def laid(self, of: Field) -> Any:
        """What the kernels multiply by; kept until another size of batch is packed in another way.

        Raises:
            ValueError: the weights are too large for encrypted maps.
        """
        with self._lock:
            if self._laid is None or self._laid[0] != of.packing:
                values = of.packing.values(of.weight(self._weight))
                check_weights(self.step, values)
                if -(2**31) <= values.min(initial=0) and values.max(initial=0) < 2**31:
                    values = values.astype(np.int32)
                positions = of.packing.positions().reshape(-1)
                laid = kernel().rlwe_weight(values, positions, width=self.step.width, memory=self.memory)
                self._laid = of.packing, laid
            return self._laid[1]

    @property
    def stored_bytes(self) -> int:
        """Bytes of ``memory`` that are in use."""
        return 0 if self._laid is None else self._laid[1].stored_bytes

    def __repr__(self) -> str:
        return f"Weight({self.step.name})"


def prepare_weight(step: Step, numbers: Numbers, *, memory: int = 0, batch: int = 1, transform_bits: int = 0) -> Weight:
    """What the server keeps of a map's weights, once per model: laid out for this size of batch.

    Raises:
        ValueError: the weights are too large for encrypted maps, or a kernel is.
    """
    weight = Weight(step, numbers.of_map.astype(f"i{numbers.bits // 8}"), memory)  # kept: no wider than it has to be
    of = field(step, batch, transform_bits)
    if of.groups:
        weight.laid(of)
    return weight


class Room:
    """Memory that the kernels work in, from one map to the next."""

    def __init__(self) -> None:
        self._bytes = np.empty(0, np.uint8)

    def of(self, size: int) -> np.ndarray:
        if self._bytes.size < size:
            self._bytes = self._bytes[:0].copy()  # let go before there is more
            self._bytes = np.empty(size, np.uint8)
        return self._bytes

    def __repr__(self) -> str:
        return f"Room({self._bytes.size} bytes)"


def respond(
    step: Step,
    weight: Weight,
    public: PublicKey,
    message: Sequence[np.ndarray],
    batch: int,
    transform_bits: int = 0,
    room: Room | None = None,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The server's share of the map of what the client encrypted, (N, *step.shape), and its answer.

    Raises:
        PartyError: the message has another length than one for ``batch`` samples.
    """
    of = field(step, batch, transform_bits)
    expected = messages.sizes(step, batch, transform_bits)[0]
    words = messages.whole(step, message, expected, "server", "the client")
    seed, high, low = messages.sent(of, words)
    if not of.groups:
        return np.zeros((batch, *step.shape), elements(step.width)), messages.join(words[:0])
    laid, key = weight.laid(of), public.values[step.width]
    memory = room.of(kernel().rlwe_room(laid, len(high))) if room else None
    share, high, low = kernel().rlwe_respond(high, low, laid, key, public_seed=generator("c1", seed),
                                             seed=fresh().tobytes(), room=memory)  # fmt: skip
    return of.result(share), messages.join(high, low)
