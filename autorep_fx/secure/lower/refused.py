"""What two parties cannot do here, and why not."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ...graph.finish import FUNCTIONS, MODULES
from ...graph.names import ALONG

_STATISTICS = (
    "divides by a standard deviation of the private input, and a private division costs far more than a network; "
    "train with batch norm in its place, which is fixed numbers in eval mode"
)
_SOFTMAX = (
    "takes exponentials of private values and divides by their sum, which costs far more than a network; the client "
    "does it for free where it is the last thing that the model does"
)
_ATTENTION = (
    "holds a softmax and products of two private matrices, which two parties do not do here; use a convolutional "
    "network, or run this part outside the model"
)

#: (node.op, type of the module, or function, or method name) -> why it cannot be lowered, and what to do.
REASONS: dict[tuple[str, Any], str] = {
    **{("call_module", kind): _STATISTICS for kind in (
        nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.RMSNorm, nn.LocalResponseNorm)},
    **{("call_function", function): _STATISTICS for function in (
        F.layer_norm, torch.layer_norm, F.group_norm, torch.group_norm, F.instance_norm, F.rms_norm, torch.rms_norm,
        F.normalize, F.local_response_norm)},
    **{("call_module", kind): _SOFTMAX for kind, name in MODULES.items() if name in ALONG},
    **{("call_function", function): _SOFTMAX for function, name in FUNCTIONS.items() if name in ALONG},
    **{("call_method", name): _SOFTMAX for name in ALONG},
    ("call_module", nn.MultiheadAttention): _ATTENTION,
    ("call_function", F.scaled_dot_product_attention): _ATTENTION,
}  # fmt: skip
