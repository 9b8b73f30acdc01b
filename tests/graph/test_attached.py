"""What a module does besides its class's forward: found, named with the way out, or settled into plain weights."""

import copy
import re
import types

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

from autorep_fx.graph.attached import attached, attached_to_all, settle_weights


def _nothing(*args):
    return None


@pytest.mark.parametrize(
    "attach,text",
    [
        (lambda m: m.register_forward_pre_hook(_nothing), r"forward pre-hook \(_nothing\); remove it and write"),
        (lambda m: m.register_forward_pre_hook(_nothing, with_kwargs=True), "forward pre-hook"),
        (lambda m: m.register_forward_hook(_nothing), "a forward hook"),
        (lambda m: m.register_forward_hook(_nothing, with_kwargs=True), "a forward hook"),
        (lambda m: m.register_full_backward_hook(_nothing), "a backward hook"),
        (lambda m: m.register_full_backward_pre_hook(_nothing), "a backward pre-hook"),
        (lambda m: setattr(m, "forward", types.MethodType(nn.Linear.forward, m)), "patched on the instance"),
        (spectral_norm, r"SpectralNorm\); take it off with torch.nn.utils.remove_spectral_norm"),
        (lambda m: prune.l1_unstructured(m, "weight", 0.5), "L1Unstructured.*prune.remove"),
    ],
)
def test_each_kind_is_named_with_the_way_out(attach, text):
    layer = nn.Linear(4, 4)
    assert attached(layer) == []
    attach(layer)
    (found,) = attached(layer)
    assert re.search(text, found)
    assert attached(layer, backward=False) == ([] if "backward" in found else [found])


def test_hooks_of_the_whole_process():
    assert attached_to_all() == []
    handle = nn.modules.module.register_module_forward_hook(_nothing)
    try:
        assert attached_to_all() == ["global forward hook"]
    finally:
        handle.remove()


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize(
    "recompute",
    [weight_norm, spectral_norm, parametrizations.weight_norm, parametrizations.spectral_norm,
     parametrizations.orthogonal, lambda m: prune.l1_unstructured(m, "weight", 0.5)],
)  # fmt: skip
def test_settled_weights_are_those_of_the_next_call(recompute):
    layer = nn.Conv2d(3, 4, 3)
    recompute(layer)
    with torch.no_grad():  # the copies that calls made are old ones now
        for parameter in layer.parameters():
            parameter.mul_(1.7)
    x = torch.randn(2, 3, 5, 5)
    layer.eval()
    twin = copy.deepcopy(layer) if parametrize.is_parametrized(layer) else layer
    expected = layer(x)
    settle_weights(twin)
    assert type(twin) is nn.Conv2d and not attached(twin) and isinstance(twin.weight, nn.Parameter)
    assert torch.equal(twin(x), expected)
    assert torch.equal(layer(x), expected), "settling a copy changed the class that the original shares"
