"""The pipeline: which passes run, in which order."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, fx, nn

from .errors import BudgetError, CalibrationError
from .graph.calibrate import Batches, SiteWalk, calibrate, calibrate_in_order, evaluating
from .graph.canonicalize import Canonicalize
from .graph.statistics import SiteStatistics
from .graph.trace import trace
from .hybrid import budget as one_shot
from .hybrid import dapa
from .hybrid.activation import HybridActivation, hybridize, sites


def transform(
    model: nn.Module,
    *,
    example_inputs: Tensor | None = None,
    calibration: Tensor | Iterable | None = None,
    relu_budget: int | None = None,
    degree: int = 2,
    granularity: str = "element",
    fit: str = "traced",
    growth: float | None = 0.5,
    progress: bool | None = None,
) -> fx.GraphModule:
    """Rewrite a pretrained model into one whose activations can be replaced by polynomials, position by position.

    Without ``calibration`` every activation becomes a :class:`HybridActivation` that keeps all its positions: the
    result computes bit for bit what the model computes, in train and eval mode. With it, each site gets the polynomial
    of least squared error under what arrives there (DaPa). With ``relu_budget`` as well, exactly that many elements per
    sample keep their activation, those with the largest expected effect on the loss; the polynomials are then fitted
    over the replaced positions only, site after site, to what arrives there behind the polynomials before it.

    Args:
        model: a traceable module, in either mode; never changed. A result of ``transform`` may be given again.
        example_inputs: a batch, to learn the shapes of the sites from when there is no calibration.
        calibration: a tensor (N, ...), a pair (inputs, integer labels), or an iterable of batches (tensors, or tuples
            whose first entry is the input and whose second may be the labels, used in the score); walked three times.
        relu_budget: elements per sample that keep their activation.
        degree: degree of the polynomials, 1 to 4.
        granularity: "element", "channel" or "layer": what is kept or replaced as one.
        fit: "traced" or "gaussian", the distribution to fit under.
        growth: bound of the squares at degree 2 and fit "traced", see :func:`~autorep_fx.hybrid.dapa.fit`; None for the
            plain least squares.
        progress: show progress bars; None shows them on a terminal only.

    Returns:
        A GraphModule in the mode (train or eval) of ``model``.

    Raises:
        TraceError: the model cannot be traced.
        CalibrationError: calibration data that are empty, not finite, or do not fit the model.
        BudgetError: a budget out of range, or without calibration.
        ValueError: an unknown degree, granularity or fit.
    """
    dapa.check_degree(degree)
    one_shot.check_granularity(granularity)
    if fit not in dapa.FITS:
        raise ValueError(f"fit must be one of {', '.join(dapa.FITS)}, got {fit!r}")
    if relu_budget is not None and calibration is None:
        raise BudgetError("relu_budget needs calibration: batches of typical inputs that the polynomials are fitted to")

    gm = hybridize(Canonicalize()(trace(model)), degree)
    if calibration is not None:
        batches = Batches(calibration)
        fit_all(gm, batches, degree, fit, growth, progress)
        if relu_budget is not None:
            apply_budget(gm, batches, relu_budget, degree, granularity, fit, growth, progress)
    elif example_inputs is not None:
        learn_shapes(gm, example_inputs)
    return gm


def learn_shapes(gm: fx.GraphModule, example_inputs: Tensor) -> None:
    """Give every site its shape by running one batch."""
    for x, _ in Batches([example_inputs], "example_inputs"):
        with evaluating(gm), torch.no_grad():
            SiteWalk(gm, HybridActivation).walk(x, "example_inputs")


def fit_all(
    gm: fx.GraphModule, batches: Batches, degree: int, fit: str, growth: float | None, progress: bool | None
) -> None:
    """Calibrate with every activation in place, and fit each site over all its positions."""
    for site in sites(gm).values():
        if site.keep is not None:
            site.set_keep(torch.ones_like(site.keep))
    for name, statistics in calibrate(gm, batches, HybridActivation, degree, progress=progress).items():
        site = gm.get_submodule(name)
        if site.shape != statistics.shape:
            raise CalibrationError(
                f"site '{name}' has shape {site.shape}, the calibration data arrive there as {statistics.shape}"
            )
        fit_site(site, statistics, degree, fit, growth)


def apply_budget(
    gm: fx.GraphModule,
    batches: Batches,
    relu_budget: int,
    degree: int,
    granularity: str,
    fit: str,
    growth: float | None,
    progress: bool | None,
) -> None:
    """Keep exactly ``relu_budget`` positions; fit the others' polynomials to what arrives there behind those before."""
    total = sum(site.total for site in sites(gm).values())
    one_shot.check_budget(relu_budget, total)
    if 0 < relu_budget < total:
        scores = one_shot.scores(gm, batches, progress)
    else:  # nothing to choose
        scores = {name: torch.zeros(site.shape) for name, site in sites(gm).items()}
    for name, keep in one_shot.choose(scores, relu_budget, granularity).items():
        gm.get_submodule(name).set_keep(keep)

    def refit(name: str, site: HybridActivation, statistics: SiteStatistics) -> None:
        fit_site(site, statistics, degree, fit, growth, ~site.keep)

    calibrate_in_order(gm, batches, HybridActivation, refit, degree, progress=progress)


def fit_site(
    site: HybridActivation,
    statistics: SiteStatistics,
    degree: int,
    fit: str,
    growth: float | None,
    where: Tensor | None = None,
) -> None:
    """Give a site the polynomials for what arrived there, over the positions of ``where`` (None: all)."""
    result = dapa.fit(site.activation.in_float64, statistics, degree, fit, where, growth)
    site.set_coeffs(result.coeffs)
    device = site.keep.device
    site.statistics = statistics
    site.fit_error = result.error.float().to(device)
    site.input_range = torch.stack([statistics.low.min(), statistics.high.max()]).float().to(device)
