"""Constant masks: scores that are hidden from a softmax, and values that a mask chooses; softmax written by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import CompileError
from autorep_fx.secure.lower.lowered import lowered
from autorep_fx.secure.program.plaintext import execute

pytestmark = pytest.mark.filterwarnings("ignore::autorep_fx.errors.TransformWarning")

X = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64).float()
CAUSAL = torch.ones(5, 5).tril()
PADDED = torch.tensor([1.0, 1, 1, 0, 0])


class Attends(nn.Module):
    """Attention as it is written out: ``weigh`` makes weights of scores (N, 2, T, T)."""

    def __init__(self, weigh):
        super().__init__()
        self.weigh, self.qkv, self.last = weigh, nn.Linear(8, 24), nn.Linear(8, 4)
        self.register_buffer("mask", CAUSAL.view(1, 1, 5, 5))
        self.register_buffer("padded", PADDED)

    def forward(self, x):
        b, t, c = x.size()
        q, k, v = (y.view(b, t, 2, c // 2).transpose(1, 2) for y in self.qkv(x).split(c, dim=2))
        weights = self.weigh(self, q @ k.transpose(-2, -1) / math.sqrt(c // 2))
        return self.last((weights @ v).transpose(1, 2).contiguous().view(b, t, c).mean(1))


def _shifted(net, a):
    a = a.masked_fill(net.mask == 0, -1e9) if net.training else a + (1 - net.mask) * -10000.0
    return a.softmax(-1)


def _by_hand(net, a):
    powers = (a - a.amax(-1, keepdim=True)).exp()
    return powers / powers.sum(-1, keepdim=True)


def _maximum_of_a_pair(net, a):
    powers = torch.exp(a - a.max(dim=-1, keepdim=True)[0].detach())
    return powers / torch.sum(powers, dim=-1, keepdim=True)


WEIGHED = {
    "infinite": lambda net, a: F.softmax(a.masked_fill(net.mask[:, :, :5, :5] == 0, float("-inf")), dim=-1),
    "a large number": lambda net, a: a.masked_fill(~net.mask.bool(), -1e9).softmax(-1),
    "the least number": lambda net, a: a.masked_fill(net.mask == 0, torch.finfo(torch.float32).min).softmax(-1),
    "chosen": lambda net, a: torch.where(net.mask > 0, a, torch.tensor(-1e9)).softmax(-1),
    "chosen by a method": lambda net, a: a.where(net.mask > 0, torch.tensor(-torch.inf)).softmax(-1),
    "added": _shifted,
    "added infinite": lambda net, a: (a + torch.zeros(5, 5).masked_fill(net.mask[0, 0] == 0, -torch.inf)).softmax(-1),
    "subtracted": lambda net, a: (a - (1 - net.mask) * 1e4).softmax(-1),
    "then moved": lambda net, a: F.dropout(
        (a + (1 - net.mask) * -1e9).view(-1, 10, 5).softmax(-1), 0.5, net.training
    ).view(-1, 2, 5, 5),
    "then shifted": lambda net, a: ((a.masked_fill(net.mask == 0, -1e9) + net.padded) * 0.5).softmax(-1),
    "twice": lambda net, a: (a.masked_fill(net.mask == 0, -1e9) + (1 - net.padded) * -1e9).softmax(-1),
    "rows without a key": lambda net, a: (a + (net.padded[:, None] * net.padded - 1) * 1e6).softmax(-1),
    "weights are cut off": lambda net, a: a.softmax(-1).masked_fill(net.mask == 0, 0.0),
    "weights are chosen": lambda net, a: torch.where(net.mask > 0, a.softmax(-1), net.padded),
    "one of two": lambda net, a: torch.where(net.mask > 0, a, a.transpose(-2, -1)).softmax(-1),
    "by hand": _by_hand,
    "by hand, of a pair": _maximum_of_a_pair,
    "by an attribute": lambda net, a: a.mT.softmax(-1),
}


@pytest.mark.parametrize("name", WEIGHED)
def test_a_mask_hides_what_it_hides_in_the_model(name):
    torch.manual_seed(2)
    model = Attends(WEIGHED[name]).eval()
    program = lowered(ar.transform(model, example_inputs=X), X)
    with torch.no_grad():
        wanted = model.double()(X.double())
    torch.testing.assert_close(execute(program, X), wanted, rtol=0, atol=1e-7)


def test_hidden_scores_are_no_numbers_of_the_program():
    program = lowered(ar.transform(Attends(WEIGHED["twice"]).eval(), example_inputs=X), X)
    assert all(tensor.abs().max() < 100 for tensor in program.server.values())


REFUSED = {
    "infinite beside others": (lambda net, a: a.masked_fill(net.mask == 0, -torch.inf), "before a softmax"),
    "private": (lambda net, a: a.masked_fill(a > 0, -torch.inf).softmax(-1), "private comparison"),
    "each row": (lambda net, a: a.masked_fill(net.padded[:, None] == 0, -1e9).softmax(-1), "leave one in"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_mask_cannot_do_is_said(name):
    weigh, said = REFUSED[name]
    with pytest.raises(CompileError, match=said):
        lowered(ar.transform(Attends(weigh).eval(), example_inputs=X), X)
