"""Distribution-aware polynomial approximation (DaPa): the polynomial that replaces an activation, channel by channel.

A fit minimises the mean squared error against the activation under a distribution: the traced one (exact least squares
from the moments of everything that arrived) or a Gaussian with the traced mean and standard deviation.

Source: Peng et al., AutoReP (ICCV 2023), section 3.3. The paper fits a Gaussian in closed form; the traced distribution
can only be closer to what arrives.
"""

from __future__ import annotations

from collections.abc import Callable
from math import comb
from typing import NamedTuple

import numpy as np
import torch
from scipy import linalg, special
from torch import Tensor

from ..graph.statistics import SiteStatistics
from ..text import brief

DEGREES = range(1, 5)
FITS = ("traced", "gaussian")

#: A channel with fewer values than this many per coefficient is fitted to a Gaussian instead.
_FEW_PER_COEFFICIENT = 8

#: A channel that reaches less than this part of its site's largest input is taken to reach as much; and no square may
#: be steeper than so many times what ``growth`` is about.
_NOTHING, _STEEPEST = 2.0**-10, 2.0**6

_GRID = np.linspace(-8, 8, 8001)


class Fit(NamedTuple):
    """Polynomials of one site.

    Attributes:
        coeffs: (degree + 1, C) float64, ``coeffs[k]`` multiplies ``x**k``.
        error: (C,) float64, mean squared error under the traced distribution of the fitted positions.
    """

    coeffs: Tensor
    error: Tensor

    def __repr__(self) -> str:
        return brief(self)


def fit(
    activation: Callable[[Tensor], Tensor],
    statistics: SiteStatistics,
    degree: int = 2,
    method: str = "traced",
    where: Tensor | None = None,
    growth: float | None = None,
) -> Fit:
    """Fit one polynomial a channel.

    Args:
        activation: the function in float64, element-wise; used for the Gaussian fits.
        statistics: what arrived at the site, collected for at least this ``degree``.
        degree: 1 to 4. At degree 2 the leading coefficient is kept non-negative (a channel that wants a negative one
            becomes linear, the best choice under that constraint), because the two-party protocol completes the square.
        method: "traced" or "gaussian".
        where: boolean mask of the positions to fit over, the replaced ones; a channel where it has none, and ``None``,
            use all positions of the channel.
        growth: at degree 2, bound the square by ``c2 R <= growth`` with R the largest |x| of the channel, and give c0
            and c1 the best values under that. None: no bound.

    Why a bound: few inputs lie far out, so least squares pays little for them, but the square makes those larger still,
    layer after layer. At 0.5 the polynomial stays near or below |x| as far as inputs were seen. A ResNet-20 with a
    fiftieth of its ReLUs trains with it and diverges without. The published code divides c2 by 10 to the same end.

    Raises:
        ValueError: a degree or method out of range.
    """
    check_degree(degree)
    check_method(method)
    if degree > statistics.moments.degree:
        raise ValueError(f"degree {degree} needs statistics of that degree, these have {statistics.moments.degree}")
    sums: tuple[Tensor, ...] = statistics.moments.over(where)
    if where is not None:
        empty = sums[0] == 0
        sums = tuple(torch.where(empty.view(-1, *(1,) * (s.dim() - 1)), a, s)
                     for s, a in zip(sums, statistics.moments.over(None)))  # fmt: skip
    count, powers, cross, square = (s.numpy() for s in sums)
    shift, scale = statistics.moments.shift.numpy(), statistics.moments.scale.numpy()

    few = (count < _FEW_PER_COEFFICIENT * (degree + 1)) | (method == "gaussian")
    z = np.empty((len(count), degree + 1))
    # The square of what is nothing beside the site's other channels need not fit: it would take c2 without bound.
    largest = statistics.largest.clamp(min=_NOTHING * float(statistics.largest.max()))
    for c in np.flatnonzero(~few):
        z[c] = _fit_moments(powers[c], cross[c], degree)
        if growth is not None and degree == 2:
            z[c] = _bounded(z[c], growth / float(largest[c]) * scale[c] ** 2, powers[c], cross[c])
    if few.any():
        z[few] = _fit_gaussian(activation, shift, scale, *_mean_std(count, powers), degree)[few]
    if degree == 2:
        for c in np.flatnonzero(z[:, 2] > _STEEPEST / np.maximum(largest.numpy(), 1e-300) * scale**2):
            z[c] = np.append(_fit_moments(powers[c], cross[c], 1), 0.0)
    error = [_error(z[c], count[c], powers[c], cross[c], square[c]) for c in range(len(count))]
    return Fit(torch.from_numpy(_to_x(z, shift, scale).T.copy()), torch.tensor(error, dtype=torch.float64))


def mean_squared_error(coeffs: Tensor, statistics: SiteStatistics, where: Tensor | None = None) -> Tensor:
    """Mean squared error (C,) of polynomials ``coeffs`` (degree + 1, C) under the traced distribution."""
    count, powers, cross, square = (s.numpy() for s in statistics.moments.over(where))
    shift, scale = statistics.moments.shift.numpy(), statistics.moments.scale.numpy()
    z = _to_x(coeffs.double().numpy().T, -shift / scale, 1 / scale)
    error = [_error(z[c], max(count[c], 1), powers[c], cross[c], square[c]) for c in range(len(count))]
    return torch.tensor(error, dtype=torch.float64)


def pooled(*parts: tuple[Tensor, Tensor]) -> Tensor:
    """Mean squared error (C,) over disjoint sets of positions: (error (C,) of each, mask of where); 0 where none is."""
    counts = [where.reshape(len(where), -1).sum(1).to(error) for error, where in parts]
    none = torch.zeros_like(counts[0])
    total = sum((torch.where(n > 0, n * error, 0) for n, (error, _) in zip(counts, parts)), none)
    return total / sum(counts, none).clamp_min(1)


def gaussian_relu(mean: Tensor | float, std: Tensor | float) -> Tensor:
    """Degree-2 least squares of ReLU under N(mean, std**2), in closed form: (3, ...) coefficients.

    With a = mean / std, phi and Phi the standard normal density and distribution: c2 = phi(a) / (2 std),
    c1 = Phi(a) - a phi(a), c0 = (mean**2 / (2 std) + std / 2) phi(a).
    """
    m, s = np.asarray(mean, dtype=np.float64), np.asarray(std, dtype=np.float64)
    a = m / s
    phi = np.exp(-a * a / 2) / np.sqrt(2 * np.pi)
    c0 = (m**2 / (2 * s) + s / 2) * phi
    return torch.from_numpy(np.stack([c0, special.ndtr(a) - a * phi, phi / (2 * s)]))


def check_degree(degree: int) -> None:
    if degree not in DEGREES:
        raise ValueError(f"degree must be {DEGREES[0]} to {DEGREES[-1]}, got {degree!r}")


def check_method(method: str) -> None:
    if method not in FITS:
        raise ValueError(f"fit must be one of {', '.join(FITS)}, got {method!r}")


def _fit_moments(powers: np.ndarray, cross: np.ndarray, degree: int) -> np.ndarray:
    """Least squares in z from the sums of one channel."""
    n = powers[0]
    gram = powers[np.add.outer(np.arange(degree + 1), np.arange(degree + 1))] / n
    # lstsq, not solve: a channel with one or two distinct values leaves the system singular.
    coeffs = linalg.lstsq(gram, cross[: degree + 1] / n, cond=1e-12, lapack_driver="gelsy")[0]
    if degree == 2 and coeffs[2] < 0:
        coeffs = np.append(_fit_moments(powers, cross, 1), 0.0)
    return coeffs


def _bounded(coeffs: np.ndarray, bound: float, powers: np.ndarray, cross: np.ndarray) -> np.ndarray:
    """The best coefficients in z whose leading one is at most ``bound``: if it was more, it is the bound itself."""
    if coeffs[2] <= bound:
        return coeffs
    return np.append(_fit_moments(powers, cross - bound * powers[2 : 2 + len(cross)], 1), bound)


def _fit_gaussian(
    activation: Callable[[Tensor], Tensor],
    shift: np.ndarray,
    scale: np.ndarray,
    mean: np.ndarray,
    std: np.ndarray,
    degree: int,
) -> np.ndarray:
    """Weighted least squares under N(mean, std**2) in z, all channels, on a grid of plus and minus 8 deviations."""
    x = shift + scale * (mean + std * _GRID[:, None])
    weight = np.exp(-(_GRID**2) / 4)[:, None]  # square root of the density
    target = activation(torch.from_numpy(x)).numpy() * weight
    basis = np.vander(_GRID, degree + 1, increasing=True) * weight
    coeffs = linalg.lstsq(basis, target)[0].T
    if degree == 2 and (negative := coeffs[:, 2] < 0).any():
        coeffs[negative, :2] = linalg.lstsq(basis[:, :2], target[:, negative])[0].T
        coeffs[negative, 2] = 0
    return _to_x(coeffs, mean, std)


def _mean_std(count: np.ndarray, powers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation in z. The deviation is at least a tenth of what z was scaled to (1); a channel with
    less than two values takes the mean of the site."""
    known = count >= 2
    n = np.maximum(count, 1)
    mean = np.where(known, powers[:, 1] / n, powers[:, 1].sum() / max(count.sum(), 1))
    variance = np.where(known, powers[:, 2] / n - mean**2, 1.0)
    return mean, np.sqrt(np.maximum(variance, 0.01))


def _error(z: np.ndarray, count: float, powers: np.ndarray, cross: np.ndarray, square: float) -> float:
    k = np.arange(len(z))
    quadratic = z @ powers[np.add.outer(k, k)] @ z
    return max(float((square - 2 * z @ cross[: len(z)] + quadratic) / count), 0.0)


def _to_x(coeffs: np.ndarray, shift: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Coefficients (C, d + 1) of a polynomial in (x - shift) / scale as one in x."""
    out = np.zeros_like(coeffs)
    for j in range(coeffs.shape[1]):
        lead = coeffs[:, j] / scale**j
        for k in range(j + 1):
            out[:, k] += lead * comb(j, k) * (-shift) ** (j - k)
    return out
