"""The indicator: hysteresis both ways, and the gradient that passes through it."""

import pytest
import torch
import torch.nn.functional as F

from autorep_fx import HybridActivation
from autorep_fx.graph.activations import Activation
from autorep_fx.hybrid.gate import HysteresisGate, LinearGate


def test_hysteresis_holds_inside_the_band_and_flips_outside():
    gate = HysteresisGate(torch.tensor([-0.004, -0.002, 0.0, 0.002, 0.004]), (5,), band=0.003)
    assert gate.decide(torch.ones(5, dtype=torch.bool)).tolist() == [False, True, True, True, True]
    assert gate.decide(torch.zeros(5, dtype=torch.bool)).tolist() == [False, False, False, False, True]
    assert gate.decide(torch.ones(5, dtype=torch.bool), level=0.0045).tolist() == [False, False, False, True, True]
    assert gate.decide(torch.zeros(5, dtype=torch.bool), band=0.0).tolist() == [False, False, False, True, True]


@pytest.mark.parametrize("granularity,shape", [("element", (3, 2, 2)), ("channel", (3, 1, 1)), ("layer", (1, 1, 1))])
def test_gradient_is_weighted_by_softplus(granularity, shape):
    torch.manual_seed(0)
    start = torch.randn(3, 2, 2)
    gate = HysteresisGate(start, (3, 2, 2), granularity)
    assert gate.theta.shape == shape and gate.unit * gate.theta.numel() == 12
    keep, weight = torch.rand(3, 2, 2) < 0.5, torch.randn(3, 2, 2)
    out = gate(keep)
    assert torch.equal(out, keep.float())
    (out * weight).sum().backward()
    axes = [i for i, n in enumerate(shape) if n == 1]
    arriving = weight if granularity == "element" else weight.sum(axes, keepdim=True)
    torch.testing.assert_close(gate.theta.grad, arriving * F.softplus(gate.theta.detach()))


def test_a_gated_site_blends_in_training_and_obeys_keep_in_eval():
    site = HybridActivation(Activation("relu"), shape=(2, 3))
    site.set_keep(torch.tensor([[True, False, True], [False, False, True]]))
    site.gate = HysteresisGate(torch.rand(2, 3), (2, 3))
    x = torch.randn(4, 2, 3)
    expected = torch.where(site.keep, x.relu(), x)
    assert torch.allclose(site.train()(x), expected) and torch.equal(site.eval()(x), expected)
    site.train()(x).square().sum().backward()
    # Where both functions agree (x > 0, the polynomial is the identity) the mask makes no difference.
    assert (site.gate.theta.grad != 0).any()
    site.gate = LinearGate(torch.full((2, 3), 0.25), (2, 3))
    assert torch.allclose(site.train()(x), 0.25 * x.relu() + 0.75 * x)
