"""The training objective: labels and a teacher."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


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
            f"teacher returns logits of shape {tuple(teacher.shape)} where gm returns {tuple(output.shape)}; give the "
            "model that gm was made from, or one with the same classes"
        )
    loss = F.cross_entropy(output.float(), labels)
    if teacher is not None:
        soft = F.log_softmax(output.float() / temperature, 1)
        target = F.log_softmax(teacher.float() / temperature, 1)
        loss = loss + F.kl_div(soft, target, log_target=True, reduction="batchmean") * temperature**2
    return loss
