"""The training loop: epochs over a loader while a method moves the masks, with checkpoints and a last settling."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import asdict
from itertools import chain, islice, repeat
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, fx, nn
from torch.nn.parallel import DistributedDataParallel

from ..errors import FormatError, MissingDependency
from ..graph.batches import Batches
from ..graph.calibrate import evaluating
from ..graph.devices import autocast, copy_at, device_of, usable
from ..graph.frozen import train_unfrozen
from ..graph.nested import moved
from ..graph.several import Batch, input_names, parts_of
from ..hybrid.activation import known, relu_count
from ..hybrid.fitting import Fitting, fit_replaced
from ..progress import progress_bar, say
from ..settings import FinetuneSettings, SearchSettings
from . import checkpoint
from .evaluation import accuracy, correct, evaluated, refresh_batch_norm
from .features import feature_loss, teacher_with_features, with_features
from .history import History, OnEpoch, SearchError
from .loaders import Loader
from .methods import Method
from .ranges import RangeWatch, with_excess
from .shared import shared
from .task import Task

log = logging.getLogger(__name__)

_BN_BATCHES = 32

#: At most so many short trainings behind the last epoch, each this part of the run, from this part of the rates on:
#: where the schedule is when so much of the run is left.
_RECOVERIES, _PART, _RATE = 2, 0.15, 0.05


class Loop:
    """One run over a GraphModule, in place. A call does it; until then nothing is changed but where it is.

    Raises:
        ValueError: loaders, a teacher or a device that cannot be used.
        FormatError: a checkpoint to resume from that cannot be read or is of another run.
    """

    def __init__(
        self,
        gm: fx.GraphModule,
        train_loader: Iterable,
        val_loader: Iterable | None,
        teacher: nn.Module | None,
        settings: SearchSettings | FinetuneSettings,
        on_epoch: OnEpoch | None = None,
    ):
        self.gm, self.settings, self.on_epoch = gm, settings, on_epoch
        self.device = usable(settings.device) or device_of(gm)
        self.teacher = None if teacher is None else copy_at(teacher, self.device)
        self.task = Task(settings)
        targets, inputs = not self.task.classifies, len(input_names(gm))
        self.train_loader = Loader(train_loader, "train_loader", targets, inputs)
        self.val_loader = None if val_loader is None else Loader(val_loader, "val_loader", targets, inputs)
        if self.val_loader is None and settings.keep_best is not None:
            raise ValueError("keep_best goes by the metric of val_loader; give one, or leave keep_best out")
        if self.val_loader is not None:
            next(iter(self.val_loader), None)  # what is wrong with it shows now, not after an epoch
        self.features = teacher is not None and settings.feature_weight > 0
        if self.teacher is not None and self.features:
            self.teacher = teacher_with_features(self.teacher, gm)
        self.predict: Any = self.teacher if teacher is None or not settings.compile else torch.compile(self.teacher)
        self.feature_loss = torch.compile(feature_loss) if settings.compile else feature_loss
        self.distributed = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        self.main = not self.distributed or dist.get_rank() == 0
        # On a CPU the plain operations are slower with it, the compiled ones faster.
        self.channels_last = self.device.type == "cuda" or settings.compile
        self.run = checkpoint.identity(settings, gm, len(self.train_loader), teacher is not None)
        self.saved = None
        if settings.resume and settings.checkpoint_dir is not None:
            self.saved = checkpoint.read(settings.checkpoint_dir, self.run)
        self.history = History()
        self.best: dict[str, Any] | None = None  # with keep_best, of the best epoch so far
        gm.to(self.device)  # behind all that may be refused

    def __call__(self, method: Method, fit_batches: Batches | None = None) -> History:
        """Train as ``method`` says; ``fit_batches``: what the polynomials are fitted again to, if they are."""
        s = self.settings
        self.method, self.fit_batches = method, fit_batches
        replaces = method.moves_masks or any(site.kept < site.total for site in method.sites.values())
        self.holds = replaces and method.trains_coeffs and s.growth is not None and s.growth_weight > 0
        self.epoch = self.mask_steps = self.refit_epochs = 0
        self.ease_in = 0.0  # masks that move ease in by themselves
        if isinstance(s, FinetuneSettings):
            self.ease_in = s.ease_in
        else:
            self.mask_steps = max(math.ceil(s.mask_phase * s.epochs * len(self.train_loader)), 1)
            self.refit_epochs = math.ceil(s.refit_phase * s.epochs) if method.refits else 0
        try:
            with torch.inference_mode(False), torch.enable_grad():  # whatever is switched off where this is called
                self._train()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(self._how_to_go_on()) from None
        finally:  # also of a run that is interrupted: an ordinary module, its masks as they are
            method.release()
            for site in method.sites.values():
                site.share = None
            self._lay_out(torch.contiguous_format)
            self.gm.eval()
        return self.history

    def _train(self) -> None:
        s = self.settings
        self.method.start()
        if self.saved is not None and self.saved["settled"]:
            self.method.release()  # drops the gates; the masks come from the file
            self.mask_steps = 0
        self._synchronize()
        self.optimizer = self._optimizer()
        first = self._restore(self.saved) if self.saved is not None else 0
        if self.channels_last:
            self._lay_out(torch.channels_last)
        if self.ease_in > 0:
            for site in self.method.sites.values():
                if site.kept < site.total:
                    site.share = torch.ones((), device=self.device)
        self.model = self._wrapped()
        self.writer = self._summary_writer()
        for epoch in range(first, s.epochs):
            self._epoch(epoch)
            before = [p.requires_grad for p in self.gm.parameters()]
            self.method.after_epoch((epoch + 1) / s.epochs, self._refresh_batch_norm)
            if before != [p.requires_grad for p in self.gm.parameters()]:  # other forms: other polynomials are trained
                self._synchronize()
                self.model = self._wrapped()
            if s.keep_best is not None:
                self._remember(epoch)
            if self.main and s.checkpoint_dir is not None:
                checkpoint.write(s.checkpoint_dir, self._state(epoch + 1))
            if self.main and self.on_epoch is not None:
                self.on_epoch(self._reached(epoch))
        if self.method.gate_parameters():  # the loader gave fewer batches than its length says
            self._settle(1.0)
        if self.best is not None:
            self.gm.load_state_dict(self.best["model"])
            self.history.best = self.best["epoch"]
        self._refresh_batch_norm()
        for left in reversed(range(_RECOVERIES + 1)):
            if not self.method.end(trains=left > 0):
                break
            self._recover()
            self._refresh_batch_norm()
        self._synchronize()
        if self.writer:
            self.writer.close()

    # --- one epoch ---------------------------------------------------------------------------------------------------

    def _epoch(self, epoch: int) -> None:
        s, steps = self.settings, len(self.train_loader)
        self.epoch = epoch
        torch.manual_seed(s.seed * 1_000_003 + epoch)
        self.train_loader.set_epoch(epoch)
        if 0 < epoch < self.refit_epochs:
            self._refit()
        train_unfrozen(self.gm)
        task, seen, right = self.task, 0, 0
        total = measured = 0.0
        bar = progress_bar(
            self.train_loader, f"epoch {epoch + 1}/{s.epochs}", s.progress if self.main else False, "batch", steps
        )
        for i, (x, labels) in enumerate(bar):
            step = epoch * steps + i
            x, labels = x.to(self.device, non_blocking=True), moved(labels, self.device)
            where = f"train_loader batch {i}"
            loss, output = self._step(x, labels, step, where, self._rate(step))
            if not math.isfinite(loss):
                raise SearchError(self._explain(epoch, i, x))
            total, seen = total + loss * len(x), seen + len(x)
            if task.classifies:
                right += correct(output.detach(), labels, where)
            if task.metric is not None:
                measured += len(x) * task.measured(output, labels, where)
            if i % 10 == 0:
                reached = f"{right / seen:.1%}" if task.metric is None else f"{measured / seen:.4g}"
                bar.set_postfix({"loss": f"{total / seen:.3f}", "acc" if task.metric is None else "metric": reached,
                                 "relus": f"{relu_count(self.gm):,}"})  # fmt: skip
        if not seen:
            raise ValueError(f"train_loader gave no batch in epoch {epoch + 1}")
        h = self.history
        h.loss.append(total / seen)
        if task.classifies:
            h.accuracy.append(right / seen)
        if task.metric is not None:
            h.metric.append(measured / seen)
        h.relus.append(relu_count(self.gm))
        if self.val_loader is not None:
            self._validate(self.val_loader)
        self._log(epoch, bar)

    def _recover(self) -> None:
        """A short training behind the last epoch, of forms that have changed there."""
        s, steps = self.settings, math.ceil(_PART * self.settings.epochs * len(self.train_loader))
        torch.manual_seed(s.seed * 1_000_003 + s.epochs)
        self.train_loader.set_epoch(s.epochs)
        self._synchronize()
        self.model = self._wrapped()
        train_unfrozen(self.gm)
        again = chain.from_iterable(repeat(self.train_loader))
        bar = progress_bar(islice(again, steps), "changed forms", s.progress if self.main else False, "batch", steps)
        for i, (x, labels) in enumerate(bar):
            x, labels = x.to(self.device, non_blocking=True), moved(labels, self.device)
            rate = _RATE * (1 + math.cos(math.pi * i / steps))
            loss, _ = self._step(x, labels, s.epochs * len(self.train_loader) + i, f"train_loader batch {i}", rate)
            if not math.isfinite(loss):
                raise SearchError(self._explain(s.epochs - 1, i, x))
        if self.main:
            say(log, f"{steps} steps more, of forms that have changed", bar, s.progress)

    def _validate(self, loader: Loader) -> None:
        task, h = self.task, self.history
        if task.classifies:
            h.val_accuracy.append(accuracy(self.gm, loader, "val_loader"))
        if task.metric is not None:
            h.val_metric.append(evaluated(self.gm, loader, lambda output, targets, samples, where: samples *
                                          task.measured(output, targets, where), "val_loader"))  # fmt: skip

    def _remember(self, epoch: int) -> None:
        """Keep the weights, if no epoch before that may be the result was better."""
        s, h = self.settings, self.history
        steps = s.epochs * len(self.train_loader)
        eased = (epoch + 1) * len(self.train_loader) >= self.ease_in * steps
        value = (h.val_accuracy if self.task.metric is None else h.val_metric)[-1]
        better = self.best is None or (value > self.best["value"]) == (s.keep_best == "highest")
        if shared(lambda: eased and better and value == value and self.method.may_end()):
            model = {name: tensor.detach().clone() for name, tensor in self.gm.state_dict().items()}
            self.best = {"value": value, "epoch": epoch + 1, "model": model}

    def _rate(self, step: int) -> float:
        """Of the learning rates, in this step of the epochs: a cosine, behind a warm-up."""
        steps = self.settings.epochs * len(self.train_loader)
        warm = min(1.0, (step + 1) / max(self.settings.warmup * steps, 1))
        return 0.5 * (1 + math.cos(math.pi * step / steps)) * warm

    def _step(self, x: Batch, labels: Any, step: int, where: str, rate: float) -> tuple[float, Any]:
        s = self.settings
        steps = s.epochs * len(self.train_loader)
        for site in self.method.sites.values():
            if site.share is not None:
                site.share.fill_(min(1.0, (step + 1) / (self.ease_in * steps)))
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * (rate if group["decays"] else 1.0)
        if self.channels_last and isinstance(x, Tensor) and x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        mixed = self.device.type == "cuda" if s.mixed is None else s.mixed
        with autocast(self.device, enabled=mixed):
            target: Any = None
            if self.teacher is not None:
                with evaluating(self.teacher), torch.no_grad():
                    target = self.predict(*parts_of(x))
            output = self._forward(x, where)
        excess = 0.0
        if self.holds:
            output, excess = output
        if self.features:
            (output, mine), (target, theirs) = output, target
        loss = self.task.objective(output, labels, target, where) + s.growth_weight * excess
        if self.features:
            loss = loss + s.feature_weight * self.feature_loss(mine, theirs)
        if step < self.mask_steps:
            loss = loss + self.method.penalty()
        value = loss.item()
        if not math.isfinite(value):
            return value, output
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._clip_gradients()
        self.optimizer.step()
        self._clip_coeffs()
        if step < self.mask_steps:
            done = self.method.after_step((step + 1) / self.mask_steps)
            if done or step + 1 == self.mask_steps:
                self._settle((step + 1) / steps)
        return value, output

    def _forward(self, x: Batch, where: str):
        try:
            return self.model(*parts_of(x))
        except ValueError as error:
            if len(x) > 1:
                raise
            raise ValueError(
                f"{where} has one sample, of which a batch norm has no statistics; drop a last short batch "
                f"(drop_last=True) or choose another batch size: {error}"
            ) from error

    def _clip_gradients(self) -> None:
        """One batch on which the squares run away must not fill Adam's second moments for the next thousand steps."""
        if self.settings.grad_clip is not None:
            trained = [p for group in self.optimizer.param_groups if group["clips"] for p in group["params"]]
            nn.utils.clip_grad_norm_(trained, self.settings.grad_clip)

    def _settle(self, done: float) -> None:
        """Fix the masks, behind this part of the run."""
        self.mask_steps = 0
        self.method.settled = done
        self.history.missed = missed = self.method.settle()
        if missed > 0:
            log.warning(
                "the mask schedule ended %d positions above the budget; those with the smallest parameters were "
                "replaced at once. More epochs, a larger mask_phase or a larger penalty let it arrive smoothly.",
                missed,
            )
        for theta in self.optimizer.param_groups.pop()["params"]:
            self.optimizer.state.pop(theta, None)
        self.model = self._wrapped()

    def _clip_coeffs(self) -> None:
        with torch.no_grad():
            for site in self.method.sites.values():
                if site.degree == 2:
                    known(site.coeffs)[2].clamp_(0, self.settings.coeff_clip)

    def _refit(self) -> None:
        """Fit the polynomials to what arrives at the replaced positions now."""
        if self.fit_batches is None:
            return
        fit_replaced(self.gm, self.fit_batches, Fitting(growth=self.settings.growth), progress=False)
        self._clip_coeffs()
        self._synchronize()

    # --- what stands around it ---------------------------------------------------------------------------------------

    def _optimizer(self) -> torch.optim.Optimizer:
        s = self.settings
        gates = self.method.gate_parameters()
        coeffs = [c for site in self.method.sites.values() for c in (site.coeffs, site.line_coeffs) if c is not None]
        special = {id(p) for p in (*gates, *coeffs)}
        weights = [p for p in self.gm.parameters() if p.requires_grad and id(p) not in special]
        groups = [
            {"params": weights, "base_lr": s.lr, "decays": True, "clips": True},
        ]
        if self.method.trains_coeffs:
            coeff_lr = s.coeff_lr if s.coeff_lr is not None else s.lr / 10
            groups.append({"params": coeffs, "base_lr": coeff_lr, "decays": True, "clips": True})
        if gates and isinstance(s, SearchSettings):
            gate_lr = s.gate_lr if s.gate_lr is not None else max(s.lr, 2 / max(self.mask_steps, 1))
            groups.append({"params": gates, "base_lr": gate_lr, "decays": False, "clips": False})
        return torch.optim.Adam(groups, lr=s.lr)

    def _wrapped(self) -> nn.Module:
        graph = with_features(self.gm) if self.features else self.gm
        if self.holds and self.settings.growth is not None:
            graph = with_excess(graph, self.settings.growth)
        model: Any = torch.compile(graph) if self.settings.compile else graph
        # DistributedDataParallel alone, not accelerate: wrapping and autocast are all that is needed of it here.
        if not self.distributed:
            return model
        return DistributedDataParallel(model, broadcast_buffers=False, find_unused_parameters=True)

    def _lay_out(self, memory: torch.memory_format) -> None:
        move: Any = self.gm.to  # the stubs of torch lack this argument
        move(memory_format=memory)

    def _refresh_batch_norm(self) -> None:
        """Running statistics of the final network, instead of an average over networks that are gone."""
        self.train_loader.set_epoch(self.settings.epochs)
        torch.manual_seed(self.settings.seed)
        refresh_batch_norm(self.gm, islice(self.train_loader, _BN_BATCHES))
        self._synchronize()

    def _synchronize(self) -> None:
        """Give every rank what rank 0 has: each has fitted, and taken batch statistics, on its own part of the data."""
        if self.distributed:
            for tensor in self.gm.state_dict().values():
                dist.broadcast(tensor, 0)

    def _state(self, epochs_done: int) -> dict:
        state = {
            "epoch": epochs_done,
            "run": self.run,
            "settled": self.method.moves_masks and not self.method.gate_parameters(),
            "model": self.gm.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "method": self.method.state(),
            "history": asdict(self.history),
        }
        return state if self.best is None else {**state, "best": self.best}

    def _restore(self, saved: dict) -> int:
        try:
            self.gm.load_state_dict(saved["model"])
            self.optimizer.load_state_dict(saved["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise FormatError(
                f"the checkpoint in {self.settings.checkpoint_dir} is of another model or method: {error}"
            ) from error
        self.method.restore(saved["method"])
        self.history, self.best = History(**saved["history"]), saved.get("best")
        return saved["epoch"]

    def _summary_writer(self):
        if self.settings.tensorboard is None or not self.main:
            return None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingDependency("tensorboard=... needs the package tensorboard: pip install tensorboard") from error
        return SummaryWriter(str(self.settings.tensorboard))

    def _reached(self, epoch: int) -> dict[str, Any]:
        """What an epoch came to, in numbers."""
        h = self.history
        names = ("loss", "accuracy", "metric", "relus", "val_accuracy", "val_metric")
        found = {name: getattr(h, name)[-1] for name in names if getattr(h, name)}
        return {"epoch": epoch + 1, "epochs": self.settings.epochs, **found}

    def _log(self, epoch: int, bar: Any) -> None:
        r = self._reached(epoch)
        if self.main:
            parts = [f"loss {r['loss']:.4f}"]
            for of, val in (("accuracy", "val_accuracy"), ("metric", "val_metric")):
                if of in r:
                    parts.append(f"{of} {r[of]:.4f}, validation {f'{r[val]:.4f}' if val in r else '-'}")
            parts.append(f"ReLUs {r['relus']}")
            say(log, f"epoch {epoch + 1}/{r['epochs']}: {', '.join(parts)}", bar, self.settings.progress)
        if self.writer:
            for name, of in (("train/loss", "loss"), ("train/accuracy", "accuracy"), ("relus", "relus"),
                             ("val/accuracy", "val_accuracy"), ("train/metric", "metric"),
                             ("val/metric", "val_metric")):  # fmt: skip
                if of in r:
                    self.writer.add_scalar(name, r[of], epoch)
            self.writer.flush()

    def _how_to_go_on(self) -> str:
        s = self.settings
        where = f"stopped in epoch {self.epoch + 1} of {s.epochs}"
        if s.checkpoint_dir is None:
            return f"{where}; with checkpoint_dir=... it could go on from there"
        return f"{where}; resume=True goes on from the last whole epoch, which is in {s.checkpoint_dir}"

    def _explain(self, epoch: int, step: int, x: Batch) -> str:
        watch = RangeWatch(self.gm)
        with evaluating(self.gm), torch.no_grad():
            watch.run(*parts_of(x))
        where = "; ".join(watch.outside) or "no site's input left its fitted range"
        kept = (
            f"; the last good checkpoint is in {self.settings.checkpoint_dir}" if self.settings.checkpoint_dir else ""
        )
        return f"the loss is not finite at epoch {epoch + 1}, step {step + 1}: {where}. A lower lr may help{kept}"
