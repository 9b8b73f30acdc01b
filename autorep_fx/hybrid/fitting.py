"""A transformed model gets its polynomials, and its budget: calibrate, fit, and fit again behind what was replaced."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, fx

from ..errors import CalibrationError
from ..graph.batches import Batches
from ..graph.calibrate import calibrate, calibrate_in_order
from ..graph.several import input_names
from ..graph.statistics import SiteStatistics
from ..graph.told import Loss
from ..settings import TransformSettings
from . import dapa
from .activation import HybridActivation, known, sites
from .positions import check_budget, choose
from .scores import scores


@dataclass(frozen=True)
class Fitting:
    """How polynomials are fitted; :class:`~autorep_fx.TransformSettings` says what these are."""

    degree: int = TransformSettings.degree
    fit: str = TransformSettings.fit
    growth: float | None = TransformSettings.growth

    def __post_init__(self):
        dapa.check_degree(self.degree)
        dapa.check_method(self.fit)


def fit_all(gm: fx.GraphModule, batches: Batches, fitting: Fitting, progress: bool | None = None) -> None:
    """Calibrate with every activation in place, and fit each site over all its positions.

    Raises:
        CalibrationError: the data do not fit the model, or arrive at a site in another shape than it has.
    """
    everything = sites(gm)
    for site in everything.values():
        if site.keep is not None:
            site.set_keep(torch.ones_like(site.keep))
    for name, statistics in calibrate(gm, batches, HybridActivation, fitting.degree, progress=progress).items():
        site = everything[name]
        if site.shape != statistics.shape:
            raise CalibrationError(
                f"site '{name}' has shape {site.shape}, the calibration data arrive there as {statistics.shape}"
            )
        fit_site(site, statistics, fitting)


def give_lines(gm: fx.GraphModule, fitting: Fitting) -> None:
    """Give calibrated sites lines beside their polynomials, fitted over all positions; none takes one yet."""
    for site in sites(gm).values():
        site.set_line(torch.zeros_like(known(site.keep)))
        fit_lines(site, known(site.statistics), fitting, None)


def choose_positions(
    gm: fx.GraphModule,
    batches: Batches,
    relu_budget: int,
    granularity: str = "element",
    progress: bool | None = None,
    loss: Loss | None = None,
) -> None:
    """Keep exactly ``relu_budget`` positions, those with the largest expected effect on the loss.

    Raises:
        BudgetError: budget out of range.
        ValueError: unknown granularity.
    """
    everything = sites(gm)
    total = sum(site.total for site in everything.values())
    check_budget(relu_budget, total)
    if 0 < relu_budget < total:
        effects = scores(gm, batches, progress, loss=loss)
    else:  # nothing to choose
        effects = {name: torch.zeros(known(site.shape)) for name, site in everything.items()}
    for name, keep in choose(effects, relu_budget, granularity).items():
        everything[name].set_keep(keep)


def refit(
    gm: fx.GraphModule,
    batches: Tensor | Iterable,
    only: Iterable[str] | None = None,
    *,
    growth: float | None = Fitting.growth,
    progress: bool | None = None,
) -> None:
    """Fit polynomials again, in place, to what arrives now; masks and weights stay.

    Each site is fitted over its replaced positions, in order, behind the polynomials before it. Polynomials that were
    trained with the weights are replaced by fits, too, and such a network is much worse then (docs/report.md): it wants
    :func:`autorep_fx.finetune`.

    Args:
        gm: result of :func:`autorep_fx.transform`.
        batches: inputs as they come now, as ``calibration`` there.
        only: names of sites, such as :attr:`autorep_fx.Drift.drifted`; None for all.
        growth: bound of the squares, see :func:`~autorep_fx.hybrid.dapa.fit`.
        progress: progress bars; None shows them on a terminal only.

    Raises:
        CalibrationError: batches that are empty, not finite, or do not fit the model.
        ValueError: a name that is no site.
    """
    everything = sites(gm)
    names = set(everything if only is None else only)
    if unknown := names - everything.keys():
        raise ValueError(f"'{min(unknown)}' is no site; sites are {', '.join(everything)}")
    fit_replaced(
        gm, Batches(batches, leave_out=True, inputs=len(input_names(gm))), Fitting(growth=growth), progress, names
    )


def fit_replaced(
    gm: fx.GraphModule,
    batches: Batches,
    fitting: Fitting,
    progress: bool | None = None,
    only: Container[str] | None = None,
) -> None:
    """Fit every site, or those of ``only``, over its replaced positions, in order: each to what arrives behind the
    polynomials before it.

    A site keeps the degree that it has.
    """

    def fit(name: str, site: HybridActivation, statistics: SiteStatistics) -> None:
        if only is None or name in only:
            fit_where_replaced(site, statistics, fitting)

    degree = max((site.degree for site in sites(gm).values()), default=fitting.degree)
    calibrate_in_order(gm, batches, HybridActivation, fit, degree, progress=progress)


def fit_where_replaced(site: HybridActivation, statistics: SiteStatistics, fitting: Fitting) -> None:
    """Fit a site over its replaced positions, at the degree that it has: polynomials over those that are no lines by
    its mask, and lines over those that are."""
    keep, line = known(site.keep), site.takes_line
    others = ~keep & ~line
    fit_site(site, statistics, replace(fitting, degree=site.degree), others)
    if site.line is not None:
        of_others = known(site.fit_error)
        error = fit_lines(site, statistics, fitting, line).to(of_others)
        whole = keep.reshape(len(line), -1).all(1)
        site.fit_error = torch.where(whole, of_others, dapa.pooled((error, line), (of_others, others)))


def fit_lines(site: HybridActivation, statistics: SiteStatistics, fitting: Fitting, where: Tensor | None) -> Tensor:
    """Give a site that may have lines those for what arrived there, over the positions of ``where`` (None: all); the
    mean squared error of each channel (C,)."""
    result = dapa.fit(site.activation.in_float64, statistics, 1, fitting.fit, where)
    site.set_line_coeffs(result.coeffs)
    return result.error


def fit_site(site: HybridActivation, statistics: SiteStatistics, fitting: Fitting, where: Tensor | None = None) -> None:
    """Give a site the polynomials for what arrived there, over the positions of ``where`` (None: all)."""
    result = dapa.fit(site.activation.in_float64, statistics, fitting.degree, fitting.fit, where, fitting.growth)
    site.set_coeffs(result.coeffs)
    device = known(site.keep).device
    site.statistics = statistics
    site.fit_error = result.error.float().to(device)
    site.input_range = torch.stack([statistics.low.min(), statistics.high.max()]).float().to(device)
