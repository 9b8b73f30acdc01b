"""What whoever trains has frozen stays as it is, however it was frozen."""

import copy

import pytest
import torch
from torch import nn

import autorep_fx as ar
from autorep_fx.graph.frozen import frozen

X = 3 * torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0)) + 2
LABELS = torch.arange(64) % 3


def network():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.BatchNorm2d(4),
                         nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(64, 3))  # fmt: skip


def transformed(model):
    return ar.transform(model, calibration=(X, LABELS), relu_budget=100)


def by_mode_before():
    model = network().train()
    model[1].eval()
    return transformed(model)


def by_mode_after():
    gm = transformed(network().eval()).train()
    gm.get_submodule("1").eval()
    return gm


def by_gradients_before():
    model = network().eval()
    model[1].requires_grad_(False)
    return transformed(model)


def by_both_after():
    gm = transformed(network().eval())
    gm.get_submodule("1").eval().requires_grad_(False)
    return gm.train()


@pytest.mark.parametrize("make", [by_mode_before, by_mode_after, by_gradients_before, by_both_after])
@pytest.mark.parametrize("how", ["finetune", "search"])
def test_a_frozen_batch_norm_keeps_its_statistics_and_the_others_follow(make, how):
    gm = make()
    before = copy.deepcopy(gm.state_dict())
    if how == "finetune":
        ar.finetune(gm, [(X, LABELS)], epochs=2, progress=False)
    else:
        ar.search(gm, [(X, LABELS)], relu_budget=50, epochs=2, progress=False)
    after = gm.state_dict()
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(after[f"1.{name}"], before[f"1.{name}"])
        assert not torch.equal(after[f"4.{name}"], before[f"4.{name}"])
    assert not torch.equal(after["0.weight"], before["0.weight"]) and not gm.training


def test_in_a_model_in_eval_mode_or_without_trained_layers_nothing_is_frozen():
    model = network()
    assert frozen(model.eval()) == frozen(model.train()) == []
    assert frozen(model.requires_grad_(False)) == []
    model[6].eval()
    assert frozen(model) == [model[6]]
