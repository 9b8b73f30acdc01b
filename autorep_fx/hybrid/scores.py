"""One-shot scores: what the polynomial of each position would change in the loss."""

from __future__ import annotations

import logging
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from ..errors import CalibrationError
from ..graph.batches import Batches
from ..graph.calibrate import SiteWalk, evaluating
from ..graph.devices import device_of
from ..graph.gradients import detached
from ..graph.labels import fault_of_classes, fault_of_labels
from ..graph.nested import floats, in_words, moved
from ..graph.told import Loss
from ..progress import stepwise
from .activation import HybridActivation, horner

log = logging.getLogger(__name__)

_DETACHING = (detached, torch.detach)


class _Probe(SiteWalk):
    """Keeps, for every site, its output and by how much each form of ``coeffs`` would change it.

    Sites that the model computes without gradients have an effect, too.
    """

    def __init__(self, gm: fx.GraphModule, coeffs: tuple[str, ...], as_it_is: bool):
        super().__init__(gm, HybridActivation)
        self.coeffs, self.as_it_is = coeffs, as_it_is
        self.outputs: dict[str, Tensor] = {}
        self.changes: dict[str, list[Tensor]] = {}
        self.ends: list[fx.Node] = []  # where a gradient ends

    def run_node(self, node: fx.Node):
        result = super().run_node(node)
        if (
            isinstance(result, Tensor)
            and not result.requires_grad
            and any(map(self._has_gradient, node.all_input_nodes))
        ):
            self.ends.append(node)
        return result

    def _has_gradient(self, node: fx.Node) -> bool:
        value = self.env.get(node)
        parts = value if isinstance(value, (tuple, list)) else [value]
        return any(isinstance(part, Tensor) and part.requires_grad for part in parts)

    def call_function(self, target: Any, args: tuple, kwargs: dict):
        return args[0] if target in _DETACHING and _computed(args[0]) else super().call_function(target, args, kwargs)

    def call_method(self, target: Any, args: tuple, kwargs: dict):
        return args[0] if target == "detach" and _computed(args[0]) else super().call_method(target, args, kwargs)

    def at_site(self, name: str, site: HybridActivation, x: Tensor) -> Tensor:
        y = site(x) if self.as_it_is else site.activation(x)
        if not y.requires_grad:
            y = y.detach().requires_grad_()
        self.outputs[name] = y
        with torch.no_grad():
            self.changes[name] = [horner(getattr(site, coeffs), x) - y for coeffs in self.coeffs]
        return y.clone()  # the model may write into it


def _computed(value: object) -> bool:
    return isinstance(value, Tensor) and not value.is_leaf


def scores(
    gm: fx.GraphModule, batches: Batches, progress: bool | None = None, seed: int = 0, loss: Loss | None = None
) -> dict[str, Tensor]:
    """Expected effect of each position's polynomial in place of its activation, (shape of the site) float64 by site.

    :func:`scores_of` says what it is.
    """
    return scores_of(gm, batches, ("coeffs",), progress, seed, loss)[0]


def scores_of(
    gm: fx.GraphModule,
    batches: Batches,
    coeffs: tuple[str, ...],
    progress: bool | None = None,
    seed: int = 0,
    loss: Loss | None = None,
    as_it_is: bool = False,
) -> list[dict[str, Tensor]]:
    """Expected effect of replacing each position, (shape of the site) float64 by site name, for each form.

    With g the gradient of the loss at the output of a position and d the change that its polynomial makes there, the
    score is the mean of (g d)**2 over the samples: the diagonal of the second-order (Gauss-Newton, Fisher) expansion of
    the loss. With labels the loss is cross-entropy (mean squared error for floating-point labels). Without labels it is
    the squared change of the output, whose expansion is the mean of (J d)**2, estimated by random signs over the
    outputs; where there are several, each counts in proportion to its own mean square, whatever its units.

    Sites must be fitted, and count as if nothing was replaced.

    Args:
        coeffs: the forms, "coeffs" or "line_coeffs".
        as_it_is: what is replaced stays so; then scores are of kept positions alone.
        loss: of outputs and targets, the mean over a batch, for batches that have targets.

    Raises:
        CalibrationError: labels or targets that do not fit what the model returns or the loss takes, or a result
            without a gradient; names the batch.
    """
    generator = torch.Generator().manual_seed(seed)
    probe = _Probe(gm, coeffs, as_it_is)
    totals: list[dict[str, Tensor]] = [{} for _ in coeffs]
    samples, of_outputs = 0, _Change(generator)
    with evaluating(gm), torch.enable_grad():
        for i, (x, labels) in enumerate(stepwise(log, batches, "score", progress, "batch")):
            where = f"{batches.name} batch {i}"
            output = probe.walk(x, where)
            _check_gradient(output, probe, where)
            if loss is not None:  # a mean, and each sample's own is looked at
                value = len(x) * loss(output, moved(labels, device_of(gm)), where)
            else:
                value = of_outputs(output) if labels is None else _loss(output, labels, where)
            grads = torch.autograd.grad(value, list(probe.outputs.values()), allow_unused=True)
            for (name, changes), grad in zip(probe.changes.items(), grads):
                for total, change in zip(totals, changes):
                    effect = 0 if grad is None else (grad * change).double().square().sum(0).cpu()
                    total[name] = total.get(name, torch.zeros(change.shape[1:], dtype=torch.float64)) + effect
            samples += len(x)
    return [{name: effect / samples for name, effect in total.items()} for total in totals]


def _check_gradient(output, probe: _Probe, where: str) -> None:
    if probe.outputs and not any(part.requires_grad for part in floats(output)):
        node = f"node '{probe.ends[-1].name}' has none" if probe.ends else "no site has an effect on it"
        raise CalibrationError(
            f"{where} makes the model return what has no gradient, which scores need: {node}. Return the scores before "
            "it, and take the class (.argmax(1)), a threshold or a rounding of the result"
        )


class _Change:
    """A random sum of outputs, whose squared derivatives have those of all outputs as their expectation."""

    def __init__(self, generator: torch.Generator):
        self.generator, self.sizes = generator, list[float]()

    def __call__(self, output) -> Tensor:
        parts = floats(output)
        if not self.sizes:  # those of the first batch count for all
            of_sample = [
                float(part.detach().double().square().sum()) / (len(part) if part.dim() else 1) for part in parts
            ]
            self.sizes = [max(size, 1e-30) ** 0.5 for size in of_sample] if len(parts) > 1 else [1.0]
        return torch.stack([self._sum(part) / size for part, size in zip(parts, self.sizes)]).sum()

    def _sum(self, part: Tensor) -> Tensor:
        signs = torch.randint(0, 2, part.shape, generator=self.generator).to(part) * 2 - 1
        return (part * signs).sum()


def _loss(output, labels: Tensor, where: str) -> Tensor:
    if not isinstance(output, Tensor):
        raise CalibrationError(
            f"{where} has labels and the model returns {in_words(output)}: say loss=, a function of these outputs and "
            "your targets, or give inputs alone"
        )
    if labels.is_floating_point():
        if labels.shape != output.shape:
            raise CalibrationError(f"{where} has targets of shape {tuple(labels.shape)}, the model returns "
                                   f"{tuple(output.shape)}")  # fmt: skip
        return F.mse_loss(output, labels.to(output.device), reduction="sum")
    if fault := fault_of_labels(labels, len(output)) or fault_of_classes(labels, output):
        raise CalibrationError(f"{where} {fault}")
    return F.cross_entropy(output, labels.long().to(output.device), reduction="sum")
