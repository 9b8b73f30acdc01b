"""Small networks for bounds on all inputs: weights mostly of one size and sign, at the edges of powers of two."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import nn

#: Where bounds are tight: at and just below powers of two, and where rounding goes up.
EDGES = st.sampled_from([1.0, 0.5, 2.0, 0.999999, 0.99995, 1.00001, 1 / 3, 0.75, 1e-3, 0.0])
ACTIVATIONS = {"relu": nn.ReLU, "relu6": nn.ReLU6, "leaky": lambda: nn.LeakyReLU(0.3)}


@st.composite
def networks(draw):
    """(model, which fraction is replaced): small ones, whose weights are mostly of one size and sign."""
    torch.manual_seed(draw(st.integers(0, 1000)))
    width, layers = draw(st.integers(1, 4)), []
    if draw(st.booleans()):
        layers += [nn.Conv2d(2, width, 2), nn.MaxPool2d(2, 1) if draw(st.booleans()) else nn.AvgPool2d(2, 1)]
        layers += [ACTIVATIONS[draw(st.sampled_from(sorted(ACTIVATIONS)))](), nn.Flatten()]
        features = width * 4
    else:
        layers, features = [nn.Flatten()], 32
    for _ in range(draw(st.integers(0, 2))):
        layers += [nn.Linear(features, width), ACTIVATIONS[draw(st.sampled_from(sorted(ACTIVATIONS)))]()]
        features = width
    layers.append(nn.Linear(features, 2))
    for layer in layers:
        for p in layer.parameters():
            sign = torch.ones_like(p) if draw(st.booleans()) else torch.randint(0, 2, p.shape) * 2.0 - 1
            p.data = sign * draw(EDGES)
    return nn.Sequential(*layers).eval(), draw(st.sampled_from([0.0, 0.0, 0.5, 1.0]))
