"""The report: one snapshot of a model, in several forms."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import fx, nn

from ..forms.prices import examples
from ..graph.batches import Batches
from ..graph.several import input_names
from ..graph.trace import class_name
from ..hybrid.activation import HybridActivation, masks_digest
from ..secure.compile import compile
from ..secure.link.network import Network
from ..secure.secure_program import SecureProgram
from ..transform import transform
from . import table, words
from .budgets import BudgetPlan
from .cost import NetworkCost, costs
from .measure import SiteRecord, measure
from .network import plain, to_networkx

if TYPE_CHECKING:
    import networkx as nx


def inspect(
    gm: nn.Module,
    example_inputs=None,
    *,
    program: SecureProgram | None = None,
    network: Network | str | None = None,
    dealer: bool = True,
) -> Report:
    """Look at a model at any stage: not transformed, transformed, fitted, masked, compiled.

    Args:
        gm: what :func:`autorep_fx.transform` returned, or any traceable module, which is then transformed without
            calibration. Never changed.
        example_inputs: a batch, or an iterable of batches, to run (in eval mode) for the distributions at the sites and
            the shapes of all nodes. Without it the report shows what calibration saw and the shapes of the sites.
        program: what :func:`autorep_fx.compile` made of ``gm``: the report then says what each layer of a private
            inference costs, and with ``example_inputs`` what the network would with every activation kept.
        network: a :class:`~autorep_fx.Network` or a name, "loopback", "lan" or "wan", for which costs are shown first
            (the others follow). Without ``program``, ``gm`` is compiled for it on ``example_inputs``.
        dealer: whether it is compiled for runs with a dealer then, or without one. The total is shown both ways.

    Returns:
        A :class:`Report`; ``print`` it, or write it with ``to_html`` or ``plot``.

    Raises:
        TraceError: ``gm`` is not a module, or cannot be traced.
        CalibrationError: ``example_inputs`` that are empty, not finite, or do not fit the model.
        CompileError: the native runtime cannot run the model, or has no plan of the program; says why.
        ValueError: a program of another model or of other masks; a network of no name, or one without a program and
            without ``example_inputs``.
    """
    if program is None and network is not None and example_inputs is None:
        raise ValueError("network needs a program, or example_inputs to compile one")
    gm = getattr(gm, "_orig_mod", gm)  # what torch.compile wraps
    hybrid = isinstance(gm, fx.GraphModule) and any(isinstance(m, HybridActivation) for m in gm.modules())
    graph = gm if isinstance(gm, fx.GraphModule) and hybrid else transform(gm)
    if program is None and network is None:
        return Report(graph, example_inputs)
    x = (
        None
        if example_inputs is None
        else examples(Batches(example_inputs, "example_inputs", inputs=len(input_names(graph))))
    )
    network = network or "lan"
    if program is None and x is not None:
        program = compile(graph, x, network=network, dealer=dealer)
    return Report(graph, example_inputs, () if program is None else costs(graph, program, network, x))


class Report:
    """A snapshot: later changes of the model do not show in it.

    Attributes:
        model: the name of the model's class.
        sites: a :class:`~autorep_fx.inspect.measure.SiteRecord` for each site, in run order.
        before, after: ReLU elements per sample of the model, and kept; None while the shape of a site is unknown.
        lines: of the others, those that take a line.
        predicted: what the plan of a network that was made within limits predicts
            (:class:`~autorep_fx.forms.prices.Predicted`, as a table), for the examples that it was made with; None for
            others, and after its masks changed. Where there are ``costs`` these are what is shown.
        parameters: number of parameters, the polynomials' left out.
        samples: samples of ``example_inputs`` that were run.
        masks: a digest of the masks: models with the same ones have the same.
        costs: of a private inference, a :class:`~autorep_fx.inspect.cost.NetworkCost` for each network; empty for a
            model that was not compiled.
    """

    def __init__(self, gm: fx.GraphModule, example_inputs=None, costs: Sequence[NetworkCost] = ()):
        self.model = class_name(gm)
        self.sites: list[SiteRecord]
        self.sites, shapes, self.samples = measure(gm, example_inputs)
        self._graph = to_networkx(gm, self.sites, shapes)
        self.costs = list(costs)
        self.masks = masks_digest(gm)
        everything = [m for m in gm.modules() if isinstance(m, HybridActivation)]
        polynomials = {id(c) for m in everything for c in (m.coeffs, m.line_coeffs)}
        self.parameters = sum(p.numel() for p in gm.parameters() if id(p) not in polynomials)
        known = all(site.total is not None for site in self.sites)
        self.before = sum(site.total or 0 for site in self.sites) if known else None
        self.after = sum(site.kept or 0 for site in self.sites) if known else None
        self.lines = sum(site.lines for site in self.sites)
        predicted = gm.meta.get("predicted")
        self.predicted = predicted if predicted and predicted["masks"] == self.masks else None

    @property
    def share(self) -> float | None:
        """Share of the ReLUs that is kept, 0 to 1."""
        return self.after / self.before if self.before and self.after is not None else None

    @property
    def factor(self) -> float | None:
        """How many times fewer ReLUs; None where none is left, or the number is unknown."""
        return self.before / self.after if self.after and self.before is not None else None

    @property
    def words(self) -> list[str]:
        """What a private inference takes on the first network, beside the original, and where it goes, in sentences."""
        return [words.difference(self.costs[0]), words.dearest(self.costs[0])] if self.costs else []

    def __str__(self) -> str:
        return table.render(self)

    def __repr__(self) -> str:
        return f"<Report of {table.headline(self)}>"

    def to_dict(self) -> dict:
        """Everything but the pictures, in types that JSON knows. What is unknown is None."""
        return {
            "model": self.model,
            "parameters": self.parameters,
            "relus": {
                "before": self.before,
                "after": self.after,
                "share": self.share,
                "factor": self.factor,
                "lines": self.lines,
            },
            "predicted": self.predicted,
            "samples": self.samples,
            "costs": [asdict(cost) for cost in self.costs],
            "sites": [_site_dict(site) for site in self.sites],
            "nodes": [
                {"name": name, **{k: list(v) if isinstance(v, tuple) else v for k, v in attributes.items()}}
                for name, attributes in self._graph.nodes.items()
            ],
            "edges": [list(edge) for edge in self._graph.edges],
        }

    def to_networkx(self) -> nx.DiGraph:
        """The graph, one node for each fx node, by its name and in run order, and an edge where a tensor goes.

        Attributes of nodes are ``op``, ``target`` and ``label`` (text), ``shape`` of one sample ("16x28x28", absent
        where it is unknown) and ``parameters``; a site has ``site``, ``kind``, ``kept``, ``lines`` and ``total`` as
        well. An edge has the ``shape`` of what goes along it. All are text or numbers, so that GraphML, JSON and DOT
        hold them.
        """
        return plain(self._graph)

    def to_html(
        self,
        path: str | os.PathLike,
        *,
        title: str | None = None,
        sections: Sequence[tuple[str, str | Sequence[Sequence[str]]]] = (),
        plan: BudgetPlan | None = None,
    ) -> Path:
        """Write one HTML file that needs nothing else: no network, no scripts but a small one of its own with ``plan``.

        Args:
            path: the file; replaced if it is there.
            title: heading; by default the name of the model's class.
            sections: (heading, content) to show first. Content is a table, as rows of cells with the headings in the
                first row (escaped), or a string of HTML, which is put in as it is.
            plan: what :func:`autorep_fx.plan_budgets` found, to choose from with a slider.

        Raises:
            TypeError: ``sections`` of another form.
        """
        from . import html  # matplotlib and jinja2 are slow to import, and a table needs neither

        text = html.render(self, title, sections, plan)
        path = Path(path)
        path.write_text(text, encoding="utf-8")
        return path

    def plot(self, path: str | os.PathLike, *, title: str | None = None, site: str | None = None) -> Path:
        """Write one PNG picture: share kept of every layer, a fit over its distribution, and a mask.

        Args:
            path: the file; replaced if it is there.
            title: heading; by default the name of the model's class and its ReLUs before and after.
            site: name of the site whose fit and mask are shown; by default one that has both.

        Raises:
            ValueError: no site of that name.
        """
        from . import overview

        path = Path(path)
        path.write_bytes(overview.png(self, title, site))
        return path


def _site_dict(site: SiteRecord) -> dict:
    coeffs = None
    if site.coeffs is not None:
        used = site.coeffs[:, site.channels_in_use]
        coeffs = [
            {"power": k, "min": _float(c.min()), "median": _float(np.median(c)), "max": _float(c.max())}
            for k, c in enumerate(used)
        ]
    return {
        "name": site.name,
        "kind": site.kind,
        "shape": None if site.shape is None else list(site.shape),
        "elements": site.total,
        "kept": site.kept,
        "lines": site.lines,
        "share": site.share,
        "input": {
            "source": site.source,
            "mean": _float(site.mean),
            "std": _float(site.std),
            "low": _float(site.low),
            "high": _float(site.high),
            "above 6": _float(site.clip_rate),
        },
        "degree": None if site.coeffs is None else len(site.coeffs) - 1,
        "coeffs": coeffs,
        "error": {"rms": _float(site.error), "relative": _float(site.relative_error)},
        "note": site.note,
    }


def _float(value) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
