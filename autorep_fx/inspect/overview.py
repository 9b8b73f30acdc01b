"""One picture of a report, for a README or a talk."""

from __future__ import annotations

import io
import textwrap
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..text import elide
from . import draw, table
from .measure import SiteRecord

_MOST_BARS = 24
_PLAIN: dict[str, Any] = {"parse_math": False}  # a dollar in a name is a dollar


def png(report, title: str | None = None, site: str | None = None) -> bytes:
    """Share kept of every layer, a fit over its distribution, and a mask, side by side; 2400 x 840 pixels.

    Raises:
        ValueError: no site of that name.
    """
    fit_site, mask_site = _choose(report, site)
    palette = draw.LIGHT
    with matplotlib.rc_context(draw.style() | {"font.size": 10}):
        layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08, wspace=0.02)
        figure = Figure(figsize=(12, 4.2), dpi=200, layout=layout, facecolor="white")
        figure.suptitle(
            title or table.headline(report).replace(" -> ", " → "),
            x=0.012,
            ha="left",
            fontsize=14,
            color=palette.ink,
            **_PLAIN,
        )
        bars, fit, mask = figure.subplots(1, 3, width_ratios=(1.05, 1.5, 0.95))
        _picture(bars, "Share of ReLUs kept", _bars, report, palette)
        _picture(fit, f"Fit at {fit_site.name}" if fit_site else "Fit", draw.draw_fit, fit_site, palette)
        _picture(mask, f"Kept positions of {mask_site.name}" if mask_site else "Kept positions", draw.draw_mask,
                 mask_site, palette)  # fmt: skip
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _choose(report, name: str | None) -> tuple[SiteRecord | None, SiteRecord | None]:
    """The sites to show: the one asked for, or those with the most to see."""
    if name is not None:
        chosen = [site for site in report.sites if site.name == name]
        if not chosen:
            names = ", ".join(site.name for site in report.sites) or "none"
            raise ValueError(f"site {name!r} is not in this model; it has: {names}")
        return chosen[0], chosen[0]
    known = [site for site in report.sites if site.total]
    mixed = max(known, key=lambda s: (s.spatial_share() is not None, s.kept * s.replaced), default=None)
    fits = [site for site in known if site.fitted and site.histogram is not None and not site.note]
    fit = mixed if (mixed and mixed in fits and mixed.replaced) or not fits else max(fits, key=lambda s: s.replaced)
    return fit, mixed


def _picture(ax: Axes, title: str, draw_on, what, palette: draw.Palette) -> None:
    """Draw, or say in the same place why that is not possible."""
    try:
        if what is None:
            raise draw.Missing("no site to show")
        draw_on(ax, what, palette)
    except draw.Missing as reason:
        ax.set_axis_off()
        text = textwrap.fill(str(reason), 34)
        ax.text(0.5, 0.5, text, ha="center", va="center", color=palette.muted, transform=ax.transAxes, **_PLAIN)
    ax.set_title(title, loc="left", fontsize=10.5, color=palette.ink, pad=10, **_PLAIN)


def _bars(ax: Axes, report, palette: draw.Palette) -> None:
    sites = [site for site in report.sites if site.total]
    if not sites:
        raise draw.Missing("no site whose shape is known")
    rows = range(len(sites))
    shares = [site.share for site in sites]
    largest = max(shares) or 1
    ax.barh(rows, [largest] * len(sites), height=0.72, color=palette.poly_soft)
    ax.barh(rows, shares, height=0.72, color=palette.relu)
    for row, site in zip(rows, sites, strict=True):
        if site.lines:  # their part of what is left
            rest = (largest - site.share) * site.lines / site.replaced
            ax.barh(row, rest, left=largest - rest, height=0.72, color="white")
            ax.plot([largest - rest, largest], [row, row], color=palette.line, lw=1.6, solid_capstyle="butt")
    if report.lines:
        kinds = [Patch(color=palette.relu, label="ReLU"), Line2D([], [], color=palette.line, lw=1.6, label="line")]
        if any(site.lines < site.replaced for site in sites):
            kinds.insert(1, Patch(color=palette.poly_soft, label="polynomial"))
        ax.legend(handles=kinds, loc="upper left", bbox_to_anchor=(-0.02, 0), ncols=3, frameon=False, fontsize=8,
                  labelcolor=palette.muted, handlelength=1.2, columnspacing=1.2)  # fmt: skip
    ax.set_ylim(len(sites) - 0.4, -0.6)
    ax.set_xlim(0, largest * 1.2)
    ax.set_xticks([])
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0, colors=palette.muted, labelsize=8)
    if len(sites) <= _MOST_BARS:
        ax.set_yticks(rows, [elide(site.name, 20) for site in sites], **_PLAIN)
        for row, site in zip(rows, sites, strict=True):
            ax.text(largest * 1.02, row, table.percent(site.share), va="center", fontsize=8, color=palette.muted)
    else:
        ax.set_yticks([0, len(sites) - 1], [elide(site.name, 20) for site in (sites[0], sites[-1])], **_PLAIN)
