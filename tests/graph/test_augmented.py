"""``x += y`` in forward() changes what shares memory with ``x``, in a graph as in the model."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import CompileError
from autorep_fx.graph.inplace import AUGMENTED
from autorep_fx.graph.trace import trace


class Computes(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.conv, self.function = nn.Conv2d(3, 3, 1), function
        self.register_buffer("steps", torch.zeros(3, 1, 1))

    def forward(self, x):
        return self.function(self, self.conv(x), x)


def view(net, h, x):
    y = h[:, :2]
    y += 1
    return h * 2


def alias(net, h, x):
    y = h
    y *= 3
    return F.relu(h) + y


def view_from_before(net, h, x):
    y = h.transpose(1, 2)
    h -= 1
    return y


def attribute(net, h, x):
    h = h * 1
    y = h.data.mT
    y += 5
    return h


def part_of_a_tuple(net, h, x):
    h = h * 1
    y = h.chunk(3, 1)[0]
    y **= 2
    return h


def skip_of_a_relu(net, h, x):
    h = F.relu(h)
    skip = h
    h /= 4
    return net.conv(h) + skip


def memory_of_the_model(net, h, x):
    y = net.steps
    y += 1
    return h + net.steps


class Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return -grad


def view_of_a_function(net, h, x):
    h = h * 1
    y = Reversed.apply(h)
    y += 1
    return h


SEEN = [
    view,
    view_of_a_function,
    alias,
    view_from_before,
    attribute,
    part_of_a_tuple,
    skip_of_a_relu,
    memory_of_the_model,
]


def residual(net, h, x):
    h += x
    return F.relu(h)


def number(net, h, x):
    n = x.shape[0]
    m = n
    n *= 2
    return h.view(m, -1).repeat(1, 2).view(n, -1)


def twice(net, h, x):
    h += 1
    h -= x
    return F.relu(h[:, :2]) + h[:, 1:]


UNSEEN = [residual, number, twice]


def augmented(gm):
    return [node for node in gm.graph.nodes if node.target in AUGMENTED]


@pytest.mark.parametrize("function", [*SEEN, *UNSEEN])
def test_a_graph_computes_what_the_model_does_also_when_it_is_copied_or_traced_again(function):
    model, x = Computes(function), torch.randn(2, 3, 4, 4)
    gm = trace(model)
    assert bool(augmented(gm)) == (function in SEEN)
    for made in (gm, copy.deepcopy(gm), pickle.loads(pickle.dumps(gm)), trace(gm)):
        twin = copy.deepcopy(model)
        with torch.no_grad():  # autograd allows less
            for _ in range(2):
                assert torch.equal(made(x.clone()), twin(x.clone()))
        assert torch.equal(getattr(made, "steps", twin.steps), twin.steps)


@pytest.mark.parametrize("function", [view, alias, view_from_before, twice])
def test_gradients_are_those_of_the_model(function):
    model, x = Computes(function), torch.randn(2, 3, 4, 4)
    gm = trace(model)
    for net in (gm, model):
        net(x).square().sum().backward()
    assert torch.equal(gm.conv.weight.grad, model.conv.weight.grad)


def test_what_two_parties_cannot_have_in_place_is_refused_by_name():
    model, x = nn.Sequential(Computes(view), nn.ReLU()).eval(), torch.randn(8, 3, 4, 4)
    gm = ar.transform(model, example_inputs=x)
    assert torch.equal(gm(x), model(x))
    with pytest.raises(CompileError, match="'0_iadd|iadd.*writes in place into .*later; use the out-of-place form"):
        ar.compile(gm, x)
    assert ar.compile(ar.transform(Computes(residual).eval(), example_inputs=x), x)
