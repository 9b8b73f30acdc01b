"""What plans and files call a graph's functions by: names alone, for those who have no torch."""

from __future__ import annotations

#: Kinds of activations (activations.py has their functions).
KINDS = ("relu", "relu6", "leaky_relu", "prelu", "silu", "gelu", "hardswish", "sigmoid", "hardsigmoid", "tanh",
         "hardtanh", "elu", "celu", "selu", "mish", "softplus")  # fmt: skip

#: What a model may do to its output last (finish.py).
FINISHES = ("softmax", "log_softmax", "sigmoid", "logsigmoid", "tanh")

#: Those that go along a dimension.
ALONG = ("softmax", "log_softmax")
