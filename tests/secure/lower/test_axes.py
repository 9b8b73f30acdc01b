"""Layers along one, two and three axes, reductions and parts of tensors, in every spelling."""

import pytest
import torch
import torch.nn.functional as F
from axes import AXES, INPUTS, of
from networks import lower
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import CompileError
from autorep_fx.secure.lower.lowered import lowered
from autorep_fx.secure.program.plaintext import execute

pytestmark = pytest.mark.filterwarnings("ignore::autorep_fx.errors.TransformWarning")


@pytest.mark.parametrize("name", AXES)
def test_it_computes_the_same_for_other_batches(name):
    model, x = AXES[name]
    gm = ar.transform(nn.Sequential(model).eval(), example_inputs=x)
    program = lowered(gm, x)
    other = torch.randn(3, *x.shape[1:])
    torch.testing.assert_close(execute(program, other), model(other).double().detach(), rtol=1e-5, atol=1e-5)


OPERATIONS = {
    "conv, 3": ["reshape", "windows", "reshape", "reshape", "windows", "reshape", "reshape", "conv2d", "reshape"],
    "conv along the first, 3": ["reshape", "conv2d", "reshape"],
    "conv and a batch norm, 3": ["reshape", "windows", "reshape", "reshape", "windows", "reshape", "reshape", "conv2d",
                                 "reshape"],
    "transposed, of whole windows, 2": ["conv2d", "reshape", "permute", "reshape"],
    "transposed and a batch norm, 2": ["pad", "conv2d", "reshape", "permute", "reshape", "pad"],
    "transposed and a batch norm, 1": ["pad", "reshape", "conv2d", "reshape", "reshape", "permute", "reshape", "pad"],
    "maximum, 1": ["reshape", "max_pool2d", "reshape"],
    "maximum, 3": ["max_pool2d", "reshape", "max_pool2d", "reshape"],
    "average, 3": ["avg_pool2d", "reshape", "avg_pool2d", "reshape"],
    "amax of channels": ["reshape", "max_pool2d", "reshape"],
    "max, values": ["reshape", "max_pool2d", "reshape"],
    "maximum of two": ["mean", "add", "hybrid", "add"],
    "mean of an ensemble": ["scale", "hybrid", "reshape", "reshape", "reshape", "cat", "mean"],
    "there and back": ["permute", "permute", "scale"],
    "unfold": ["pad", "windows", "permute", "reshape"],
    "nearest, 1": ["select"],
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_it_becomes(name):
    program, _ = lower(*AXES[name], max_error=1e9)
    assert [step.op for step in program.steps] == OPERATIONS[name]


def test_windows_are_averaged_by_one_division():
    """Of three axes the second pooling divides by all: a factor each would be rounded twice."""
    program, _ = lower(nn.AvgPool3d(3), INPUTS[3][:, :, :6, :6, :6], max_error=1e9)
    assert [step.attrs["divisor"] for step in program.steps if step.op == "avg_pool2d"] == [1, 27]


REFUSED = {
    "places of a maximum": (lambda x: F.avg_pool2d(x.max(1, keepdim=True)[1].float(), 2), "return the scores"),
    "indices of a minimum": (lambda x: F.avg_pool2d(x.min(1, True).indices.float(), 2), "return the scores"),
    "a maximum over the batch": (lambda x: x.amax(0), "leave axis 0 out"),
    "a maximum over all": (lambda x: x - x.max(), "give dim"),
    "parts of the batch": (lambda x: x.split(1)[0], "splits the batch"),
    "a layer of a moved batch": (lambda x: F.avg_pool2d(x.transpose(0, 1), 2), "the batch to axis 1"),
    "a sum of a moved batch": (lambda x: x.transpose(0, 1) + 1, "the batch to axis 1"),
    "one sample": (lambda x: x.transpose(0, 1)[:, 0], "selects samples; leave axis 1"),
    "running maximum": (lambda x: x.cummax(1)[0], "x.amax"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_with_the_way_out(name):
    function, said = REFUSED[name]
    with pytest.raises(CompileError, match=said):
        gm = ar.transform(nn.Sequential(of(function)).eval(), example_inputs=INPUTS[2])
        lowered(gm, INPUTS[2])


def test_inputs_of_another_size_are_told_what_to_do():
    program, _ = lower(nn.Sequential(nn.Conv1d(3, 2, 3), nn.AdaptiveAvgPool1d(1)), INPUTS[1])
    with pytest.raises(ValueError, match=r"for \(N, 3, 14\).*bring it to that size.*or compile the model with"):
        program.run(torch.randn(2, 3, 20))
