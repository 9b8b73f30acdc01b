"""The pipeline: which passes run, in which order."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from typing import Unpack

import torch
from torch import Tensor, fx, nn

from .errors import BudgetError, CalibrationError, TransformWarning
from .forms.choose import Chooser, Forms
from .forms.faster import has_squares, no_faster, planned_times
from .forms.prices import Budget, Predicted, examples
from .forms.search import settle
from .graph.batches import Batches
from .graph.calibrate import SiteWalk, evaluating
from .graph.canonicalize import Canonicalize
from .graph.devices import usable
from .graph.leftover import leftover
from .graph.names import KINDS
from .graph.several import Batch, input_names
from .graph.told import Loss
from .graph.trace import number_of_inputs, trace
from .hybrid.activation import HybridActivation, hybridize, relu_count, sites
from .hybrid.fitting import Fitting, choose_positions, fit_all, fit_replaced, give_lines
from .hybrid.reconstruct import reconstruct_layers
from .hybrid.scores import scores_of
from .progress import stopping
from .secure.link.network import network_of
from .settings import TransformSettings
from .settings.keywords import TransformKeywords
from .settings.options import takes

log = logging.getLogger(__name__)


@takes(TransformSettings)
def transform(
    model: nn.Module,
    *,
    example_inputs: Tensor | tuple[Tensor, ...] | None = None,
    calibration: Tensor | Iterable | None = None,
    settings: TransformSettings | None = None,
    **options: Unpack[TransformKeywords],
) -> fx.GraphModule:
    """Rewrite a pretrained model into one whose activations can be replaced by polynomials, position by position.

    Without ``calibration`` every activation becomes a :class:`HybridActivation` that keeps all its positions: the
    result computes bit for bit what the model computes, in train and eval mode. With it, each site gets the polynomial
    of least squared error under what arrives there (DaPa). With ``relu_budget`` as well, exactly that many elements per
    sample keep their activation, those with the largest expected effect on the loss; the polynomials are then fitted
    over the replaced positions only, site after site, to what arrives there behind the polynomials before it. A square
    travels as a ReLU does, so a count saves offline bytes; where it saves no time online, a warning of the log says so.

    With ``latency_ms``, ``offline_mb`` or ``total_ms`` in place of ``relu_budget`` a replaced position takes a square
    or a line, and what is kept, squared and lined is what costs the least loss within the limits, by the prices of the
    plan that :func:`autorep_fx.compile` makes for ``network``: a site of lines alone sends nothing
    (:mod:`~autorep_fx.forms.choose`). What that plan predicts of the result is logged, is in
    ``result.meta["predicted"]``, and is within the limits; where all of them may stay, the log says that.

    ``reconstruct=True`` is for whoever cannot train: polynomials, weights and biases are fitted, layer after layer, by
    least squares to what the model has there (:mod:`~autorep_fx.hybrid.reconstruct`), without labels. It takes some
    dozens of inputs like those to come; a search or :func:`autorep_fx.finetune` with training data does more.

    Args:
        model: a traceable module, in either mode; never changed. A result of ``transform`` may be given again.
        example_inputs: a batch (of a model of several inputs: a tuple of one for each), to learn the shapes of the
            sites from when there is no calibration. Where the path of
            the model depends on the shape of the input, the result holds for the shape of this batch (or of the
            calibration's) and refuses others.
        calibration: a tensor (N, ...), a pair (inputs, integer labels), or an iterable of batches (tensors, or tuples
            whose first entry is the input and whose second may be the labels, used in the score); walked four times.
            With ``loss`` a pair, or an iterable of pairs, of inputs and what targets the loss takes. A sample whose
            largest |x| is many times that of the others is left out, with a CalibrationWarning.
        settings: all options in one object.
        options: those of :class:`~autorep_fx.TransformSettings` as keywords; beside ``settings`` they count before it.

    Warns:
        TransformWarning: no activation was found, or some are no sites; names them.

    Returns:
        A GraphModule in the mode (train or eval) of ``model``.

    Raises:
        TraceError: the model cannot be traced.
        CalibrationError: calibration data that are empty, not finite, or do not fit the model.
        BudgetError: a budget out of range, two kinds of budgets, or one without calibration; a limit below what lines
            alone take, with what still sends and what would help.
        CompileError: with a limit: the native runtime cannot run the model.
        TypeError: an option that there is not; names the nearest.
        ValueError: an option of another kind or out of range; names it, the value and what is allowed.
    """
    s = TransformSettings.of(settings, options, transform)
    fitting, device = Fitting(s.degree, s.fit, s.growth), usable(s.device)
    loss = None if s.loss is None else Loss(s.loss, CalibrationError)
    budget = Budget.of(s.relu_budget, s.latency_ms, s.offline_mb, s.network, s.total_ms, s.dealer)
    if s.limits and calibration is None:
        raise BudgetError("a budget needs calibration: batches of typical inputs that the polynomials are fitted to")
    if s.reconstruct and not s.limits:
        raise BudgetError("reconstruct=True makes good what was replaced; say how many stay with relu_budget")

    example = None
    if example_inputs is not None:
        example = partial(_first, [example_inputs], "example_inputs", inputs=number_of_inputs(model))
    elif calibration is not None:
        example = partial(_first, calibration, "calibration", targets=loss is not None, inputs=number_of_inputs(model))
    with stopping("transform was stopped; nothing is kept of it, and the same call begins anew"):
        gm = hybridize(Canonicalize()(trace(model, example)), s.degree)
        if device is not None:
            gm.to(device)
        _warn(gm, model)
        if calibration is not None:
            several = len(input_names(gm))
            batches = Batches(calibration, leave_out=True, targets=loss is not None, inputs=several)
            fit_all(gm, batches, fitting, s.progress)
            refit = partial(reconstruct_layers if s.reconstruct else fit_replaced, fitting=fitting, progress=s.progress)
            if s.relu_budget is not None:
                choose_positions(gm, batches, int(s.relu_budget), s.granularity, s.progress, loss)
                refit(gm, batches)
                _say_where_no_faster(gm, batches, s)
            elif budget is not None:
                give_lines(gm, fitting)
                gm = _within(gm, batches, budget, refit, s, loss)
        elif example_inputs is not None:
            learn_shapes(gm, example_inputs)
    return gm


def _within(
    gm: fx.GraphModule, batches: Batches, budget: Budget, refit: Callable, s: TransformSettings, loss: Loss | None
) -> fx.GraphModule:
    """A copy of a fitted model with the forms of least loss within the limits, fitted again."""
    x = examples(batches)
    square, line = scores_of(gm, batches, ("coeffs", "line_coeffs"), s.progress, loss=loss)
    drafts = budget.drafts(gm, x)
    prices = budget.prices(drafts, s.progress)

    def sketched(forms: Forms) -> Predicted:
        return budget.drafted(drafts.of(forms.keep, forms.line))

    def planned(forms: Forms) -> tuple[Predicted, fx.GraphModule]:
        found = forms.of(gm)
        refit(found, batches)
        return budget.predicted(found, x, s.progress), found

    choose = Chooser(line, square, prices, s.granularity)
    predicted, found = settle(budget, choose, sketched, planned, s.progress)
    if all(site.kept == site.total for site in sites(found).values()):
        limits = " with ".join(f"{name}={limit:g}" for name, limit in zip(budget.resources, budget.limits))
        log.info("%s is met with everything kept: %s", limits, predicted)
    else:
        log.info("%s", predicted)
    predicted.note(found, budget, s.granularity)
    return found


def _say_where_no_faster(gm: fx.GraphModule, batches: Batches, s: TransformSettings) -> None:
    """Whoever counts ReLUs to save time learns where that does not."""
    if not has_squares(gm):
        return
    try:
        times = planned_times(gm, next(iter(batches))[0], network_of(s.network), s.dealer)
    except Exception as error:  # noqa: BLE001  (two parties may never run it; compile says what is in the way)
        log.debug("what it takes online is unknown: %s", error)
        return
    text = no_faster(relu_count(gm), sum(site.total for site in sites(gm).values()), times)
    if text is not None:
        log.warning("%s", text)


def _warn(gm: fx.GraphModule, model: nn.Module) -> None:
    """Say what is no site."""
    left = leftover(gm)
    if left:
        warnings.warn(
            f"{len(left)} activations are no sites and stay as they are, whatever the budget: "
            f"{', '.join(left[:5])}{', ...' if len(left) > 5 else ''}. Use one of a known kind "
            f"({', '.join(KINDS)}), or an expression of one, on a path that both modes take",
            TransformWarning,
            3,
        )
    if not sites(gm):
        warnings.warn(
            f"no activation was found in {type(model).__name__}: there is nothing to replace. A layer of torch.nn is "
            "kept whole; write activations as modules or functions of torch",
            TransformWarning,
            3,
        )


def _first(data: Tensor | Iterable, name: str, targets: bool = False, inputs: int = 1) -> Batch:
    return next(iter(Batches(data, name, targets=targets, inputs=inputs)))[0]


def learn_shapes(gm: fx.GraphModule, example_inputs: Tensor | tuple[Tensor, ...]) -> None:
    """Give every site its shape by running one batch."""
    for x, _ in Batches([example_inputs], "example_inputs", inputs=len(input_names(gm))):
        with evaluating(gm), torch.no_grad():
            SiteWalk(gm, HybridActivation).walk(x, "example_inputs")
