"""Ring elements that two parties share: what needs no protocol of its own."""

from __future__ import annotations

from types import ModuleType

from torch import Tensor

from .kernels import TorchKernels
from .meter import Meter


class Values:
    """One party's view of shared ring elements: plain int64 tensors, one share at each party, exponents kept by the
    caller.

    Args:
        crypten: the imported package, initialised.
        kernels: what does the local work.
        frac_bits: fractional bits of every value between two steps.
        meter: what counts.
    """

    def __init__(self, crypten: ModuleType, kernels: TorchKernels, frac_bits: int, meter: Meter):
        self.kernels, self.frac_bits, self.meter = kernels, frac_bits, meter
        self.communicator = crypten.communicator.get()
        self.first = self.communicator.get_rank() == 0

    def encode(self, value: Tensor) -> Tensor:
        """Round to the grid. (CrypTen's own encoding cuts off, which is biased and up to a whole unit wrong.)"""
        return (value.double() * 2.0**self.frac_bits).round().long()

    def open_to(self, share: Tensor, receiver: int) -> Tensor | None:
        """Reveal to one party. One message."""
        ring = self.communicator.reduce(share, receiver)
        return None if ring is None else ring.double() / 2.0**self.frac_bits

    def add_public(self, share: Tensor, number: float) -> Tensor:
        return share + round(number * 2.0**self.frac_bits) if self.first else share

    def rescale(self, share: Tensor) -> Tensor:
        """Bring a product of two values (2 * frac_bits) back to frac_bits. Local."""
        return self.kernels.truncate(share, 2**self.frac_bits)
