"""The training objective: labels or targets, and a teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ..graph.nested import in_words

_WAY_OUT = "give the model that gm was made from, or one with the same classes"
_SAME = "give the model that gm was made from, or one that returns the same"


def logits_of(returned: Any, output: Tensor) -> Tensor:
    """The logits among what a teacher returns: the tensor itself, or "logits" of a table, or else the one tensor of a
    table or a tuple that has the shape of ``output``, the student's.

    Raises:
        ValueError: there is none, or several; says what there is.
    """
    if isinstance(returned, Tensor):
        return returned
    if not isinstance(returned, (Mapping, tuple, list)):
        raise ValueError(f"teacher returns a {type(returned).__name__}, not logits; {_WAY_OUT}")
    named = returned if isinstance(returned, Mapping) else dict(enumerate(returned))
    tensors = {name: value for name, value in named.items() if isinstance(value, Tensor)}
    if "logits" in tensors:
        return tensors["logits"]
    fit = [value for value in tensors.values() if value.shape == output.shape and value.is_floating_point()]
    if len(fit) != 1:
        shapes = ", ".join(f"{name!r} of shape {tuple(value.shape)}" for name, value in tensors.items()) or "no tensor"
        raise ValueError(
            f"teacher returns a {type(returned).__name__} with {shapes}, of which {len(fit)} have the shape of what gm "
            f"returns, {tuple(output.shape)}; give one whose forward() returns the logits alone"
        )
    return fit[0]


def like(returned: Any, output: Any, where: str = "") -> Any:
    """Of what a teacher returns that which the student returns as well, ``output``: by names, or in order.

    Raises:
        ValueError: something is missing, or has another shape; says what.
    """
    if isinstance(output, Tensor):
        found = logits_of(returned, output)
        if found.shape != output.shape:
            raise ValueError(f"teacher returns {in_words(found)}{where} where gm returns {in_words(output)}; {_SAME}")
        return found
    if isinstance(output, Mapping):
        if not isinstance(returned, Mapping) or (missing := output.keys() - returned.keys()):
            lacks = f", without {sorted(map(str, missing))[0]!r}" if isinstance(returned, Mapping) else ""
            raise ValueError(
                f"teacher returns {in_words(returned)}{where}{lacks}, where gm returns {in_words(output)}; {_SAME}"
            )
        return {name: like(returned[name], part, f" for {name!r}") for name, part in output.items()}
    if isinstance(output, (tuple, list)):
        parts = list(returned.values()) if isinstance(returned, Mapping) else returned
        if not isinstance(parts, (tuple, list)) or len(parts) != len(output):
            raise ValueError(
                f"teacher returns {in_words(returned)}{where} where gm returns {in_words(output)}; {_SAME}"
            )
        return [like(theirs, mine, f" at {i}") for i, (theirs, mine) in enumerate(zip(parts, output))]
    return None


def softened(output: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """The Kullback-Leibler divergence between distributions over axis 1, softened, on average over all others; times
    ``temperature**2``, as in :func:`objective`."""
    soft, target = (F.log_softmax(part.float() / temperature, 1) for part in (output, teacher))
    return F.kl_div(soft, target, log_target=True, reduction="sum") * temperature**2 / (soft.numel() / soft.shape[1])


def objective(output: Tensor, labels: Tensor, teacher: Tensor | None, temperature: float = 4.0) -> Tensor:
    """Cross-entropy, plus the distillation term where there is a teacher.

    The term is the Kullback-Leibler divergence between the softened distributions times ``temperature**2``, so that its
    gradient keeps its size whatever the temperature (Hinton et al., "Distilling the Knowledge in a Neural Network",
    2015).

    Args:
        output: logits (N, classes).
        labels: (N,) int64.
        teacher: logits of the unreplaced network on the same inputs, or None.

    Raises:
        ValueError: the teacher tells other classes apart.
    """
    if teacher is not None and teacher.shape != output.shape:
        raise ValueError(
            f"teacher returns logits of shape {tuple(teacher.shape)} where gm returns {tuple(output.shape)}; {_WAY_OUT}"
        )
    loss = F.cross_entropy(output.float(), labels)
    if teacher is not None:
        soft = F.log_softmax(output.float() / temperature, 1)
        target = F.log_softmax(teacher.float() / temperature, 1)
        loss = loss + F.kl_div(soft, target, log_target=True, reduction="batchmean") * temperature**2
    return loss
