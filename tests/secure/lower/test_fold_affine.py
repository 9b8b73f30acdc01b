"""Channel factors that go into the layer before them."""

import pytest
import torch
import torch.nn.functional as F
from networks import images
from torch import nn

import autorep_fx as ar
from autorep_fx.secure.lower.lowered import lowered
from autorep_fx.secure.program.plaintext import execute


class Written(nn.Module):
    """A convolution that is a function, as ports of TensorFlow's padding have it, and a batch norm behind it."""

    def __init__(self, bias=True, both=False):
        super().__init__()
        self.conv, self.norm, self.both = nn.Conv2d(3, 4, 3, bias=bias), nn.BatchNorm2d(4), both
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)
        self.norm.running_mean.normal_()
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x):
        y = F.conv2d(F.pad(x, (0, 1, 0, 1)), self.conv.weight, self.conv.bias, (2, 2))
        z = self.norm(y).relu()
        return (z + y if self.both else z).mean((2, 3))


@pytest.mark.parametrize("bias", [True, False])
def test_a_batch_norm_behind_a_function_costs_no_step(bias):
    torch.manual_seed(0)
    net = Written(bias).double().eval()
    program = lowered(ar.transform(net, example_inputs=images().double()), images().double())
    assert [step.op for step in program.steps] == ["pad", "conv2d", "hybrid", "mean"]
    torch.testing.assert_close(execute(program, images()), net(images().double()).detach(), rtol=1e-12, atol=1e-12)
    keys = {key for step in program.steps for key in step.secrets.values()}
    assert keys == set(program.server) == set(program.public.secret_shapes)


def test_not_where_something_else_reads_the_layer():
    torch.manual_seed(0)
    net = Written(both=True).double().eval()
    program = lowered(ar.transform(net, example_inputs=images().double()), images().double())
    assert "affine" in [step.op for step in program.steps]
    torch.testing.assert_close(execute(program, images()), net(images().double()).detach(), rtol=1e-12, atol=1e-12)


def test_not_where_the_layer_works_along_another_axis():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm2d(3), nn.ReLU()).double().eval()
    nn.init.normal_(net[1].weight)
    program = lowered(ar.transform(net, example_inputs=images().double()), images().double())
    assert "affine" in [step.op for step in program.steps]
    torch.testing.assert_close(execute(program, images()), net(images().double()).detach(), rtol=1e-12, atol=1e-12)
