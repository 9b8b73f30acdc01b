"""What a module does besides its class's forward is found, and named with the way out."""

import re
import types

import pytest
from torch import nn
from torch.nn.utils import prune, spectral_norm

from autorep_fx.graph.attached import attached, attached_to_all


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
        assert attached_to_all() == ["a forward hook for all modules of the process; remove it"]
    finally:
        handle.remove()
