"""Figures of one site: its fit over the distribution that arrives, and its mask."""

from __future__ import annotations

import io
import re
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib import font_manager, image
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..graph.statistics import StreamingHistogram
from .budgets import BudgetPlan
from .measure import Curve, SiteRecord
from .table import number, percent


class Palette(NamedTuple):
    """Colours by role: what is kept is warm, what takes a polynomial is cool, a line green."""

    ink: str = "#1b2126"
    muted: str = "#667079"
    grid: str = "#e3e7ea"
    relu: str = "#d4541c"
    poly: str = "#1f7a99"
    line: str = "#5b8536"
    relu_soft: str = "#f3c4ac"
    poly_soft: str = "#d3e6ec"
    line_soft: str = "#e2ecd6"
    hist: str = "#d5dade"
    empty: str = "#eef1f3"


LIGHT = Palette()

#: Colours that no drawing uses otherwise; in SVG they become the variables of the style sheet.
_MARKERS = Palette(*(f"#0102{i:02x}" for i in range(len(Palette._fields))))
_FONTS = ("Inter", "Source Sans 3", "Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans")
_BINS, _POINTS = 96, 160


class Missing(Exception):
    """A picture cannot be made; the message says why, for the reader."""


def style() -> dict:
    """rcParams of every figure, for ``matplotlib.rc_context``."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return {
        "font.family": next((f for f in _FONTS if f in installed), "DejaVu Sans"),
        "font.size": 9,
        "svg.fonttype": "none",
        "svg.hashsalt": "autorep_fx",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.unicode_minus": True,
    }


def fit_svg(site: SiteRecord) -> str:
    """The fit as inline SVG: all channels, and beside or below them the worst one.

    Raises:
        Missing: neither a distribution nor a polynomial is known.
    """
    _require(site)
    with matplotlib.rc_context(style()):
        worst = worst_channel(site)
        every, ax = _figure(4.56, 2.55)
        draw_fit(ax, site, _MARKERS)
        if worst is None:
            return inline(every)
        one, ax = _figure(3.04, 2.55)
        draw_channel(ax, site, worst, _MARKERS)
        return inline(every) + inline(one)


def reached_svg(plan: BudgetPlan, masks: str) -> str:
    """Accuracy, up to 100 %, over milliseconds, as an inline SVG for each network; that with these ``masks`` stands
    out."""
    with matplotlib.rc_context(style()):
        return "".join(inline(_reached(plan, masks, label)) for label in plan.networks)


def _reached(plan: BudgetPlan, masks: str, label: str) -> Figure:
    figure, ax = _figure(3.8, 2.8)
    p, least = _MARKERS, min(100 * found.accuracy for found in plan.reached)
    for found in plan.reached:
        at, mine = (1e3 * found.prices[label].seconds, 100 * found.accuracy), found.masks == masks
        ax.plot(*at, "o", color=p.relu if mine else p.poly, markersize=8 if mine else 6, clip_on=False, zorder=3)
        if mine:
            ax.annotate(found.name, at, (0, -16), textcoords="offset points", ha="center", color=p.ink)
    ax.margins(x=0.2)
    ax.set_ylim(max(least - 0.35 * max(100 - least, 1), 0), 100)
    ax.set_xlabel(f"milliseconds online, {label}", color=p.muted)
    ax.set_ylabel("accuracy in %", color=p.muted)
    ax.tick_params(colors=p.muted, length=0, labelsize=8)
    ax.spines[:].set_color(p.grid)
    ax.grid(color=p.grid, lw=0.6)
    ax.patch.set_alpha(0)
    return figure


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    """For inline SVG: without a background."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0)
    return figure, figure.subplots()


def inline(figure: Figure) -> str:
    """A figure as an ``<svg>`` element without addresses, coloured by the variables of the style sheet."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'(<svg [^>]*?)width="[^"]*" height="[^"]*"|(<svg )', r"\1\2", text, count=1)
    text = text.replace("<svg ", '<svg class="figure" ', 1)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    # A hundredth of a point is enough for coordinates; labels stay as they are.
    text = re.sub(r'="[^"]*"', lambda value: re.sub(r"(\d+\.\d{2})\d+", r"\1", value[0]), text)
    text = re.sub(r"font: [^;\"]*", "", text)
    for role, marker in _MARKERS._asdict().items():
        text = text.replace(marker, f"var(--{role.replace('_', '-')})")
    return text


def draw_fit(ax: Axes, site: SiteRecord, palette: Palette) -> None:
    """The distribution of all channels, the activation, the median of the polynomials and of the lines, and for each a
    band that most are in."""
    _require(site)
    low, high = _window(site, None)
    x = np.linspace(low, high, _POINTS)
    act = y = np.median(site.activate(x), axis=1)
    _histogram(ax, site.histogram, None, low, high, palette)
    ax.plot(x, act, color=palette.relu, lw=1.8, label=site.kind)
    for i, curve in enumerate(site.curves):
        color, used = _color(curve, palette), curve.channels
        band = np.quantile(curve.of(x)[:, used], (0.1, 0.5, 0.9), axis=1)
        if site.histogram is not None:  # they count where a fair part of their channels has data
            ends = np.array([_window(site, c) for c in used])
            seen = ((x[:, None] >= ends[:, 0]) & (x[:, None] <= ends[:, 1])).mean(1) >= 0.25
            band[:, ~seen] = np.nan
        said = None if i else "10-90% of the channels"
        ax.fill_between(x, band[0], band[2], color=color, alpha=0.16, lw=0, label=said)
        ax.plot(x, band[1], color=color, lw=1.8, label=f"median {curve.kind}{'' if site.replaced else ', not used'}")
        y = np.concatenate([y, np.clip(band[1], act.min() - np.ptp(act) / 2, act.max() + np.ptp(act) / 2)])
    channels = site.shape[0] if site.shape else 1
    _dress(ax, y, low, high, palette, f"all {channels} channels" if channels > 1 else "the channel")


def draw_channel(ax: Axes, site: SiteRecord, channel: int, palette: Palette) -> None:
    """The distribution, the activation and the polynomial, or line, or both, of one channel.

    Raises:
        Missing: how far its polynomial is off is not known.
    """
    if site.channel_error is None:
        raise Missing("the errors of this site's polynomials are not known")
    low, high = _window(site, channel)
    x = np.linspace(low, high, _POINTS)
    act = y = site.activate(x)[:, channel]
    span = np.ptp(act) / 2
    _histogram(ax, site.histogram, channel, low, high, palette)
    ax.plot(x, act, color=palette.relu, lw=1.8)
    for curve in site.curves:
        if channel in curve.channels:
            poly, color = curve.of(x)[:, channel], _color(curve, palette)
            ax.fill_between(x, act, poly, color=color, alpha=0.16, lw=0)
            ax.plot(x, poly, color=color, lw=1.8)
            y = np.concatenate([y, np.clip(poly, act.min() - span, act.max() + span)])
    rms = float(np.sqrt(site.channel_error[channel]))
    _dress(ax, y, low, high, palette, f"worst channel, {channel}: rms error {number(rms)}", legend=False)


def worst_channel(site: SiteRecord) -> int | None:
    """The channel in use with the largest error; None where that is unknown, or one channel is all."""
    if site.channel_error is None or site.histogram is None or len(site.channel_error) < 2:
        return None
    used = np.unique(np.concatenate([curve.channels for curve in site.curves]))
    return int(used[np.argmax(site.channel_error[used])])


def _color(curve: Curve, palette: Palette) -> str:
    return palette.line if curve.kind == "line" else palette.poly


def mask_png(share: np.ndarray) -> bytes:
    """A small PNG (one pixel a position) in the warm colour, opaque where the largest share is kept."""
    rgba = np.empty((*share.shape, 4))
    rgba[..., :3] = matplotlib.colors.to_rgb(LIGHT.relu)
    rgba[..., 3] = share / share.max() if share.max() > 0 else 0
    buffer = io.BytesIO()
    image.imsave(buffer, (rgba * 255).round().astype(np.uint8), format="png")
    return buffer.getvalue()


def draw_mask(ax: Axes, site: SiteRecord, palette: Palette) -> None:
    """Share kept over height and width."""
    share = site.spatial_share()
    if share is None:
        raise Missing(f"'{site.name}' has no positions")
    ramp = matplotlib.colors.LinearSegmentedColormap.from_list("kept", [palette.empty, palette.relu])
    shown = ax.imshow(share, cmap=ramp, vmin=0, vmax=share.max() or 1, interpolation="nearest", aspect="equal")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    ax.set_anchor("N")
    bar = ax.figure.colorbar(shown, cax=ax.inset_axes((1.04, 0, 0.05, 1)), format=lambda value, _: percent(value))
    bar.outline.set_visible(False)
    bar.set_ticks([0, (share.max() or 1) / 2, share.max() or 1])
    bar.ax.tick_params(length=0, colors=palette.muted, labelsize=8)


def _require(site: SiteRecord) -> None:
    if site.shape is None:
        raise Missing("the shape of this site is not known yet")
    if site.histogram is None and not (site.fitted and site.low is not None):
        raise Missing(site.note or "nothing is known of what arrives here: give example_inputs, or calibrate")


def _window(site: SiteRecord, channel: int | None) -> tuple[float, float]:
    """The range worth showing: all but a thousandth of the data at each end, and zero where it is near."""
    low, high = site.low or 0.0, site.high or 0.0
    if site.histogram is not None:
        h = site.histogram
        low_edges, width = h.low.numpy(), h.width.numpy()
        counts = h.counts.numpy()
        if channel is None:
            share = counts / counts.sum()
            centers = h.centers().numpy().ravel()
            order = np.argsort(centers)
            cumulative = np.cumsum(share.ravel()[order])
            ends = np.searchsorted(cumulative, (0.001, 0.999))
            low, high = centers[order][np.minimum(ends, len(centers) - 1)]
        else:
            cumulative = np.cumsum(counts[channel]) / counts[channel].sum()
            ends = np.searchsorted(cumulative, (0.001, 0.999))
            low = low_edges[channel] + ends[0] * width[channel]
            high = low_edges[channel] + (ends[1] + 1) * width[channel]
    span = max(high - low, 1e-6 * max(abs(low), abs(high)), 1e-12)
    if 0 < low < span / 2:
        low = -0.1 * span
    if -span / 2 < high < 0:
        high = 0.1 * span
    return float(low - 0.03 * span), float(high + 0.03 * span)


def density(histogram: StreamingHistogram, channel: int | None, edges: np.ndarray) -> np.ndarray:
    """Share of the data between ``edges``; within a bin of the histogram it counts as evenly spread."""
    total = np.zeros(len(edges) - 1)
    for c in range(len(histogram.counts)) if channel is None else [channel]:
        counts = histogram.counts[c].numpy()
        own = float(histogram.low[c]) + np.arange(histogram.bins + 1) * float(histogram.width[c])
        total += np.diff(np.interp(edges, own, np.concatenate([[0], np.cumsum(counts)])))
    return total / max(total.sum(), 1e-300)


def _histogram(ax: Axes, histogram, channel: int | None, low: float, high: float, palette: Palette) -> None:
    if histogram is None:
        return
    edges = np.linspace(low, high, (_BINS if channel is None else _BINS // 2) + 1)
    heights = density(histogram, channel, edges)
    tall = max(heights.max(), 1e-12)
    # In the lower part of the picture, below the curves' upper ends: only its form matters.
    ax.stairs(0.62 * heights / tall, edges, transform=ax.get_xaxis_transform(), fill=True, color=palette.hist, lw=0,
              zorder=0, label="distribution of the input")  # fmt: skip


def _dress(ax: Axes, y: np.ndarray, low: float, high: float, palette: Palette, title: str, legend: bool = True) -> None:
    y = y[np.isfinite(y)]
    span = max(np.ptp(y), 1e-12)
    ax.set_xlim(low, high)
    ax.set_ylim(y.min() - 0.06 * span, y.max() + 0.06 * span)
    ax.set_title(title, loc="left", color=palette.muted, fontsize=9)
    ax.axhline(0, color=palette.muted, lw=0.5, alpha=0.6, zorder=0.5)
    ax.spines["left"].set_visible(False)
    ax.spines["bottom"].set_color(palette.grid)
    ax.tick_params(colors=palette.muted, length=0, labelsize=8)
    ax.grid(axis="y", color=palette.grid, lw=0.6, zorder=0)
    ax.set_axisbelow(True)
    ax.patch.set_alpha(0)
    ax.locator_params(axis="x", nbins=6)
    ax.locator_params(axis="y", nbins=4)
    if legend:
        ax.legend(
            loc="upper left", frameon=False, fontsize=8, labelcolor=palette.ink, handlelength=1.4, borderaxespad=0.2
        )
