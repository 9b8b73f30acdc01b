"""Paths that depend on the shape of the input alone are traced for the shape of an example."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import TraceError
from autorep_fx.graph.concrete import shape_held
from autorep_fx.graph.trace import trace


class SamePadded(nn.Conv2d):
    def forward(self, x):
        h, w = x.shape[-2:]
        if h < 4 or w < 4:
            raise ValueError("too small")
        pads = [max((math.ceil(n / s) - 1) * s + k - n, 0) for n, s, k in zip((h, w), self.stride, self.kernel_size)]
        x = F.pad(x, [pads[1] // 2, pads[1] - pads[1] // 2, pads[0] // 2, pads[0] - pads[0] // 2])
        return F.conv2d(x, self.weight, self.bias, self.stride)


class Dropping(nn.Module):
    """Random numbers for each sample, and a reshape that keeps the batch."""

    def forward(self, x):
        if x.size(2) % 2 and x.dim() == 4:
            x = F.pad(x, (0, 1, 0, 1))
        if self.training:
            x = x * torch.rand([x.shape[0], 1, 1, 1], dtype=x.dtype).add(0.5).floor()
        return x.reshape(len(x), -1, 2, *x.shape[2:]).flatten(1, 2)


def network():
    return nn.Sequential(SamePadded(3, 4, 3, 2), nn.ReLU(), nn.Dropout(0.2), Dropping(), nn.BatchNorm2d(4), nn.SiLU(),
                         nn.Flatten(), nn.Linear(144, 3))  # fmt: skip


def x_of(n, size=9):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(n))


def test_it_computes_the_same_for_batches_of_any_size():
    model = network()
    state = torch.get_rng_state()
    gm = ar.transform(model, example_inputs=x_of(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert len(ar.sites(gm)) == 2 and shape_held(gm) == (3, 9, 9)
    for training in (True, False):
        for n in (1, 2, 5) if not training else (2, 5):
            outputs = []
            for each in (model.train(training), gm.train(training)):
                torch.manual_seed(1)
                outputs.append(each(x_of(n)))
            assert torch.equal(*outputs)
    assert torch.equal(model[4].running_var, gm.get_submodule("4").running_var)


def test_another_shape_is_refused():
    gm = ar.transform(network().eval(), calibration=x_of(64), relu_budget=10)
    with pytest.raises(ValueError, match=r"holds for inputs \(N, 3, 9, 9\).*got \(2, 3, 10, 10\)"):
        gm(x_of(2, 10))


def test_without_an_example_it_says_what_to_give():
    with pytest.raises(TraceError, match=r"test_concrete.py:\d+.*give example_inputs"):
        ar.transform(network())


def test_what_depends_on_the_batch_or_on_data_is_refused():
    class Batch(nn.Module):
        def forward(self, x):
            turned = x.transpose(0, 1)
            return F.relu(turned.reshape(x.shape[1], turned.shape[1], -1)) if x.shape[2] > 1 else x

    class Data(nn.Module):
        def forward(self, x):
            return F.relu(x) if x.shape[2] > 1 and x.sum() > 0 else x

    with pytest.raises(TraceError, match="size of the batch"):
        ar.transform(Batch(), example_inputs=x_of(4))
    with pytest.raises(TraceError, match="cannot be traced"):
        ar.transform(Data(), example_inputs=x_of(4))


def test_it_is_saved_loaded_and_run_between_two_parties(tmp_path):
    model = network().eval()
    gm = ar.transform(model, example_inputs=x_of(2))
    ar.save(gm, tmp_path / "model.safetensors")
    again = ar.load(copy.deepcopy(model), tmp_path / "model.safetensors")
    assert shape_held(again) == (3, 9, 9) and torch.equal(again.eval()(x_of(3)), model(x_of(3)))
    program = ar.compile(gm, x_of(16))
    torch.testing.assert_close(program.run(x_of(3)).output, model(x_of(3)), rtol=0, atol=0.02, check_dtype=False)


class Parts(nn.Module):
    """Loops over parts of the channels, and a count of them."""

    def __init__(self, parts):
        super().__init__()
        self.parts, self.convs = parts, nn.ModuleList(nn.Conv2d(1, 2, k, padding=k // 2) for k in (1, 3, 5))

    def forward(self, x):
        parts = list(self.parts(x))
        found = [F.relu(conv(part)) for conv, part in zip(self.convs, self.parts(x))]
        found[0] = found[0] + parts[len(parts) - 1]
        return torch.cat([*found, *parts], 1)


@pytest.mark.parametrize("parts", [
    lambda x: x.split(1, 1), lambda x: torch.split(x, [1, 1, 1], dim=1), lambda x: x.chunk(3, 1),
    lambda x: torch.tensor_split(x, 3, 1), lambda x: x.unsqueeze(2).unbind(1), lambda x: x.split(1, 1)[:3],
    lambda x: x.unsqueeze(2).transpose(0, 1),
], ids=["split", "sizes", "chunk", "tensor_split", "unbind", "slice", "tensor"])  # fmt: skip
def test_a_loop_over_parts_is_traced_with_an_example(parts):
    model = Parts(parts).eval()
    with pytest.raises(TraceError, match="give example_inputs"):
        ar.transform(model)
    gm = ar.transform(model, example_inputs=x_of(2))
    assert len(ar.sites(gm)) == 3
    for n in (1, 4):
        assert torch.equal(gm(x_of(n)), model(x_of(n)))
    program = ar.compile(gm, x_of(16))
    torch.testing.assert_close(program.run(x_of(3)).output, model(x_of(3)), rtol=0, atol=0.05, check_dtype=False)


def test_how_many_parts_there_are_is_known_of_an_example_alone():
    class Count(nn.Module):
        def forward(self, x):
            return F.relu(x) * len(x.chunk(2, 1))

    with pytest.raises(TraceError, match="how many parts 'chunk' has depends on the shape.*give example_inputs"):
        ar.transform(Count())
    assert torch.equal(ar.transform(Count(), example_inputs=x_of(2))(x_of(3)), F.relu(x_of(3)) * 2)


class Looking(nn.Module):
    """As converters write it: a reshape's target in a buffer, and a division that asks for the type."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.register_buffer("shape", torch.tensor([0, 4, -1]))

    def forward(self, x):
        x = self.conv(x)
        x = x / 6 if torch.is_floating_point(x) and x.is_floating_point() else x // 6
        shape = self.shape
        if torch.any(shape == 0):
            shape = [x.shape[i] if s == 0 else int(s) for i, s in enumerate(shape)]
        return x.reshape(torch.Size(shape))


def test_types_and_buffers_of_integers_are_known_with_an_example():
    model = Looking()
    gm = ar.transform(model, example_inputs=x_of(2))
    for n in (1, 5):
        assert torch.equal(gm(x_of(n)), model(x_of(n)))
    assert not any(node.target in ("shape", torch.any) for node in gm.graph.nodes)


class Deciding(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("steps", torch.tensor(0))

    def forward(self, x):
        return F.relu(x) if self.scale > 0 else x


class Counting(Deciding):
    def forward(self, x):
        if self.steps < 3:
            x = F.relu(x)
        self.steps += 1
        return x


def test_a_path_by_a_weight_or_a_buffer_that_changes_is_refused():
    with pytest.raises(TraceError, match="control flow"):
        ar.transform(Deciding(), example_inputs=x_of(2))
    with pytest.raises(TraceError, match="looks at the buffer 'steps' to choose its path, and changes it"):
        ar.transform(Counting(), example_inputs=x_of(2))


def test_a_path_that_asks_for_the_kind_of_device_is_traced_and_the_device_stays_open():
    class Asks(nn.Module):
        def forward(self, x):
            y = torch.zeros(x.shape[1], device=x.device)
            return F.relu(x + y) if x.device.type != "meta" else x

    x = torch.randn(2, 3)
    gm = trace(Asks(), lambda: x)
    assert torch.equal(gm(x), F.relu(x))
    zeros = next(node for node in gm.graph.nodes if node.target is torch.zeros)
    assert zeros.kwargs["device"].args[1] == "device"
    assert sum(node.target is getattr for node in gm.graph.nodes) == 1  # what the path alone asked for is gone
