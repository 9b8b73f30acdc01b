"""``x[i] = y`` in a private network."""

import pytest
import torch
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import CompileError
from autorep_fx.secure.lower.lowered import lowered
from autorep_fx.secure.program.plaintext import execute

pytestmark = pytest.mark.filterwarnings("ignore:no activation was found")

X = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(1))


class Assigns(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function, self.token, self.last = function, nn.Parameter(torch.randn(5)), nn.Linear(5, 2)

    def forward(self, x):
        return self.last(self.function(self, x * 1.5))


def a_number(net, y):
    y[:, 1:3, ::2] = 7.0
    return y


def a_class_token(net, x):
    y = x.new_zeros(x.shape[0], 5, 5)
    y[:, 0] = net.token
    y[:, 1:] = x
    return y


def a_part_of_itself(net, y):
    y[:, 1:3, 2] = y[:, 0:2, 0]
    return y


def every_second(net, x):
    y = torch.empty_like(x)
    y[..., 0::2] = x[..., :3]
    y[..., 1::2] = -x[..., 3:]
    return y


def one_for_several(net, y):
    y[:, 1:] = y[:, :1]
    return y


def added_to_a_part(net, y):
    y[:, 1, 1:4] += y[:, 0, :3]
    y[:, :, [0, 3]] *= 0.5
    return y


def from_the_end(net, y):
    y[:, -1] = net.token
    return y


ASSIGNED = [a_number, a_class_token, a_part_of_itself, every_second, one_for_several, added_to_a_part, from_the_end]


@pytest.mark.parametrize("function", ASSIGNED)
def test_a_part_is_assigned_as_in_the_model(function):
    model = Assigns(function).eval()
    gm = ar.transform(model, example_inputs=X)
    assert torch.equal(gm(X), model(X))
    with torch.no_grad():
        wanted = model.double()(X.double())
    torch.testing.assert_close(execute(lowered(gm, X), X), wanted, rtol=0, atol=1e-12)


def by_another_name(net, y):
    part = y[:, 0]
    part[:, 2] = 1.0
    return y


def read_from_before(net, y):
    part = y[:, 0]
    y[:, 0, 0] = 5.0
    return y + part.unsqueeze(1)


def samples(net, y):
    y[0] = 0.0
    return y


def pairs(net, y):
    y[:, [0, 1], [1, 2]] = 0.0
    return y


@pytest.mark.parametrize("function, said", [
    (by_another_name, "assign to the whole tensor"), (read_from_before, "assign to the whole tensor"),
    (samples, "leave axis 0"), (pairs, "one row of numbers"),
])  # fmt: skip
def test_what_cannot_be_assigned_privately_is_computed_by_the_graph_and_refused_by_compile(function, said):
    model = Assigns(function).eval()
    gm = ar.transform(model, example_inputs=X)
    assert torch.equal(gm(X), model(X))
    with pytest.raises(CompileError, match=said):
        lowered(gm, X)
