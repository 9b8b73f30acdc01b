"""CrypTen's number format: one exponent for everything, and the server's numbers on that grid."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..program.program import Program, PublicProgram


@dataclass(frozen=True, repr=False)
class FixedPublic(PublicProgram):
    """What both parties know. A real v is the ring element ``round(v * 2**frac_bits)``."""

    frac_bits: int


@dataclass(frozen=True, repr=False)
class FixedProgram(Program):
    """A program whose polynomials have their forms (forms.py), and its number format."""

    public: FixedPublic

    @property
    def frac_bits(self) -> int:
        return self.public.frac_bits


def to_grid(value: Tensor, frac_bits: int) -> Tensor:
    """The nearest multiples of ``2**-frac_bits``, in float64."""
    scale = 2.0**frac_bits
    return (value.double() * scale).round() / scale


def on_grid(program: FixedProgram) -> dict[str, Tensor]:
    """The server's part as it is shared: float64 multiples of ``2**-frac_bits``.

    Everything is rounded to the nearest, except that a completed square ``c2 (x + o)**2 + e`` is rounded in order: c2
    first, then ``o = c1 / (2 c2)`` with the rounded c2, then ``e = c0 - c2 o**2`` with both. Rounded each by itself, an
    error in c2 would count times (x + o)**2, and o**2 can be large; so it counts times x**2 (forms.py).
    """
    bits = program.frac_bits
    rounded = {key: to_grid(value, bits) for key, value in program.server.items()}
    for step in program.steps:
        if "factor" not in step.secrets:
            continue
        names = [step.secrets[role] for role in ("factor", "offset", "constant")]
        c2, o, e = (program.server[name] for name in names)
        c1, c0 = 2 * c2 * o, e + c2 * o**2
        factor = rounded[names[0]]
        # A channel that does not take this form has zeros here.
        offset = to_grid(c1 / (2 * torch.where(factor > 0, factor, 1)), bits)
        rounded[names[1]], rounded[names[2]] = offset, to_grid(c0 - factor * offset**2, bits)
    return rounded


def whole_factor(factor: float) -> tuple[int | None, int | None]:
    """How to multiply by a public number: (k, None) for a factor k, exact;
    (None, k) for 1/k with k > 1, a division; (None, None) for a product with the number on the grid."""
    if factor == int(factor):
        return int(factor), None
    inverse = round(1 / factor)
    return (None, inverse) if inverse > 1 and factor == 1 / inverse else (None, None)
