"""What forward() computes and does not return has no sites, no part in a budget and none in a private run."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import CompileError
from autorep_fx.graph.canonicalize import Canonicalize
from autorep_fx.graph.trace import trace
from autorep_fx.graph.unread import read
from autorep_fx.hybrid.activation import hybridize
from autorep_fx.secure.program.plaintext import execute


class Beside(nn.Module):
    """A second head that is computed, with an activation, a norm and dropout of its own."""

    def __init__(self, returned_in_training=False):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten())
        self.head, self.drop = nn.Linear(288, 3), nn.Dropout(0.5)
        self.beside = nn.Sequential(nn.Linear(288, 4), nn.BatchNorm1d(4), nn.ReLU(inplace=True), nn.Dropout(0.5))
        self.last, self.returned = nn.Linear(4, 2), returned_in_training

    def forward(self, x):
        x = self.body(x)
        beside = self.last(self.beside(x)).exp()
        out = self.head(self.drop(x))
        return (out, beside) if self.returned and self.training else out


def x_of(n=8):
    return torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(n))


@pytest.mark.filterwarnings("error::autorep_fx.errors.TransformWarning")
@pytest.mark.parametrize("returned", [False, True])
def test_it_has_no_sites_and_training_goes_on_with_it(returned):
    model = Beside(returned).train()
    gm = ar.transform(model, calibration=x_of(64), relu_budget=100)
    assert [*ar.sites(gm)] == ["body.1"] and ar.relu_count(gm) == 100
    plain = ar.transform(model)
    for each in (model, plain):
        torch.manual_seed(1)
        each.output = each(x_of())
    assert model.output[0].equal(plain.output[0]) if returned else model.output.equal(plain.output)
    assert torch.equal(model.beside[1].running_var, plain.state_dict()["beside.1.running_var"])


@pytest.mark.parametrize("returned", [False, True])
def test_a_private_run_is_as_without_it(returned):
    model = Beside(returned).eval()
    program = ar.compile(ar.transform(model, calibration=x_of(64), relu_budget=288), x_of(32))
    assert [step.op for step in program.steps] == ["conv2d", "hybrid", "reshape", "linear"]
    torch.testing.assert_close(program.run(x_of(2)).output, model(x_of(2)), rtol=0, atol=0.02)


@pytest.mark.parametrize("limit", [{"latency_ms": 30.0}, {"offline_mb": 0.5}])
def test_limits_are_met_without_it(limit):
    gm = ar.transform(Beside().eval(), calibration=x_of(64), **limit)
    assert [*ar.sites(gm)] == ["body.1"] and gm.meta["predicted"]


def test_a_file_in_which_it_has_sites_is_still_read(tmp_path):
    model = Beside().eval()
    old = ar.transform(model, example_inputs=x_of())
    earlier = hybridize(Canonicalize()(trace(model)), named=["beside.2"])
    ar.save(earlier, tmp_path / "earlier.safetensors")
    again = ar.load(model, tmp_path / "earlier.safetensors")
    assert [*ar.sites(again)] == ["body.1", "beside.2"] and torch.equal(again(x_of()), old(x_of()))


class Writes(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function
        self.register_buffer("seen", torch.zeros(3, 1, 1))

    def forward(self, x):
        return self.function(self, x * 2)


def _count(self, x):
    self.seen.add_(x.mean((0, 2, 3))[:, None, None])
    return x + 1


def _count_and_use(self, x):
    shift = self.seen * 1
    self.seen.copy_(shift + x.mean((0, 2, 3))[:, None, None])
    return x + shift


def _through_a_view(self, x):
    x[:, 1].add_(1)
    return x + 1


def _through_a_view_that_nobody_reads(self, x):
    y = x + 1
    y[:, 1].add_(1)
    return x


def _into_a_part(self, x):
    y = x[:, :2]
    y = y.add_(1)
    return torch.cat([y, x[:, 2:]], 1)


def _into_a_part_that_is_read(self, x):
    y = x[:, :2]
    y = y.add_(1)
    return torch.cat([y, x[:, 1:]], 1)


@pytest.mark.parametrize("function", [_count, _through_a_view_that_nobody_reads, _into_a_part])
def test_what_is_written_and_not_read_later_does_not_matter(function):
    model = Writes(function).eval()
    program = ar.compile(ar.transform(model, example_inputs=x_of()), x_of(16))
    torch.testing.assert_close(execute(program, x_of(2)), model(x_of(2)).double(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("function, message", [
    (_count_and_use, "'mul_1' is another one in every run"),
    (_through_a_view, "'mul', which 'add' reads later"),
    (_into_a_part_that_is_read, "'getitem_1', which 'cat' reads later"),
])  # fmt: skip
def test_what_is_written_and_read_later_by_another_name_is_refused(function, message):
    with pytest.raises(CompileError, match=message):
        ar.compile(ar.transform(Writes(function).eval(), example_inputs=x_of()), x_of(16))


def test_what_another_package_does_counts_always():
    gm = trace(nn.Sequential(nn.ReLU(), nn.ReLU()))
    x = next(iter(gm.graph.nodes))
    with gm.graph.inserting_after(x):
        noted = gm.graph.call_function(_note, (x,))
        beside = gm.graph.call_function(F.relu, (x,))
    assert noted in read(gm) and beside not in read(gm)


def _note(x):
    return x
