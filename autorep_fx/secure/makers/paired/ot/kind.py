"""What a way to extend oblivious transfer is: two halves, and what they say."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from ....link.channel import Channel
from ....rates import Rates
from ..turns import Protocol
from .said import Said

#: What sender and receiver say, in this order.
Both = tuple[Said, Said]


class SendingHalf(ABC):
    """The sender's: correlated blocks q, with one delta for all of a session.

    Attributes:
        delta: (2,) words, after the set-up.
        index: the number of the next transfer in the session.
    """

    delta: np.ndarray
    index: int

    @property
    @abstractmethod
    def hash_key(self) -> bytes:
        """16 public bytes that what both parties drew for the base transfers went into; after the set-up."""

    @abstractmethod
    def setup(self) -> None:
        """Once, at the same time as the receiver's."""

    @abstractmethod
    def extend(self, n: int) -> Protocol[np.ndarray]:
        """For blocks (n, 2) of the next n transfers, a multiple of 64, when the receiver extends by as many. They are
        good until the next ones are asked for."""

    @abstractmethod
    def rest(self) -> None:
        """Let go of the blocks: the next ones are not asked for soon."""


class ReceivingHalf(ABC):
    """The receiver's: blocks `t = q ^ c * delta`, for random choices c.

    Attributes:
        index: the number of the next transfer in the session.
    """

    index: int

    @property
    @abstractmethod
    def hash_key(self) -> bytes:
        """As of :class:`SendingHalf`."""

    @abstractmethod
    def setup(self) -> None:
        """Once, at the same time as the sender's."""

    @abstractmethod
    def extend(self, n: int) -> Protocol[tuple[np.ndarray, np.ndarray]]:
        """For blocks (n, 2), good until the next ones are asked for, and the choices as a plane."""

    @abstractmethod
    def rest(self) -> None:
        """As of :class:`SendingHalf`."""


class Kind(ABC):
    """A way to extend oblivious transfer."""

    @property
    def kept_bytes(self) -> int:
        """What a half keeps from one extension to the next, at most, beside a few keys."""
        return 0

    @abstractmethod
    def sender(self, channel: Channel, step: int) -> SendingHalf: ...

    @abstractmethod
    def receiver(self, channel: Channel, step: int) -> ReceivingHalf: ...

    @abstractmethod
    def setup_said(self) -> Both: ...

    @abstractmethod
    def extension_said(self, n: int, index: int = 0) -> Both:
        """Of n transfers, after ``index`` others."""

    @abstractmethod
    def extension_turns(self, n: int, index: int = 0) -> int:
        """How many turns that takes."""

    @abstractmethod
    def rate(self, rates: Rates) -> float:
        """Transfers a second, one each way, with what is made of them."""


def check_size(n: int) -> int:
    """Raises ValueError unless n transfers are whole words of a plane."""
    if n <= 0 or n % 64:
        raise ValueError(f"n: oblivious transfers are made by the 64, got {n}")
    return n
