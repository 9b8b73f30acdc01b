"""Whether what arrives at the sites is still what their polynomials were fitted to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from torch import Tensor, fx

from ..errors import CalibrationError
from ..graph.batches import Batches
from ..graph.calibrate import calibrate
from ..graph.canonicalize import site_nodes
from ..graph.several import input_names, parts_of
from ..graph.statistics import SiteStatistics, StreamingHistogram
from ..graph.targets import path_of
from ..hybrid import dapa
from ..hybrid.activation import HybridActivation, known, sites
from ..hybrid.fitting import Fitting
from ..secure.plan.plan import node_of
from ..secure.secure_program import SecureProgram
from ..text import table

#: A site has drifted where its polynomials err by so much more than they did, as a part of the mean square of its
#: activation; or where so many of its inputs lie beyond the range that it was fitted to.
_WORSE, _BEYOND = 0.01, 0.01

#: A channel whose standard deviation is below this part of the others' is measured by that.
_FLAT = 0.1


@dataclass(frozen=True)
class SiteDrift:
    """One site.

    Attributes:
        distance: how far the inputs of its channels have moved, the largest; ``channels`` has all: the Wasserstein
            distance of the two distributions in standard deviations of the first. None without a reference.
        beyond: part of the inputs that is beyond the range that the site was fitted to.
        error: of its polynomials now, as a part of the mean square of the activation at the same positions; ``before``,
            under the reference (None without one); ``best``, of polynomials fitted to what arrives now. None where
            nothing is replaced.
        window: largest part of the room of its comparison that an input takes; from 1 on an answer may be wrong. None
            without a program, or where nothing is compared.
        drifted: whether to fit it again.
    """

    name: str
    distance: float | None
    beyond: float
    error: float | None
    before: float | None
    best: float | None
    drifted: bool
    window: float | None = None
    channels: np.ndarray | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Drift:
    """What :func:`monitor` found; ``print`` it.

    Attributes:
        sites: in run order.
        samples: that were looked at.
        reference: where the comparison comes from: "reference", "calibration", or "" where there is none.
    """

    sites: tuple[SiteDrift, ...]
    samples: int
    reference: str

    @property
    def drifted(self) -> list[str]:
        """Names of the sites to fit again, for :func:`~autorep_fx.refit`."""
        return [site.name for site in self.sites if site.drifted]

    def to_dict(self) -> dict:
        """In types that JSON knows."""
        rows = [{k: v for k, v in asdict(site).items() if k != "channels"} for site in self.sites]
        return {"samples": self.samples, "reference": self.reference, "drifted": self.drifted, "sites": rows}

    @property
    def headline(self) -> str:
        """What was found, in a line."""
        found = len(self.drifted)
        said = f"{found} of {len(self.sites)} sites have drifted" if found else "no site has drifted"
        return f"{said} ({self.samples:,} samples, beside {self.reference or 'no reference'})"

    def rows(self) -> list[tuple[str, ...]]:
        """A table, its head first; ``("drift", drift.rows())`` is a section of :meth:`~autorep_fx.Report.to_html`."""
        rows = [("site", "moved", "beyond", "window", "error", "before", "best", "")]
        for s in self.sites:
            rows.append((s.name, _number(s.distance), f"{s.beyond:.2%}", _share(s.window), _share(s.error),
                         _share(s.before), _share(s.best), "fit again" if s.drifted else ""))  # fmt: skip
        known = any(site.window is not None for site in self.sites)
        return [tuple(cell for cell, name in zip(row, rows[0]) if name != "window" or known) for row in rows]

    def __repr__(self) -> str:
        return f"Drift({self.headline})"

    def __str__(self) -> str:
        rows = self.rows()
        return f"{self.headline}\n{table(rows, right=range(1, len(rows[0]) - 1))}"


def monitor(
    gm: fx.GraphModule,
    batches: Tensor | Iterable,
    *,
    reference: Tensor | Iterable | None = None,
    program: SecureProgram | None = None,
    progress: bool | None = None,
) -> Drift:
    """Compare what arrives at each site with what its polynomials were made for.

    Args:
        gm: result of :func:`autorep_fx.transform`, fitted; not changed.
        batches: inputs as they come now; as ``calibration`` of :func:`autorep_fx.transform`, labels are not used.
        reference: inputs as they were. Without it the comparison is with what calibration saw, which a network that was
            loaded, or trained since, does not have: then only ranges are compared, and what a new fit would win.
        program: what :func:`autorep_fx.compile` made of ``gm``: whether its comparisons have room is looked at, too.
        progress: progress bars; None shows them on a terminal only.

    Raises:
        CalibrationError: batches that are empty, not finite or do not fit; a network that was never fitted.
    """
    everything = sites(gm)
    for name, site in everything.items():
        if site.input_range is None:
            raise CalibrationError(f"site '{name}' was never fitted; give transform a calibration")
    degree = max((site.degree for site in everything.values()), default=2)
    inputs = len(input_names(gm))
    now = calibrate(gm, Batches(batches, "batches", inputs=inputs), HybridActivation, degree, progress=progress)
    if reference is not None:
        before = calibrate(
            gm, Batches(reference, "reference", inputs=inputs), HybridActivation, degree, progress=progress
        )
    else:
        before = {name: site.statistics for name, site in everything.items() if site.statistics is not None}
    windows = {} if program is None else _windows(gm, program, Batches(batches, "batches", inputs=inputs))
    found = tuple(_compared(name, site, now[name], before.get(name), windows.get(name))
                  for name, site in everything.items() if name in now)  # fmt: skip
    source = "reference" if reference is not None else "calibration" if len(before) == len(everything) else ""
    return Drift(found, max((s.samples for s in now.values()), default=0), source)


def _windows(gm: fx.GraphModule, program: SecureProgram, batches: Batches) -> dict[str, float]:
    """Of each site that compares, the largest part of its window that is used."""
    names = {node.name: path_of(node) for node in site_nodes(gm, HybridActivation)}
    found: dict[str, float] = {}
    for x, _ in batches:
        for use in program.headroom(*parts_of(x)).uses:
            name = names.get(node_of(use.step))
            if name is not None and use.room == "window":
                found[name] = max(use.share, found.get(name, 0.0))
    return found


def _compared(
    name: str, site: HybridActivation, now: SiteStatistics, before: SiteStatistics | None, window: float | None
) -> SiteDrift:
    low, high = known(site.input_range).double().tolist()
    beyond = _beyond(now.histogram, low, high)
    channels = None if before is None else _distances(before.histogram, now.histogram)
    error = earlier = best = None
    if site.kept < site.total:
        error, best = _error(site, now), _best(site, now)
        earlier = None if before is None else _error(site, before)
    base = best if earlier is None else earlier
    worse = error is not None and base is not None and error - base > _WORSE
    distance = None if channels is None else float(channels.max())
    drifted = worse or beyond > _BEYOND
    return SiteDrift(name, distance, beyond, error, earlier, best, drifted, window, channels)


def _beyond(histogram: StreamingHistogram, low: float, high: float) -> float:
    """Part of all values whose bins lie beyond the range."""
    start = histogram.low[:, None] + torch.arange(histogram.bins) * histogram.width[:, None]
    end = start + histogram.width[:, None]
    out = (end < low) | (start > high)
    return float((histogram.counts * out).sum() / histogram.counts.sum().clamp_min(1))


def _distances(before: StreamingHistogram, now: StreamingHistogram) -> np.ndarray:
    """Of each channel; one that hardly varies is measured by what the site's channels do on average."""
    from scipy.stats import wasserstein_distance  # half a second that every party would wait for

    (x, n), (y, m) = ((h.centers().numpy(), h.counts.numpy()) for h in (before, now))
    mean = np.average(x, axis=1, weights=n)
    std = np.sqrt(np.average((x - mean[:, None]) ** 2, axis=1, weights=n))
    moved = [wasserstein_distance(x[c], y[c], n[c], m[c]) for c in range(len(x))]
    return np.array(moved) / np.maximum(std, max(_FLAT * std.mean(), 1e-12))


def _forms(site: HybridActivation) -> list[tuple[Tensor, Tensor, int]]:
    """(coefficients, positions that take them, degree)."""
    line = site.takes_line.cpu()
    found = [(known(site.coeffs).detach().cpu(), ~known(site.keep).cpu() & ~line, site.degree)]
    if site.line_coeffs is not None:
        found.append((site.line_coeffs.detach().cpu(), line, 1))
    return [form for form in found if form[1].any()]


def _error(site: HybridActivation, statistics: SiteStatistics) -> float:
    """Squared error of the site's polynomials over its replaced positions, as a part of the activation's square."""
    return _over(statistics, [(dapa.mean_squared_error(coeffs, statistics, where), where)
                              for coeffs, where, _ in _forms(site)])  # fmt: skip


def _best(site: HybridActivation, statistics: SiteStatistics) -> float:
    """The same, of polynomials that are fitted to this."""
    growth = Fitting.growth
    return _over(statistics, [(dapa.fit(site.activation.in_float64, statistics, degree, "traced", where,
                                        growth if degree == 2 else None).error, where)
                              for _, where, degree in _forms(site)])  # fmt: skip


def _over(statistics: SiteStatistics, parts: list[tuple[Tensor, Tensor]]) -> float:
    wrong = signal = 0.0
    for error, where in parts:
        count, _, _, square = statistics.moments.over(where)
        wrong += float((error * count).sum())
        signal += float(square.sum())
    return wrong / max(signal, 1e-300)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"
