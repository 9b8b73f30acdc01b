"""Products and comparisons on shares, through CrypTen."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from .kernels import TorchKernels


class Shares:
    """One party's view of shared ring elements: plain int64 tensors, one share at each party, exponents kept by the
    caller.

    Args:
        crypten: the imported package, initialised.
        kernels: what does the local work.
        frac_bits: fractional bits of every value between two steps.
    """

    def __init__(self, crypten: ModuleType, kernels: TorchKernels, frac_bits: int):
        from crypten.mpc.primitives import ArithmeticSharedTensor, beaver, converters

        self._arithmetic, self._beaver, self._converters = ArithmeticSharedTensor, beaver, converters
        self._crypten, self.kernels, self.frac_bits = crypten, kernels, frac_bits
        self.communicator = crypten.communicator.get()
        self.first = self.communicator.get_rank() == 0

    # --- in and out --------------------------------------------------------------------------------------------------

    def encode(self, value: Tensor) -> Tensor:
        """Round to the grid. (CrypTen's own encoding cuts off, which is biased and up to a whole unit wrong.)"""
        return (value.double() * 2.0**self.frac_bits).round().long()

    def share(self, value: Tensor | None, shape: tuple[int, ...], owner: int) -> Tensor:
        """Share a tensor that only ``owner`` has; no message, the masks come from seeds."""
        return self._arithmetic(value, size=torch.Size(shape), precision=0, src=owner).share

    def open_to(self, share: Tensor, receiver: int) -> Tensor | None:
        """Reveal to one party. One message."""
        ring = self.communicator.reduce(share, receiver)
        return None if ring is None else ring.double() / 2.0**self.frac_bits

    def add_public(self, share: Tensor, number: float) -> Tensor:
        return share + round(number * 2.0**self.frac_bits) if self.first else share

    # --- arithmetic --------------------------------------------------------------------------------------------------

    def rescale(self, share: Tensor) -> Tensor:
        """Bring a product of two values (2 * frac_bits) back to frac_bits. Local."""
        return self.kernels.truncate(share, 2**self.frac_bits)

    def linear(self, op: str, x: Tensor, y: Tensor, **options: Any) -> Tensor:
        """``op`` ("mul", "matmul", "conv2d") of two shared tensors, at 2 * frac_bits. One round (Beaver)."""
        return getattr(self._beaver, op)(self._wrap(x), self._wrap(y), **options).share

    def open_round(
        self, squares: list[Tensor], products: list[tuple[Tensor, Tensor]]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Squares and element-wise products that do not depend on one another, in one round. Squares are
        rescaled, products are not.

        1. Take ([r], [r**2]) for each square, ([a], [b], [a * b]) for each product.
        2. Open x - r, x - a, y - b of all, in one batch.
        3. Each party finishes on its shares.

        Online each party sends 8 bytes per element of a square and of either factor of a product.
        """
        provider = self._crypten.mpc.get_default_provider()
        pairs = [[s.share for s in provider.square(x.size(), device=x.device)] for x in squares]
        triples = [
            [s.share for s in provider.generate_additive_triple(x.size(), y.size(), "mul", device=x.device)]
            for x, y in products
        ]
        hidden = [x - r for x, (r, _) in zip(squares, pairs)]
        for (x, y), (a, b, _) in zip(products, triples):
            hidden += [x - a, y - b]
        opened = self.communicator.all_reduce(hidden, batched=True)
        factors = opened[len(squares) :]
        return (
            [self.kernels.square(r, r2, e, self.frac_bits, self.first) for (r, r2), e in zip(pairs, opened)],
            [self.kernels.product(*triple, e, d, self.first) for triple, e, d in zip(triples, factors[::2], factors[1::2])],
        )

    def drelu(self, x: Tensor) -> Tensor:
        """Share of 1{x >= 0} as an integer (exponent 0). 8 rounds.

        1. Share the bits of each arithmetic share; no message.
        2. Add them with a carry tree on XOR shares: 1 + 6 rounds.
        3. Turn the sign bit into an arithmetic share: 1 round.

        Online each party sends 16 bytes an AND of 64 bits (1 + 6 * 2 of them) and 8 for the sign: 216 an element.
        """
        bits = self._converters._A2B(self._wrap(x))
        bits.share >>= 63
        negative = self._converters._B2A(bits, precision=0, bits=1).share
        return 1 - negative if self.first else -negative

    def _wrap(self, share: Tensor) -> Any:
        return self._arithmetic.from_shares(share, precision=0)
