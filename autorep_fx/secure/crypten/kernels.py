"""The local work of a party on its shares: what a compiled kernel can replace."""

from __future__ import annotations

from torch import Tensor


class TorchKernels:
    """Local work in torch int64 operations, as CrypTen does it.

    Every function gets and returns shares (int64, wrap-around); ``first`` is True at the one party that adds public
    terms.
    """

    def truncate(self, share: Tensor, divisor: int) -> Tensor:
        """Divide a shared number by a public integer: each party divides its share, towards zero.

        The result is off by less than one unit, unbiased, unless the shares wrap around: precision.py.
        """
        return share.div(divisor, rounding_mode="trunc")

    def square(self, r: Tensor, r2: Tensor, opened: Tensor, frac_bits: int, first: bool) -> Tensor:
        """Share of x**2, brought back to ``frac_bits``, from shares of r and r**2 and the opened x - r.

        ``(r2 + 2 r opened + opened**2) / 2**frac_bits``
        """
        share = r2 + 2 * r * opened
        return self.truncate(share.addcmul_(opened, opened) if first else share, 2**frac_bits)

    def product(self, a: Tensor, b: Tensor, c: Tensor, x_opened: Tensor, y_opened: Tensor, first: bool) -> Tensor:
        """Share of x * y from shares of a, b, c = a * b and the opened x - a and y - b."""
        share = c + x_opened * b + a * y_opened
        return share.add_(x_opened * y_opened) if first else share


class FusedKernels(TorchKernels):
    """The same numbers, without a division where a shift does."""

    def truncate(self, share: Tensor, divisor: int) -> Tensor:
        if divisor & (divisor - 1):
            return super().truncate(share, divisor)
        # Towards zero: a negative number is first raised by divisor - 1.
        result = (share >> 63).bitwise_and_(divisor - 1)
        return result.add_(share).bitwise_right_shift_(divisor.bit_length() - 1)


#: What ``program.run(kernels=...)`` accepts.
KERNELS = ("fused", "torch")
