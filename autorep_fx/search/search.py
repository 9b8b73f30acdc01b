"""The two entries: learn masks, or train with fixed ones."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from itertools import islice

import torch
from torch import Tensor, fx, nn

from ..errors import BudgetError
from ..forms.choose import choose_forms
from ..forms.prices import Budget, examples
from ..forms.search import part_of_limits
from ..graph.calibrate import Batches
from ..hybrid import budget as one_shot
from ..hybrid.activation import sites
from ..hybrid.fitting import fit_all, give_lines
from ..secure.link.network import Network
from .forms import ThreeForms, shared
from .loop import History, Loop
from .methods import METHODS, Method
from .settings import Settings

log = logging.getLogger(__name__)

_SNL_PENALTY = 1e-5
_FIT_BATCHES = 4


def search(
    gm: fx.GraphModule,
    train_loader: Iterable,
    val_loader: Iterable | None = None,
    *,
    relu_budget: int | None = None,
    latency_ms: float | None = None,
    offline_mb: float | None = None,
    network: Network | str = Settings.network,
    teacher: nn.Module | None = None,
    method: str = Settings.method,
    epochs: int = 20,
    granularity: str = Settings.granularity,
    penalty: float | None = Settings.penalty,
    initial: str = Settings.initial,
    cost: Mapping[str, float] | None = Settings.cost,
    lr: float = Settings.lr,
    warmup: float = Settings.warmup,
    coeff_lr: float | None = Settings.coeff_lr,
    gate_lr: float | None = Settings.gate_lr,
    mask_phase: float = Settings.mask_phase,
    refit_phase: float = Settings.refit_phase,
    coeff_clip: float = Settings.coeff_clip,
    growth: float | None = Settings.growth,
    growth_weight: float = Settings.growth_weight,
    grad_clip: float | None = Settings.grad_clip,
    temperature: float = Settings.temperature,
    feature_weight: float = Settings.feature_weight,
    mixed: bool | None = Settings.mixed,
    compile: bool = Settings.compile,
    seed: int = Settings.seed,
    checkpoint_dir: str | os.PathLike | None = Settings.checkpoint_dir,
    resume: bool = Settings.resume,
    tensorboard: str | os.PathLike | None = Settings.tensorboard,
    progress: bool | None = Settings.progress,
) -> History:
    """Learn masks, coefficients and weights together, in place.

    ``gm`` ends at exactly ``relu_budget`` ReLUs a sample, or, with ``latency_ms`` or ``offline_mb`` in place of that,
    within these by the plan that :func:`autorep_fx.compile` makes for ``network``. Then a replaced position takes a
    square or a line (:class:`~autorep_fx.search.forms.ThreeForms`), and ``history.predicted`` and
    ``gm.meta["predicted"]`` have what the plan predicts.

    Runs on the device of ``gm``; in a process group (``torchrun``) the gradients are averaged and the masks are the
    same on all ranks. On a GPU it computes channels-last.

    Args:
        gm: result of :func:`autorep_fx.transform`; calibrated here, on the first batches, if it is not.
        train_loader: batches (inputs, integer labels), re-iterable, with a length. If it (or its ``sampler``) has
            ``set_epoch``, that is called, so that each epoch can be repeated exactly. In a process group it must give
            each rank its own part.
        val_loader: batches for the accuracy of each epoch.
        relu_budget: elements per sample that keep their activation at the end (units of ``cost`` where that is given).
        latency_ms, offline_mb, network: limits of a private inference of one sample, as in
            :func:`autorep_fx.transform`; with method "autorep".
        teacher: the unreplaced network, to distil from; runs in eval mode and is not changed.
        method: "autorep", or "snl": replaced positions become the identity.
        epochs: passes over ``train_loader`` in all.
        granularity: "element", "channel" or "layer".
        penalty: lambda of the budget term. For AutoReP None moves the level of the gates instead (see
            :class:`~autorep_fx.search.methods.AutoRep`), a number is the published form; for SNL it is per
            position, None is 1e-5 (published), and grows.
        initial: AutoReP's gates start at the rank of the one-shot score ("score") or uniform in (0, 1) ("uniform", as
            published). SNL's start open.
        cost: what one kept element of a site costs, by site name, default 1.
        lr, coeff_lr, gate_lr: Adam's learning rates; by default coefficients take a tenth of ``lr``, gates ``lr`` or
            what crosses their range twice in the mask phase, if that is more. All but the gates' rise linearly during
            ``warmup``, a fraction of all steps, and decay by a cosine. Short runs want higher ones for the coefficients
            (docs/results.md).
        mask_phase: fraction of the steps in which masks move; then they are settled at the budget and fixed.
        refit_phase: fraction of the epochs at whose start the polynomials are fitted again to what arrives now.
        coeff_clip: upper end of the leading coefficient's range [0, coeff_clip] at degree 2.
        growth, growth_weight: bound of the squares, as in :func:`autorep_fx.transform`, when they are fitted, and the
            weight of a term of the loss that holds them to it afterwards: ``max(0, |c2 x| / growth - 1)**2``, summed
            over the replaced positions. Without either, single inputs run away in training.
        grad_clip: largest norm of the gradient of weights and coefficients; None for no limit.
        temperature: of the distillation.
        feature_weight: of a term that holds every site's output to the teacher's, ``|f - t|^2 / |t|^2`` on average over
            the sites; the teacher must have the activations of ``gm``.
        mixed: compute in bfloat16 where that is safe; None does so on a GPU only. On a CPU without bfloat16
            instructions it is many times slower.
        compile: train through ``torch.compile``, channels-last: a third faster on a CPU, after a minute or so of
            compiling for each of the two phases; needs a C++ compiler. Rounding differs from the plain run.
        seed: decides everything random here.
        checkpoint_dir: folder for a checkpoint every epoch.
        resume: go on from the checkpoint there, if there is one, to the same result as without the interruption; needs
            the same arguments.
        tensorboard: folder for scalars.
        progress: progress bars; None shows them on a terminal only.

    Raises:
        BudgetError: budget out of range, none, or two kinds of them.
        CompileError: with a limit: the native runtime cannot run the model.
        ValueError: an unknown method, granularity or start, or a setting out of range; a loader that cannot be walked
            again, or gives anything but (inputs, labels): names it, the batch and the way out.
        SearchError: the loss is no longer finite; names the epoch, the step and the sites whose inputs left the range
            that they were fitted to. The last checkpoint stays.
        FormatError: a checkpoint to resume from that cannot be read, or is of a run with other arguments; names them.
            ``gm`` is unchanged then.

    A run that ends by an exception or an interruption leaves ``gm`` with the masks and weights as they were then, in
    eval mode.
    """
    settings = Settings.of(locals())
    everything = sites(gm)
    if not everything:
        raise BudgetError("the model has no activation that could be replaced")
    if any(name not in everything for name in cost or {}):
        raise ValueError(f"cost names '{next(n for n in cost if n not in everything)}', which is not a site")
    budget = Budget.of(relu_budget, latency_ms, offline_mb, network)
    if relu_budget is None and budget is None:
        raise BudgetError("say what may be left: relu_budget, latency_ms or offline_mb")
    if budget is not None and (method != "autorep" or cost):
        raise BudgetError("latency_ms and offline_mb are limits for method='autorep', and the plan says what costs")
    loop = Loop(gm, train_loader, val_loader, teacher, settings)

    torch.manual_seed(seed)
    head = Batches(list(islice(loop.train_loader, _FIT_BATCHES)), "train_loader", leave_out=True)
    if any(site.statistics is None for site in everything.values()):
        degree = max(site.degree for site in everything.values())
        fit_all(gm, head, replace(settings.fitting, degree=degree), progress)
    if budget is None:
        one_shot.check_budget(relu_budget, int(sum(s.total * (cost or {}).get(n, 1.0) for n, s in everything.items())))
    for site in everything.values():
        site.set_keep(torch.ones_like(site.keep))
    if budget is not None:
        return _within(gm, loop, head, budget, settings)
    if method == "snl":
        start = {name: torch.ones(site.shape) for name, site in everything.items()}
        penalty = _SNL_PENALTY if penalty is None else penalty
    else:
        start = _start(gm, settings, lambda: one_shot.scores(gm, head, progress))
    moving = METHODS[method](gm, relu_budget, granularity, penalty, start, cost)
    return loop(moving, head)


def _within(gm: fx.GraphModule, loop: Loop, head: Batches, budget: Budget, settings: Settings) -> History:
    """A search under limits."""
    give_lines(gm, settings.fitting)
    x = examples(head)

    def priced() -> tuple:
        square, line = one_shot.scores_of(gm, head, ("coeffs", "line_coeffs"), settings.progress)
        prices = budget.prices(gm, x)
        choose = partial(choose_forms, line, square, prices, granularity=settings.granularity)
        return square, line, prices, part_of_limits(budget, choose, lambda forms: budget.sketched(forms.of(gm), x))

    square, line, prices, part = shared(priced)
    start = _start(gm, settings, lambda: line)
    moving = ThreeForms(gm, budget, settings.granularity, settings.penalty, start, square, line, prices, part, x,
                        settings.progress)  # fmt: skip
    history = loop(moving, head)
    log.info("%s", moving.predicted)
    history.predicted = moving.predicted.note(gm)
    return history


def finetune(
    gm: fx.GraphModule,
    train_loader: Iterable,
    val_loader: Iterable | None = None,
    *,
    teacher: nn.Module | None = None,
    epochs: int = 5,
    lr: float = Settings.lr,
    warmup: float = Settings.warmup,
    ease_in: float = Settings.ease_in,
    coeff_lr: float | None = Settings.coeff_lr,
    coeff_clip: float = Settings.coeff_clip,
    growth: float | None = Settings.growth,
    growth_weight: float = Settings.growth_weight,
    grad_clip: float | None = Settings.grad_clip,
    temperature: float = Settings.temperature,
    feature_weight: float = Settings.feature_weight,
    mixed: bool | None = Settings.mixed,
    compile: bool = Settings.compile,
    seed: int = Settings.seed,
    checkpoint_dir: str | os.PathLike | None = Settings.checkpoint_dir,
    resume: bool = Settings.resume,
    tensorboard: str | os.PathLike | None = Settings.tensorboard,
    progress: bool | None = Settings.progress,
) -> History:
    """Train weights and coefficients in place with the masks as they are. Arguments as in :func:`search`, and

    Args:
        ease_in: fraction of the steps in which squares and lines come in: a replaced position takes a share of them
            that rises from nothing to all, and the activation for the rest. Training data go further than what
            polynomials were fitted to, and squares behind squares run away on single batches until the weights have
            learned to hold them.
    """
    settings = Settings.of(locals())
    return Loop(gm, train_loader, val_loader, teacher, settings)(Method(gm))


def _start(gm: fx.GraphModule, settings: Settings, scores: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Where gates start: spread evenly over (0, 1) in the order of the one-shot score for its cost, or at random."""
    everything = sites(gm)
    if settings.initial == "uniform":
        generator = torch.Generator().manual_seed(settings.seed)
        return {name: torch.rand(site.shape, generator=generator) for name, site in everything.items()}
    found = {name: score / (settings.cost or {}).get(name, 1.0) for name, score in scores().items()}
    flat = torch.cat([s.flatten() for s in found.values()])
    rank = torch.empty(len(flat))
    rank[flat.argsort(stable=True)] = (torch.arange(len(flat)) + 0.5) / len(flat)
    parts = rank.split([s.numel() for s in found.values()])
    return {name: part.view(s.shape) for (name, s), part in zip(found.items(), parts)}
