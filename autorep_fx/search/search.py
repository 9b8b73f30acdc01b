"""The two entries: learn masks, or train with fixed ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Unpack

import torch
from torch import Tensor, fx, nn

from ..errors import BudgetError
from ..forms.choose import Chooser
from ..forms.prices import Budget, Predicted
from ..forms.search import Sketches, part_of_limits
from ..graph.batches import Batches
from ..graph.several import input_names
from ..hybrid.activation import known, sites
from ..hybrid.fitting import Fitting, fit_all, give_lines
from ..hybrid.positions import check_budget
from ..hybrid.scores import scores, scores_of
from ..progress import Steps
from ..settings import FinetuneSettings, SearchSettings
from ..settings.keywords import FinetuneKeywords, SearchKeywords
from ..settings.options import takes
from .forms import ThreeForms
from .history import History, OnEpoch
from .limited import Limited
from .loop import Loop
from .mending import Mending
from .methods import METHODS, Method
from .shared import shared

log = logging.getLogger(__name__)

_SNL_PENALTY = 1e-5
_FIT_BATCHES = 4


@takes(SearchSettings)
def search(
    gm: fx.GraphModule,
    train_loader: Iterable,
    val_loader: Iterable | None = None,
    *,
    teacher: nn.Module | None = None,
    on_epoch: OnEpoch | None = None,
    settings: SearchSettings | None = None,
    **options: Unpack[SearchKeywords],
) -> History:
    """Learn masks, coefficients and weights together, in place.

    ``gm`` ends at exactly ``relu_budget`` ReLUs a sample, or, with ``latency_ms``, ``offline_mb`` or ``total_ms`` in
    place of that, within these by the plan that :func:`autorep_fx.compile` makes for ``network``. Then a replaced
    position takes a square or a line (:class:`~autorep_fx.search.forms.ThreeForms`), and ``history.predicted`` and
    ``gm.meta["predicted"]`` have what the plan predicts.

    Runs on ``device``, or where ``gm`` is; in a process group (``torchrun``) the gradients are averaged and the masks
    are the same on all ranks, each of which has a device of its own. On a GPU it computes channels-last.

    Args:
        gm: result of :func:`autorep_fx.transform`; calibrated here, on the first batches, if it is not.
        train_loader: batches (inputs, integer labels), or with ``loss`` (inputs, what targets it takes), re-iterable,
            with a length. If it (or its ``sampler``) has ``set_epoch``, that is called, so that each epoch can be
            repeated exactly. In a process group it must give each rank its own part.
        val_loader: batches for the accuracy, or the metric, of each epoch.
        teacher: the unreplaced network, to distil from; runs in eval mode and is not changed (where it is on another
            device, a copy does it). Of a dict that it returns "logits" count, of another or a tuple the one tensor that
            has the shape of what ``gm`` returns. Where ``gm`` returns several, those of the same names, or all in their
            order.
        on_epoch: called after every epoch (on rank 0), behind its checkpoint, with a plain dict: ``epoch`` (from 1),
            ``epochs``, ``loss``, ``accuracy``, ``relus``, and ``val_accuracy`` where there is a ``val_loader``; with
            ``metric`` or ``loss`` also, or in place of the accuracies, ``metric`` and ``val_metric``.
            ``on_epoch=wandb.log`` is all that Weights & Biases needs.
        settings: all options in one object.
        options: those of :class:`~autorep_fx.SearchSettings` as keywords; beside ``settings`` they count before it.

    Raises:
        BudgetError: budget out of range, none, or two kinds of them.
        CompileError: with a limit: the native runtime cannot run the model.
        TypeError: an option that there is not; names the nearest.
        ValueError: an option of another kind or out of range: names it, the value and what is allowed; a loader that
            cannot be walked again, or gives anything but (inputs, labels), or targets that the loss does not take; a
            loss or metric that returns no number: names it, the batch and the way out.
        SearchError: the loss is no longer finite; names the epoch, the step and the sites whose inputs left the range
            that they were fitted to. The last checkpoint stays.
        FormatError: a checkpoint to resume from that cannot be read, or is of a run with other options; names them.
            ``gm`` is unchanged then.

    A run that ends by an exception or an interruption leaves ``gm`` with the masks and weights as they were then, in
    eval mode.
    """
    s = SearchSettings.of(settings, options, search)
    everything, cost = sites(gm), s.cost or {}
    if not everything:
        raise BudgetError("the model has no activation that could be replaced")
    if unknown := cost.keys() - everything.keys():
        raise ValueError(f"cost names '{min(unknown)}', which is not a site")
    left = Budget.of(s.relu_budget, s.latency_ms, s.offline_mb, s.network, s.total_ms, s.dealer) or s.relu_budget
    if left is None:
        raise BudgetError("say what may be left: relu_budget, latency_ms, offline_mb or total_ms")
    loop = Loop(gm, train_loader, val_loader, teacher, s, on_epoch)

    torch.manual_seed(s.seed)
    head = _head(gm, loop)
    if any(site.statistics is None for site in everything.values()):
        degree = max(site.degree for site in everything.values())
        fit_all(gm, head, Fitting(degree, growth=s.growth), s.progress)
    if not isinstance(left, Budget):
        total = sum(site.total * cost.get(name, 1.0) for name, site in everything.items())
        check_budget(int(left), int(total))
    for site in everything.values():
        site.set_keep(torch.ones_like(known(site.keep)))
    if isinstance(left, Budget):
        return _within(gm, loop, head, left, s)
    penalty = s.penalty
    if s.method == "snl":
        start = {name: torch.ones(known(site.keep).shape) for name, site in everything.items()}
        penalty = _SNL_PENALTY if penalty is None else penalty
    else:
        start = _start(gm, s, lambda: scores(gm, head, s.progress, loss=loop.task.loss))
    return loop(METHODS[s.method](gm, int(left), s.granularity, penalty, start, s.cost), head)


def _within(gm: fx.GraphModule, loop: Loop, head: Batches, budget: Budget, s: SearchSettings) -> History:
    """A search under limits."""
    give_lines(gm, Fitting(growth=s.growth))
    mending = Mending(gm, budget, head, Fitting(growth=s.growth), s.granularity, loop.task.loss, s.progress)

    def priced() -> tuple:
        square, line = scores_of(gm, head, ("coeffs", "line_coeffs"), s.progress, loss=loop.task.loss)
        drafts = budget.drafts(gm, mending.x)
        prices = budget.prices(drafts, s.progress)
        choose = Chooser(line, square, prices, s.granularity)
        with Steps(log, "first choice of forms", s.progress, "sketch") as steps:
            sketch = Sketches(budget, lambda forms: budget.drafted(drafts.of(forms.keep, forms.line)), steps.done)
            return square, line, prices, part_of_limits(budget, choose, sketch)

    square, line, prices, part = shared(priced)
    mending.prices = prices
    start = _start(gm, s, lambda: line)
    moving = ThreeForms(gm, mending, s.granularity, s.penalty, start, square, line, prices, part, s.progress)
    return _noted(loop(moving, head), moving.predicted, mending)


def _noted(history: History, predicted: Predicted | None, mending: Mending) -> History:
    """``history`` with what the plan of the result predicts, which ``gm`` gets, too."""
    if predicted is not None:
        log.info("%s", predicted)
        history.predicted = predicted.note(mending.gm, mending.budget, mending.granularity)
    return history


def _head(gm: fx.GraphModule, loop: Loop) -> Batches:
    """The first batches, that polynomials are fitted to and plans are made from."""
    return Batches(list(islice(loop.train_loader, _FIT_BATCHES)), "train_loader", True, not loop.task.classifies,
                   inputs=len(input_names(gm)))  # fmt: skip


@takes(FinetuneSettings)
def finetune(
    gm: fx.GraphModule,
    train_loader: Iterable,
    val_loader: Iterable | None = None,
    *,
    teacher: nn.Module | None = None,
    on_epoch: OnEpoch | None = None,
    settings: FinetuneSettings | None = None,
    **options: Unpack[FinetuneKeywords],
) -> History:
    """Train weights and coefficients in place with the masks as they are.

    Training moves the plan of a private inference. So a model that was made within limits (``latency_ms``,
    ``offline_mb``, ``total_ms``) is planned again, half-way through the run and at its end: where the plan is beyond
    them, few forms change that bring it back, and a short training behind the last epoch learns what changed there
    (:class:`~autorep_fx.search.limited.Limited`). ``history.predicted`` and ``gm.meta["predicted"]``
    have what the plan of the result predicts; where nothing brings it back, a warning of the log says so.

    Args:
        gm: result of :func:`autorep_fx.transform`.
        train_loader, val_loader, teacher, on_epoch: as in :func:`search`.
        settings: all options in one object.
        options: those of :class:`~autorep_fx.FinetuneSettings` as keywords; beside ``settings`` they count before it.

    Raises:
        TypeError, ValueError, SearchError, FormatError: as :func:`search`.
    """
    s = FinetuneSettings.of(settings, options, finetune)
    sites(gm)  # raises for what is no such result
    loop, budget = Loop(gm, train_loader, val_loader, teacher, s, on_epoch), Budget.noted(gm)
    if budget is None:
        return loop(Method(gm))
    torch.manual_seed(s.seed)
    granularity = gm.meta["predicted"]["granularity"]
    mending = Mending(gm, budget, _head(gm, loop), Fitting(growth=s.growth), granularity, loop.task.loss, s.progress)
    limited = Limited(mending)
    return _noted(loop(limited), limited.predicted, mending)


def _start(gm: fx.GraphModule, s: SearchSettings, scored: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Where gates start: spread evenly over (0, 1) in the order of the one-shot score for its cost, or at random."""
    everything = sites(gm)
    if s.initial == "uniform":
        generator = torch.Generator().manual_seed(s.seed)
        return {name: torch.rand(known(site.keep).shape, generator=generator) for name, site in everything.items()}
    found = {name: score / (s.cost or {}).get(name, 1.0) for name, score in scored().items()}
    flat = torch.cat([score.flatten() for score in found.values()])
    rank = torch.empty(len(flat))
    rank[flat.argsort(stable=True)] = (torch.arange(len(flat)) + 0.5) / len(flat)
    parts = rank.split([score.numel() for score in found.values()])
    return {name: part.view(score.shape) for (name, score), part in zip(found.items(), parts)}
