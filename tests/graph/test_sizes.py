"""Sizes of the input wherever torch wants numbers: the graph takes them from its own input."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import TraceError

#: Functions of the input that take sizes one by one, in a tuple, in a list, by name, and computed with.
SPELLINGS = {
    "zeros, one by one": lambda x: torch.zeros(x.size(0), 8, x.size(2) // 2),
    "zeros, only the batch": lambda x: torch.zeros(x.size(0), 8),
    "zeros, in a list": lambda x: torch.zeros([x.size(0), 8], dtype=x.dtype, device=x.device),
    "zeros, a shape": lambda x: torch.zeros(x.shape) + torch.zeros(x.size()),
    "ones, by name": lambda x: torch.ones(size=(len(x), 8)),
    "full": lambda x: torch.full((x.size(0), 8), 2.0) + torch.full((8,), x.size(2)),
    "empty": lambda x: torch.empty(x.size(0), 4).fill_(1),
    "random": lambda x: torch.rand(x.size(0), 4) + torch.randn(x.size(0), 4),
    "a range": lambda x: torch.arange(x.size(2)) + torch.arange(0, 2 * x.size(2), 2),
    "a range, by name": lambda x: torch.arange(start=0, end=x.size(2)),
    "from -1 to 1": lambda x: torch.linspace(-1, 1, x.size(2))[:, None] + torch.linspace(-1, 1, steps=x.size(3)),
    "a grid": lambda x: torch.stack(torch.meshgrid(torch.arange(x.size(2)), torch.arange(x.size(3)), indexing="ij")),
    "identity, triangle": lambda x: torch.eye(x.size(2)) + torch.tril(torch.ones(x.size(2), x.size(2))),
    "tensor": lambda x: torch.tensor([x.size(2), 2.0]) * torch.tensor(x.size(3)),
    "new": lambda x: x.new_zeros(x.size(0), 8) + x.new_ones((x.size(0), 1)) + x.new_full((1, 8), x.size(2)),
    "expand": lambda x: x.mean(1, keepdim=True).expand(x.size(0), 8, -1, -1),
    "expand a constant": lambda x: torch.ones(1, 3, 1, 1).expand(x.size(0), -1, x.size(2), -1),
    "repeat a constant": lambda x: torch.ones(1, 3).repeat(x.size(0), 2) + torch.arange(2.0).tile(x.size(0), 3),
    "view a constant": lambda x: torch.arange(48.0).view(x.size(2), x.size(3)) + torch.ones(8).reshape(x.size(2), 1),
    "numbers": lambda x: x * x.size(1) ** -0.5 * (x.size(2) / x.size(3)),
    "Size": lambda x: torch.zeros(torch.Size([x.size(0), 8])) + x.new_zeros(torch.Size((x.shape[0], 8))),
    "Size of numbers": lambda x: x.mean((1, 2, 3))[:, None] * torch.ones(torch.Size([8])) + len(torch.Size((2, 3))),
    "a part": lambda x: x[:, :, : x.size(2) // 2],
}  # fmt: skip

#: What takes a path by the shape, and so an example.
BY_SHAPE = {
    "zeros, all sizes": lambda x: torch.zeros(*x.shape) + torch.zeros((x.shape[0], 3, *x.shape[2:])),
    "zeros, some": lambda x: torch.zeros(x.size(0), int(x.size(1) * 2), x.size(2)),
    "a loop": lambda x: sum(x[:, i] for i in range(x.size(1))),
    "a number": lambda x: x * float(x.size(2)),
    "interpolate": lambda x: F.interpolate(x, size=(int(x.size(2) * 1.5), x.size(3))),
}


class Computes(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x), F.relu(x)


def x_of(n, *size):
    return torch.randn(n, 3, *(size or (8, 6)), generator=torch.Generator().manual_seed(n))


def check(gm, function, *inputs):
    for x in inputs:
        outputs = []
        for each in (gm, Computes(function)):
            torch.manual_seed(0)
            outputs.append(each(x)[0])
        assert outputs[0].dtype == outputs[1].dtype and torch.equal(*outputs)


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_is_traced_with_an_example_and_without(name, given):
    function = SPELLINGS[name]
    gm = ar.transform(Computes(function), example_inputs=x_of(2) if given else None)
    check(gm, function, x_of(1), x_of(5))
    if name != "view a constant":
        check(gm, function, x_of(3, 10, 4))


@pytest.mark.parametrize("name", BY_SHAPE)
def test_what_needs_numbers_is_traced_with_an_example(name):
    function = BY_SHAPE[name]
    with pytest.raises(TraceError, match="give example_inputs"):
        ar.transform(Computes(function))
    check(ar.transform(Computes(function), example_inputs=x_of(2)), function, x_of(1), x_of(5))


def test_what_needs_the_batch_as_a_number_is_told_so():
    model = Computes(lambda x: x.new_zeros(int(x.size(0) * 2)))
    with pytest.raises(TraceError, match="the size of the batch stays open: keep x.shape"):
        ar.transform(model, example_inputs=x_of(2))


def test_tracing_leaves_torch_as_it_was():
    own = "expand" in vars(torch.Tensor)
    before = torch.zeros, torch.tensor, len, torch.Tensor.expand
    ar.transform(Computes(SPELLINGS["zeros, one by one"]))
    assert before == (torch.zeros, torch.tensor, len, torch.Tensor.expand) and ("expand" in vars(torch.Tensor)) == own


class Shortcut(nn.Module):
    """As in the ResNets of CIFAR: no parameters, half of the channels are zeros."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.last = nn.Linear(16, 3)

    def forward(self, x):
        x = F.relu(self.a(x))
        p = F.avg_pool2d(x, 2)
        zeros = torch.zeros(p.size(0), 8, p.size(2), p.size(3), device=x.device)
        return self.last(F.relu(self.b(x) + torch.cat([p, zeros], 1)).mean((2, 3)))


@pytest.mark.parametrize("given", [False, True])
def test_a_shortcut_of_zeros_runs_between_two_parties(given):
    model = Shortcut().eval()
    gm = ar.transform(model, example_inputs=x_of(2, 8, 8) if given else None)
    program = ar.compile(gm, x_of(32, 8, 8))
    torch.testing.assert_close(program.run(x_of(3, 8, 8)).output, model(x_of(3, 8, 8)), rtol=0, atol=0.02)
