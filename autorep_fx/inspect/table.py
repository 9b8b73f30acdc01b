"""A report as plain text, and the numbers in it as a reader wants them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np

from ..forms.faster import Times, no_faster
from ..text import UNKNOWN, number, table
from .cost import NetworkCost
from .measure import SiteRecord

WIDTH = 120
_HEAD = ("site", "kind", "shape", "elements", "kept", "lines", "share", "input", "range", "polynomial", "rms", "rel")
_LEFT = {"site", "kind", "shape", "polynomial", "layer", "form", "forms", "network", "correlations"}


def render(report) -> str:
    """The report as a table of at most ``WIDTH`` columns; long site names lose their middle."""
    first = [*(textwrap.fill(said, WIDTH) for said in report.words)]
    if not report.sites:
        return "\n\n".join(["\n".join([headline(report), *first]), *_costs(report)])
    rows = [_row(site) for site in report.sites]
    total = ["total", "", "", count(report.before), count(report.after), count(report.lines), percent(report.share),
             *[""] * 5]  # fmt: skip
    shown = [i for i, name in enumerate(_HEAD) if name != "lines" or report.lines]

    def cells(row: Sequence[str]) -> list[str]:
        return [row[i] for i in shown]

    top = [headline(report), *first, *filter(None, [prediction(report)])]
    below = [legend(report), *(textwrap.fill(note, WIDTH) for note in notes(report))]
    main = columns(cells(_HEAD), [*map(cells, rows)], [cells(total)])
    return "\n\n".join(["\n".join(top), main, "\n".join(below), *_costs(report)])


def columns(head: Sequence[str], rows: Sequence[Sequence[str]], totals: Sequence[Sequence[str]] = ()) -> str:
    """Rows of cells under a head, at most ``WIDTH`` columns wide: the first column loses its middle."""
    right = {i for i, name in enumerate(head) if name not in _LEFT}
    return table([head, *rows], totals, right=right, rule=True, width=WIDTH)


def _costs(report) -> list[str]:
    """What each layer of a private inference costs: a table, and what it is about."""
    if not report.costs:
        return []
    first, others = report.costs[0], report.costs[1:]
    head = ("layer", "form", "travels", "rounds", "online KB", "offline MB", *(f"{c.label} ms" for c in report.costs))
    rows = []
    for i, layer in enumerate(first.layers):
        times = [milliseconds(cost.layers[i].seconds) for cost in report.costs]
        rows.append((layer.name, layer.form, count(layer.travels), str(layer.rounds), kilobytes(layer.online),
                     megabytes(layer.offline), *times))  # fmt: skip
    totals = []
    for name, found in (("total", "total"), ("all kept", "original")):
        total = getattr(first, found)
        if total is not None:
            totals.append((name, "", "", str(total.rounds), kilobytes(total.online), megabytes(total.offline),
                           *(milliseconds(getattr(cost, found).seconds) for cost in report.costs)))  # fmt: skip
    return [f"private inference of one sample, by its plan; {about(first)}"
            + "".join(f"; {about(c)}" for c in others if c.comparison != first.comparison),
            columns(head, rows, totals), *_by_maker(report.costs)]  # fmt: skip


def _by_maker(costs: Sequence[NetworkCost]) -> list[str]:
    """What a dealer saves, where the plan runs without one."""
    if any(cost.other is None for cost in costs):
        return []
    head = ("network", "correlations", "offline rounds", "offline MB", "offline ms", "online ms", "all ms")
    rows = [(cost.label, name, str(total.offline_rounds), megabytes(total.offline),
             milliseconds(total.offline_seconds), milliseconds(total.seconds), milliseconds(total.all_seconds))
            for cost in costs for name, total in cost.by_maker]  # fmt: skip
    planned = "with a dealer" if costs[0].dealer else "without a dealer"
    return ["\n".join([f"the same plan, made for runs {planned}, by who makes the correlations:", columns(head, rows)])]


def about(cost: NetworkCost) -> str:
    """What a column of costs is about."""
    net = cost.network
    compared = "no comparisons" if cost.comparison == "none" else f"comparison {cost.comparison}"
    without = "" if cost.dealer else ", without a dealer"
    return f"{cost.label}: {net.rtt_ms:g} ms round trip, {net.mbps:,g} Mbit/s, {compared}{without}"


def milliseconds(seconds: float) -> str:
    return number(1e3 * seconds)


def kilobytes(size: int) -> str:
    return number(size / 1e3) if size else "0"


def megabytes(size: int) -> str:
    return number(size / 1e6) if size else "0"


def headline(report) -> str:
    """One sentence: what the model had and what it has now."""
    if not report.sites:
        return f"{report.model}: no activations that could be replaced"
    if report.after is None:
        return f"{report.model}: ReLUs not counted yet, the shapes of its sites are unknown (give example_inputs)"
    if report.after == report.before:
        return f"{report.model}: {count(report.before)} ReLUs, all kept"
    if report.after == 0:
        return f"{report.model}: {count(report.before)} ReLUs, all replaced by {replacement(report)}"
    return f"{report.model}: {count(report.before)} ReLUs -> {count(report.after)}, {factor(report.factor)} times fewer"


def replacement(report) -> str:
    """What the replaced positions take."""
    if not report.lines:
        return "polynomials"
    return "lines" if report.after + report.lines == report.before else "polynomials and lines"


def prediction(report) -> str | None:
    """What the plan of a network with a limit predicts of a private inference.

    None where the report has costs: these are by the plan of the program, which has other examples, so other numbers.
    """
    if report.predicted is None or report.costs:
        return None
    p, net = report.predicted, report.predicted["network"]
    without = "" if p.get("dealer", True) else " without a dealer"  # of before there was a choice
    return (
        f"planned: {number(p['latency_ms'])} ms online, {p['rounds']} rounds, at {net['rtt_ms']:g} ms round trip and "
        f"{net['mbps']:,g} Mbit/s; {number(p['offline_mb'])} MB offline{without}"
    )


def notes(report) -> list[str]:
    """What a reader should know, the same trouble at later sites counted only."""
    said = [f"note: {text}" for text in [_no_faster(report)] if text]
    noted = [site for site in report.sites if site.note]
    if not noted:
        return said
    more = f" ({len(noted) - 1} later sites have notes too)" if len(noted) > 1 else ""
    return [*said, f"note: {noted[0].name}: {noted[0].note}{more}"]


def _no_faster(report) -> str | None:
    """Where squares take no less time online than all activations, by the costs of both."""
    if report.after is None or report.after + report.lines == report.before:
        return None
    times = {}
    for cost in report.costs:
        if cost.original is not None:
            now, all_kept = cost.total, cost.original
            times[cost.label] = Times(1e3 * now.seconds, 1e3 * all_kept.seconds, now.offline / 1e6,
                                      all_kept.offline / 1e6)  # fmt: skip
    return no_faster(report.after, report.before, times)


def legend(report) -> str:
    """What the columns of numbers mean, and where they come from."""
    sources = {site.source for site in report.sites} - {None}
    if "example_inputs" in sources:
        where = f"measured on {report.samples:,} samples of example_inputs"
    elif sources:
        where = f"as calibration saw it on {max(site.samples for site in report.sites):,} samples"
    else:
        return ("input: unknown, neither calibrated nor measured (give example_inputs). "
                "polynomial: median over the channels")  # fmt: skip
    lines = [
        f"input: mean±std, {where}. polynomial: median over the channels in use.",
        "rms: its error at the replaced positions; rel: divided by the rms of the activation there",
    ]
    if any(site.clip_rate is not None for site in report.sites):
        lines.append("relu6: in brackets, the part of its inputs that is above 6 (see autorep_fx.simplify_clips)")
    return "\n".join(lines)


def _row(site: SiteRecord) -> tuple[str, ...]:
    return (
        site.name, kind(site), shape(site.shape), count(site.total), count(site.kept), count(site.lines),
        percent(site.share), spread(site), span(site), polynomial(site), number(site.error),
        percent(site.relative_error),
    )  # fmt: skip


def kind(site: SiteRecord) -> str:
    return site.kind if site.clip_rate is None else f"{site.kind} ({percent(site.clip_rate)})"


def count(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def shape(value: tuple[int, ...] | None) -> str:
    return "?" if value is None else "×".join(map(str, value))


def percent(value: float | None) -> str:
    """0% and 100% only for nothing and everything; ten times and more as "12×"."""
    if value is None:
        return UNKNOWN
    if value in (0, 1):
        return f"{value:.0%}"
    if value >= 9.995:
        return f"{value:.0f}×" if value < 999.5 else ">999×"
    if 0 < value < 0.001:
        return "<0.1%"
    if 0.9995 <= value < 1:
        return "99.9%"
    return f"{100 * value:.1f}%" if value < 0.0995 or 0.995 <= value < 1 else f"{100 * value:.0f}%"


def factor(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def spread(site: SiteRecord) -> str:
    """Mean and standard deviation, the mean no finer than the deviation."""
    if site.mean is None or site.std is None or not np.isfinite([site.mean, site.std]).all():
        return UNKNOWN
    if not 0.0995 <= site.std < 999:
        return f"{number(site.mean)}±{number(site.std)}"
    digits = 0 if site.std >= 99.95 else 1 if site.std >= 9.995 else 2
    return f"{round(site.mean, digits) + 0.0:.{digits}f}±{site.std:.{digits}f}"


def span(site: SiteRecord) -> str:
    return UNKNOWN if site.low is None else f"{number(site.low)}..{number(site.high)}"


def polynomial(site: SiteRecord) -> str:
    """The median of each coefficient, lowest first; more than three terms are cut."""
    if site.coeffs is None:
        return UNKNOWN if site.note else "not fitted"
    median = np.median(site.coeffs[:, site.channels_in_use], axis=1)
    text = ""
    for k, c in enumerate(median[:3]):
        term = number(abs(c)) + ("", "x", "x²")[k]
        text += term if k == 0 and c >= 0 else ("-" if c < 0 else "+") + term
    return text + ("…" if len(median) > 3 else "")
