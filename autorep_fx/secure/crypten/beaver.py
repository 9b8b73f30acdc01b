"""Products and comparisons on shares, through CrypTen."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from .kernels import TorchKernels
from .meter import Meter
from .values import Values


class Shares(Values):
    """One party's view of shared ring elements, and CrypTen's way to work on them."""

    def __init__(self, crypten: ModuleType, kernels: TorchKernels, frac_bits: int, meter: Meter):
        from crypten.mpc.primitives import ArithmeticSharedTensor, beaver, converters

        super().__init__(crypten, kernels, frac_bits, meter)
        self._arithmetic, self._beaver, self._converters = ArithmeticSharedTensor, beaver, converters
        self._crypten = crypten

    # --- setting up --------------------------------------------------------------------------------------------------

    def connect(self, server: dict[str, Tensor] | None, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
        """Share the server's numbers."""
        return {key: self._share(server[key] if self.first else None, shape, 0) for key, shape in shapes.items()}

    def start(self) -> None:
        """The online phase begins."""

    def share_input(self, x: Tensor | None, shape: tuple[int, ...]) -> Tensor:
        """Share the client's input; no message, the masks come from seeds."""
        return self._share(x, shape, 1)

    def _share(self, value: Tensor | None, shape: tuple[int, ...], owner: int) -> Tensor:
        return self._arithmetic(value, size=torch.Size(shape), precision=0, src=owner).share

    # --- arithmetic --------------------------------------------------------------------------------------------------

    def linear(self, op: str, x: Tensor, y: Tensor, **options: Any) -> Tensor:
        """``op`` ("mul", "matmul", "conv2d") of two shared tensors, at 2 * frac_bits. One round (Beaver)."""
        return getattr(self._beaver, op)(self._wrap(x), self._wrap(y), **options).share

    def open_round(
        self, squares: list[Tensor], products: list[tuple[Tensor, Tensor]]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Squares and element-wise products that do not depend on one another, in one round. Squares are rescaled,
        products are not. See :class:`Opening`."""
        return self.begin(squares, products).finish()

    def begin(
        self, squares: list[Tensor], products: list[tuple[Tensor, Tensor]], *, beside_next: bool = False
    ) -> Opening:
        """Start a round and go on; ``finish()`` waits for it.

        Args:
            beside_next: another round is started before this one is waited for, so the two travel together and this one
                is not counted.
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
        return Opening(self, pairs, triples, hidden, 0 if beside_next else 1)

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


class Opening:
    """A Beaver round under way.

    1. Take ([r], [r**2]) for each square, ([a], [b], [a * b]) for each product (done by :meth:`Shares.begin`).
    2. Open x - r, x - a, y - b of all, at once.
    3. Each party finishes on its shares.

    Online each party sends 8 bytes per element of a square and of either factor of a product.
    """

    def __init__(self, shares: Shares, pairs: list, triples: list, hidden: list[Tensor], rounds: int):
        self._shares, self._pairs, self._triples, self._hidden = shares, pairs, triples, hidden
        shares.meter.sends(hidden, rounds)
        group = shares.communicator.main_group
        self._work = [dist.all_reduce(t, group=group, async_op=True) for t in hidden]

    def finish(self) -> tuple[list[Tensor], list[Tensor]]:
        """Shares of the squares (rescaled) and of the products (not)."""
        shares = self._shares
        with shares.meter.wait_for_peer():
            for work in self._work:
                work.wait()
        kernels, first = shares.kernels, shares.first
        factors = self._hidden[len(self._pairs) :]
        return (
            [kernels.square(r, r2, e, shares.frac_bits, first) for (r, r2), e in zip(self._pairs, self._hidden)],
            [kernels.product(*triple, e, d, first) for triple, e, d in zip(self._triples, factors[::2], factors[1::2])],
        )
