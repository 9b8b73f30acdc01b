"""Weights that are computed before every call become plain ones, and the next call computes the same."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

from autorep_fx.graph.attached import attached
from autorep_fx.graph.settle import SettleWeights
from autorep_fx.graph.trace import trace


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize(
    "recompute",
    [weight_norm, spectral_norm, parametrizations.weight_norm, parametrizations.spectral_norm,
     parametrizations.orthogonal, lambda m: prune.l1_unstructured(m, "weight", 0.5)],
)  # fmt: skip
def test_settled_weights_are_those_of_the_next_call(recompute):
    layer = nn.Conv2d(3, 4, 3)
    recompute(layer)
    with torch.no_grad():  # what earlier calls left is old now
        for parameter in layer.parameters():
            parameter.mul_(1.7)
    x = torch.randn(2, 3, 5, 5)
    layer.eval()
    gm = SettleWeights()(trace(nn.Sequential(layer).eval()))
    settled = gm.get_submodule("0")
    assert type(settled) is nn.Conv2d and not attached(settled) and isinstance(settled.weight, nn.Parameter)
    assert torch.equal(gm(x), layer(x)), "also: the original shares its class"
    weight = settled.weight
    assert SettleWeights()(gm).get_submodule("0").weight is weight


def test_train_mode_is_refused():
    with pytest.raises(ValueError, match="eval"):
        SettleWeights()(trace(nn.Sequential(nn.Linear(4, 2))))


class _Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3))

    def forward(self, x):
        return nn.functional.linear(x, self.weight)


def test_a_block_that_was_opened_keeps_its_parametrization():
    net = nn.Sequential(parametrizations.weight_norm(_Scale())).eval()
    gm, x = SettleWeights()(trace(net)), torch.randn(2, 3)
    assert torch.equal(gm(x), net(x)) and parametrize.is_parametrized(net[0])
