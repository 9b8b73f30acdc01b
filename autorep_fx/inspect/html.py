"""The report as one HTML file."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from copy import copy
from dataclasses import replace

import jinja2
import numpy as np
from markupsafe import Markup

from ..text import elide
from . import draw, svg, table
from .budgets import BudgetPlan, Price
from .cost import NetworkCost, Total
from .measure import SiteRecord

_STRIP_HEIGHT = 40


def render(report, title: str | None = None, sections: Sequence = (), plan: BudgetPlan | None = None) -> str:
    """The text of the file. Everything that comes from the model is escaped; the only script that may run is ours.

    Raises:
        TypeError: ``sections`` of another form than ``Report.to_html`` says.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("autorep_fx.inspect"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "about": table.about,
        "count": table.count,
        "elide": elide,
        "factor": table.factor,
        "kilobytes": table.kilobytes,
        "megabytes": table.megabytes,
        "milliseconds": table.milliseconds,
        "number": table.number,
        "percent": table.percent,
        "shape": table.shape,
    }
    anchors = {site.name: f"site-{i}" for i, site in enumerate(report.sites)}
    report = copy(report)
    report.costs, plan = _agreeing(report, plan)
    script = "" if plan is None else environment.get_template("planner.js").render()
    return environment.get_template("report.html").render(
        report=report,
        title=title or report.model,
        sections=_sections(sections),
        graph=svg.draw(report._graph, anchors, report.costs[0].layers if report.costs else ()),
        costs=report.costs,
        anchors=anchors,
        plan=plan,
        points=plan and _json(plan.to_dict()),
        reached=plan and plan.reached and Markup(draw.reached_svg(plan, report.masks)),
        script=Markup(script),
        script_hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        cards=[_card(site, anchors[site.name]) for site in report.sites],
        largest=max((site.total or 0 for site in report.sites), default=0),
        all_relu=all(site.kind == "relu" for site in report.sites),
        legend=table.legend(report),
        prediction=table.prediction(report),
        replacement=table.replacement(report),
        notes=table.notes(report),
    )


def _agreeing(report, plan: BudgetPlan | None) -> tuple[list[NetworkCost], BudgetPlan | None]:
    """The costs of a report and a plan, with one number for one thing: drafts are near a plan, and not the same.

    What the plan has with the masks of the report is the report's network. What the report has with every activation
    kept is the plan's, which is of the model that was there before any training.
    """
    if plan is None:
        return report.costs, None
    mine = {cost.label: _price(cost.total) for cost in report.costs}
    which = "prices" if all(cost.dealer for cost in report.costs) else "alone"  # what the report's plan is made for

    def priced(found):
        same = mine if found.masks == report.masks else {}
        own = getattr(found, which, {})
        return replace(found, **{which: {label: same.get(label, price) for label, price in own.items()}} if own else {})

    plan = replace(plan, points=[priced(p) for p in plan.points], reached=[priced(found) for found in plan.reached])
    kept: dict[str, Price] = next((getattr(point, which) for point in plan.points if point.relus == plan.total), {})
    return [replace(cost, original=cost.original and _priced(cost.original, kept.get(cost.label)))
            for cost in report.costs], plan  # fmt: skip


def _price(total: Total) -> Price:
    return Price(**vars(total))


def _priced(total: Total, price: Price | None) -> Total:
    return total if price is None else Total(**vars(price))


def _json(content: dict) -> Markup:
    """JSON for a script element, which nothing in it can end."""
    return Markup(json.dumps(content).replace("<", "\\u003c"))


def _sections(sections: Sequence) -> list[dict]:
    if isinstance(sections, (str, bytes)) or not isinstance(sections, Sequence):
        raise TypeError(f"sections must be a list of (title, content), got {type(sections).__name__}")
    result = []
    for i, section in enumerate(sections):
        if not (isinstance(section, (tuple, list)) and len(section) == 2 and isinstance(section[0], str)):
            raise TypeError(f"sections[{i}] must be (title, content), got {section!r}")
        title, content = section
        if isinstance(content, str):
            result.append({"title": title, "html": Markup(content), "rows": None})
        elif isinstance(content, (list, tuple)) and all(isinstance(row, (list, tuple)) for row in content):
            result.append({"title": title, "html": None, "rows": [[str(cell) for cell in row] for row in content]})
        else:
            raise TypeError(f"the content of sections[{i}] must be HTML in a string or rows of cells, got {content!r}")
    return result


def _card(site: SiteRecord, anchor: str) -> dict:
    """Everything that the template shows of one site."""
    return {
        "site": site,
        "anchor": anchor,
        "mask": _mask(site),
        "strip": _strip(site),
        "fit": _picture(draw.fit_svg, site),
        "coeffs": _coefficients(site),
        "spread": table.spread(site),
        "span": table.span(site),
    }


def _picture(make, site: SiteRecord) -> dict:
    try:
        return {"svg": Markup(make(site)), "missing": None}
    except draw.Missing as reason:
        return {"svg": None, "missing": str(reason)}


def _mask(site: SiteRecord) -> dict:
    share = site.spatial_share()
    if share is None:
        reason = "its shape is not known yet" if site.shape is None else "one value a channel, no positions"
        return {"missing": reason}
    height, width = share.shape
    scale = min(168 / width, 168 / height)
    return {
        "missing": None,
        "data": base64.b64encode(draw.mask_png(share)).decode(),
        "width": max(6, round(width * scale)),
        "height": max(6, round(height * scale)),
        "low": float(share.min()),
        "high": float(share.max()),
        "uniform": bool(share.max() == share.min()),
    }


def _strip(site: SiteRecord) -> dict | None:
    """Share of every channel as one path of steps, in a box of C x 40."""
    share = site.channel_share()
    if share is None:
        return None
    top = share.max() or 1.0
    steps = "".join(f"V{_STRIP_HEIGHT * (1 - s / top):.1f}H{i + 1}" for i, s in enumerate(share))
    return {
        "path": f"M0 {_STRIP_HEIGHT}{steps}V{_STRIP_HEIGHT}Z",
        "channels": len(share),
        "height": _STRIP_HEIGHT,
        "top": float(top),
        "none": int((share == 0).sum()),
        "full": int((share == 1).sum()),
    }


def _coefficients(site: SiteRecord) -> list[dict] | None:
    names, curves = ["1", "x", "x²", "x³", "x⁴"], site.curves if site.replaced else []
    return [
        {"name": names[k] + (f", {curve.kind}" if len(curves) > 1 else ""),
         "values": [float(v) for v in np.quantile(row, (0, 0.1, 0.5, 0.9, 1))]}
        for curve in curves for k, row in enumerate(curve.coeffs[:, curve.channels])
    ] or None  # fmt: skip
