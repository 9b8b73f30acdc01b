"""Ring elements that two parties share: what needs no protocol of its own, and how protocols run side by side."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from types import ModuleType
from typing import Any

from torch import Tensor

from ..program.program import Step
from .meter import Meter

#: What ``program.run(kernels=...)`` accepts: which :class:`Shares` the parties work with.
KERNELS = ("fused", "torch")

#: A protocol yields its messages one by one, is resumed with what ``exchange`` made of each, and returns its result.
Protocol = Generator[Any, Any, Any]

#: The server's numbers as a party has them: step -> role -> tensor (ops.py, ``laid_out``).
Numbers = dict[str, dict[str, Tensor]]


class Shares(ABC):
    """One party's view of shared ring elements: plain int64 tensors, one share at each party, exponents kept by the
    caller. Methods that return a :data:`Protocol` are run by :meth:`run`.

    Args:
        crypten: the imported package, initialised.
        frac_bits: fractional bits of every value between two steps.
        meter: what counts.
    """

    def __init__(self, crypten: ModuleType, frac_bits: int, meter: Meter):
        self.frac_bits, self.meter = frac_bits, meter
        self.communicator = crypten.communicator.get()
        self.first = self.communicator.get_rank() == 0

    @abstractmethod
    def connect(self, numbers: Numbers) -> Numbers:
        """Make the server's numbers usable; once per model. numbers: zeros at the client. Returns what steps get."""

    @abstractmethod
    def share_input(self, x: Tensor | None, shape: tuple[int, ...]) -> Tensor:
        """Share the client's input, with which the online phase begins. No message, the masks come from seeds."""

    @abstractmethod
    def exchange(self, *messages: Any) -> list[Any]:
        """One round, of the messages that protocols yield."""

    @abstractmethod
    def product(self, step: Step, role: str, number: Tensor, x: Tensor) -> Protocol:
        """``number`` of the server times x, as the step's operation multiplies; exponent ``2 * frac_bits``."""

    @abstractmethod
    def multiply(self, step: Step, role: str, x: Tensor, y: Tensor) -> Protocol:
        """x times y, element by element; exponent ``2 * frac_bits``, or that of x where y is whole numbers."""

    @abstractmethod
    def matmul(self, step: Step, role: str, x: Tensor, y: Tensor) -> Protocol:
        """x times y, matrices (N, ..., n, k) and (N, ..., k, m); exponent ``2 * frac_bits``."""

    @abstractmethod
    def square(self, step: Step, role: str, x: Tensor) -> Protocol:
        """x**2, rescaled."""

    @abstractmethod
    def relu(self, step: Step, role: str, x: Tensor) -> Protocol:
        """max(x, 0), exact."""

    @abstractmethod
    def drelu(self, step: Step, role: str, x: Tensor) -> Protocol:
        """1{x >= 0}, whole numbers."""

    def run(self, *protocols: Protocol) -> list[Any]:
        """Run protocols side by side: each round carries one message of every one that is not done."""
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
                incoming = dict(zip(messages, self.exchange(*messages.values())))
        return results

    def open_to(self, share: Tensor, receiver: int) -> Tensor | None:
        """Reveal to one party. One message."""
        ring = self.communicator.reduce(share, receiver)
        return None if ring is None else ring.double() / 2.0**self.frac_bits

    def add(self, share: Tensor, number: Tensor) -> Tensor:
        """Add a number of the server, as :meth:`connect` gave it; it broadcasts. Local."""
        return share + number

    def add_public(self, share: Tensor, number: float) -> Tensor:
        return share + round(number * 2.0**self.frac_bits) if self.first else share

    def rescale(self, share: Tensor) -> Tensor:
        """Bring a product of two values (2 * frac_bits) back to frac_bits. Local."""
        return truncate(share, 2**self.frac_bits)


def truncate(share: Tensor, divisor: int) -> Tensor:
    """Divide a shared number by a public integer, as CrypTen does: each party divides its share, towards zero.

    The result is off by less than one unit, unbiased, unless the shares wrap around: precision.py.
    """
    if divisor & (divisor - 1):
        return share.div(divisor, rounding_mode="trunc")
    # A shift, which takes a tenth of the time. Towards zero: a negative number is first raised by divisor - 1.
    result = (share >> 63).bitwise_and_(divisor - 1)
    return result.add_(share).bitwise_right_shift_(divisor.bit_length() - 1)
