"""What is known about every site, and what arrives there."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, fx

from ..errors import CalibrationError
from ..graph.activations import Activation
from ..graph.batches import Batches
from ..graph.calibrate import SiteWalk, evaluating
from ..graph.several import input_names
from ..graph.statistics import SiteStatistics, StreamingHistogram
from ..hybrid import dapa
from ..hybrid.activation import HybridActivation, known, sites
from ..text import brief

#: Inputs that span this many times what calibration saw are worth a note.
_OUTSIDE = 3


class Curve(NamedTuple):
    """Polynomials of one kind at a site.

    Attributes:
        kind: "polynomial" or "line".
        coeffs: (degree + 1, C) float64.
        channels: indices of those that have one in use.
    """

    kind: str
    coeffs: np.ndarray
    channels: np.ndarray

    def of(self, x: np.ndarray) -> np.ndarray:
        """Of ``x`` (n,) for every channel, (n, C)."""
        return np.polynomial.polynomial.polyval(np.asarray(x, dtype=np.float64), self.coeffs).T

    def __repr__(self) -> str:
        return brief(self)


@dataclass
class SiteRecord:
    """One site, as it was when the report was made.

    Attributes:
        name, kind: the site's path in the model, and the kind of its activation.
        shape: of one sample; None while unknown, and then ``total`` and ``kept`` are None too.
        keep: boolean array of ``shape``; None while the site has no mask of its own (all kept).
        lines: how many take a line: by the site's own mask of lines, or all that are replaced where its polynomials
            are straight.
        line: boolean array of ``shape``, where they are; None where there are none.
        coeffs: (degree + 1, C) float64, of the lines where nothing else is replaced; None while not fitted.
        line_coeffs: (2, C) float64, of the lines beside other polynomials; None where there are none.
        source: where the distribution comes from, "example_inputs" or "calibration"; None when it is not known.
        mean, std, low, high: of the site's input, all channels together.
        clip_rate: of a ReLU6, the part of its inputs that was above 6.
        histogram: of the input, channel by channel.
        channel_error: (C,) mean squared error of the polynomials over the replaced positions of each channel (over all
            positions where it has none); ``error`` is its root over the site, ``relative_error`` that divided by the
            root mean square of the activation at the same positions. None where the site keeps all positions.
        note: what a reader should know, such as an input that was not finite.
    """

    name: str
    kind: str
    activation: Activation = field(repr=False)
    shape: tuple[int, ...] | None = None
    total: int | None = None
    kept: int | None = None
    keep: np.ndarray | None = field(default=None, repr=False)
    lines: int = 0
    line: np.ndarray | None = field(default=None, repr=False)
    line_coeffs: np.ndarray | None = field(default=None, repr=False)
    coeffs: np.ndarray | None = field(default=None, repr=False)
    source: str | None = None
    samples: int = 0
    mean: float | None = None
    std: float | None = None
    low: float | None = None
    high: float | None = None
    clip_rate: float | None = None
    histogram: StreamingHistogram | None = field(default=None, repr=False)
    channel_error: np.ndarray | None = field(default=None, repr=False)
    error: float | None = None
    relative_error: float | None = None
    note: str | None = None

    @property
    def replaced(self) -> int | None:
        return None if self.total is None or self.kept is None else self.total - self.kept

    @property
    def share(self) -> float | None:
        """Share of the elements that keep their activation, 0 to 1."""
        return self.kept / self.total if self.total and self.kept is not None else None

    @property
    def fitted(self) -> bool:
        return self.coeffs is not None

    @property
    def all_lines(self) -> bool:
        """Whether all that is replaced takes a line, and something is."""
        return 0 < self.lines == self.replaced

    @property
    def channels_in_use(self) -> np.ndarray:
        """Indices of the channels whose polynomial is used; all of them where nothing is replaced."""
        channels = (self.shape or (0,))[0] if self.coeffs is None else self.coeffs.shape[1]
        if self.keep is None or self.keep.all():
            return np.arange(channels)
        others = self.keep if self.line is None or self.all_lines else self.keep | self.line
        return np.flatnonzero(~others.reshape(len(others), -1).all(1))

    @property
    def curves(self) -> list[Curve]:
        """What stands in for the activation, of a site that is fitted."""
        if self.coeffs is None:
            return []
        first = Curve("line" if self.all_lines else "polynomial", self.coeffs, self.channels_in_use)
        if self.line is None or self.line_coeffs is None or self.all_lines:
            return [first]
        lined = np.flatnonzero(self.line.reshape(len(self.line), -1).any(1))
        return [first, Curve("line", self.line_coeffs, lined)]

    def channel_share(self) -> np.ndarray | None:
        """Share kept of every channel, (C,)."""
        if self.shape is None:
            return None
        if self.keep is None:
            return np.ones(self.shape[0])
        return self.keep.reshape(len(self.keep), -1).mean(1)

    def spatial_share(self) -> np.ndarray | None:
        """Share kept over height and width, averaged over everything else; None for a site that has no positions."""
        if self.shape is None or len(self.shape) < 2:
            return None
        share = np.ones(self.shape) if self.keep is None else self.keep.astype(float)
        share = share.mean(tuple(range(max(1, share.ndim - 2))))
        return np.atleast_2d(share)

    def activate(self, x: np.ndarray) -> np.ndarray:
        """The activation of ``x`` (n,) for every channel, (n, C) (a PReLU may differ from channel to channel)."""
        channels = self.shape[0] if self.shape else 1
        grid = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float64))[:, None].expand(-1, channels)
        with torch.no_grad():
            return self.activation.in_float64(grid).numpy()


class Observer(SiteWalk):
    """Runs the hybrid network as it is; notes what arrives at the sites and the shape that every node gives.

    The network is not changed: a site that has no shape yet does not learn one.

    Attributes:
        statistics: by site; without those whose input was not finite, which are in ``not_finite``.
        shapes: by node name, of one sample.
    """

    def __init__(self, gm: fx.GraphModule):
        super().__init__(gm, HybridActivation)
        self.statistics: dict[str, SiteStatistics] = {}
        self.not_finite: set[str] = set()
        self.shapes: dict[str, tuple[int, ...] | None] = {}
        self.samples, self.inputs = 0, len(input_names(gm))

    def observe(self, example_inputs) -> None:
        batches = Batches(example_inputs, "example_inputs", inputs=self.inputs)
        with evaluating(self.module), torch.no_grad():
            for x, _ in batches:
                self._batch = len(x)
                self.walk(x, "example_inputs")
                self.samples += len(x)

    def at_site(self, name: str, site: HybridActivation, x: Tensor) -> Tensor:
        shape = tuple(x.shape[1:])
        if site.shape is not None and site.shape != shape:
            raise CalibrationError(
                f"example_inputs arrive at site '{name}' as {shape}, its mask has shape {site.shape}"
            )
        y = site.activation(x)
        if not torch.isfinite(x).all():
            self.not_finite.add(name)
        elif shape:
            if name not in self.statistics:
                self.statistics[name] = SiteStatistics(shape, site.degree)
            self.statistics[name].update(x, y)
        return y if site.shape is None else site(x)

    def run_node(self, node: fx.Node):
        value = super().run_node(node)
        if isinstance(value, Tensor):
            shape = tuple(value.shape)
            per_sample = node.op != "get_attr" and len(shape) > 0 and shape[0] == self._batch
            self.shapes[node.name] = shape[1:] if per_sample else shape
        return value


def measure(gm: fx.GraphModule, example_inputs=None) -> tuple[list[SiteRecord], dict, int]:
    """The records of all sites in run order, node shapes by name (of one sample), and the number of samples run.

    Without ``example_inputs`` the distributions are those that calibration left at the sites, and the only shapes known
    are those of the sites.

    Raises:
        CalibrationError: ``example_inputs`` that are empty, not finite, or do not fit the model.
    """
    observer = Observer(gm)
    if example_inputs is not None:
        observer.observe(example_inputs)
    records = []
    for name, site in sites(gm).items():
        shape = site.shape
        if shape is None and name in observer.statistics:
            shape = observer.statistics[name].shape
        if example_inputs is not None:
            statistics, source = observer.statistics.get(name), "example_inputs"
        else:
            statistics, source = site.statistics, "calibration"
        record = _record(name, site, shape, statistics, source)
        if name in observer.not_finite:
            _forget_distribution(record)
            record.note = "its input is not finite on example_inputs"
        elif example_inputs is not None and site.input_range is not None:
            _note_beyond(record, site.input_range)
        records.append(record)
    shapes = observer.shapes or _shapes_at_sites(gm)
    return records, shapes, observer.samples


def _note_beyond(record: SiteRecord, calibrated: Tensor) -> None:
    """Say so where the input spans far more than when the site was fitted."""
    low, high = (float(v) for v in calibrated)
    if record.low is not None and record.high is not None and record.high - record.low > _OUTSIDE * (high - low):
        record.note = (
            f"its input spans {record.low:.3g} to {record.high:.3g} on example_inputs, calibration saw "
            f"{low:.3g} to {high:.3g}: polynomials upstream diverge"
        )


def _record(name, site: HybridActivation, shape, statistics: SiteStatistics | None, source: str) -> SiteRecord:
    record = SiteRecord(name, site.activation.kind, site.activation, shape)
    if shape is not None:
        record.total = math.prod(shape)
        record.kept = record.total if site.shape is None else site.kept
    if site.keep is not None:
        record.keep = site.keep.cpu().numpy().copy()
        if site.line_coeffs is not None and site.lines:
            record.lines, record.line = site.lines, site.takes_line.cpu().numpy().copy()
            record.line_coeffs = site.line_coeffs.detach().cpu().double().numpy().copy()
        only = site.lines and site.lines == record.replaced
        coeffs = known(site.line_coeffs if only else site.coeffs).detach().cpu().double()
        identity = torch.zeros_like(coeffs)
        identity[1] = 1
        if not torch.isfinite(coeffs).all():
            record.note = "its coefficients are not finite"
        elif site.fit_error is not None or not torch.equal(coeffs, identity):
            record.coeffs = coeffs.numpy().copy()

    if statistics is not None and statistics.samples:
        record.source, record.samples, record.histogram = source, statistics.samples, statistics.histogram
        record.low, record.high = float(statistics.low.min()), float(statistics.high.max())
        record.mean, record.std = _mean_std(statistics)
        record.clip_rate = statistics.clip_rate if record.kind == "relu6" else None
    elif site.input_range is not None:
        record.low, record.high = (float(v) for v in site.input_range)

    if record.replaced and record.keep is not None and record.coeffs is not None:
        _measure_error(record, site, statistics)
        if not record.coeffs[2:, record.channels_in_use].any():
            record.lines, record.line = record.replaced, ~record.keep
    return record


def _measure_error(record: SiteRecord, site: HybridActivation, statistics: SiteStatistics | None) -> None:
    if record.keep is None or record.coeffs is None:
        return
    replaced, where, power = record.replaced or 0, torch.from_numpy(~record.keep), 0.0
    counts = where.flatten(1).sum(1) if where.dim() > 1 else where
    weight = counts.double().numpy()
    if statistics is not None and statistics.samples and statistics.moments.degree >= len(record.coeffs) - 1:
        coeffs = torch.from_numpy(record.coeffs)
        found = dapa.mean_squared_error(coeffs, statistics, where)
        if record.line is not None and record.line_coeffs is not None and record.lines < replaced:
            line = torch.from_numpy(record.line)  # coeffs are those of the others
            parts = (torch.from_numpy(record.line_coeffs), line), (coeffs, where & ~line)
            found = dapa.pooled(*((dapa.mean_squared_error(c, statistics, part), part) for c, part in parts))
        error = found.numpy()
        count, _, _, square = statistics.moments.over(where)
        power = float(square.sum() / count.sum())
    elif site.fit_error is not None:
        error = site.fit_error.cpu().double().numpy()
    else:
        return
    if not np.isfinite(error).all():
        record.note = "the error of its polynomials is not finite; what arrives is too large"
        return
    record.channel_error = error
    record.error = math.sqrt(float((weight * error).sum() / weight.sum()))
    if power:
        record.relative_error = record.error / math.sqrt(power)


def _mean_std(statistics: SiteStatistics) -> tuple[float, float]:
    """Mean and standard deviation of all channels together: the variances within, and the variance of the means."""
    count, powers, _, _ = statistics.moments.over(None)
    z = powers[:, 1] / count
    variance = (powers[:, 2] / count - z * z).clamp_min(0) * statistics.moments.scale**2
    means = statistics.moments.shift + statistics.moments.scale * z
    return float(means.mean()), math.sqrt(float(variance.mean() + means.var(correction=0)))


def _forget_distribution(record: SiteRecord) -> None:
    record.source = record.histogram = record.mean = record.std = record.low = record.high = None
    record.clip_rate = record.channel_error = record.error = record.relative_error = None


def _shapes_at_sites(gm: fx.GraphModule) -> dict:
    """A site gives what it gets, so one shape is known at both of its ends."""
    shapes = {}
    for node in gm.graph.nodes:
        site = gm.get_submodule(node.target) if node.op == "call_module" else None
        if isinstance(site, HybridActivation) and site.shape is not None:
            shapes[node.name] = site.shape
            shapes[node.all_input_nodes[0].name] = site.shape
    return shapes
