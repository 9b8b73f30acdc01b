import pytest
import torch
import torch.nn.functional as F
from networks import images, replace
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import CompileError
from autorep_fx.secure.lower.lowered import lowered
from autorep_fx.secure.planner.equalize import equalized
from autorep_fx.secure.planner.precision import measured
from autorep_fx.secure.planner.ranges import by_channel, calibrated
from autorep_fx.secure.program.plaintext import execute, values


def uneven(layer, spread=1e5):
    """Channels of one output scale after another, by powers of ten."""
    scale = torch.logspace(0, -5, layer.weight.shape[0]) if spread else 1
    with torch.no_grad():
        layer.weight.mul_(scale.view(-1, *(1,) * (layer.weight.dim() - 1)))
        layer.bias.mul_(scale)
    return layer


class Depthwise(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = uneven(nn.Conv2d(3, 6, 1)), nn.Conv2d(6, 12, 3, groups=6), nn.Conv2d(12, 2, 1)

    def forward(self, x):
        return self.c(F.relu(self.b(F.relu(self.a(x)))))


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.norm, self.fc = uneven(nn.Conv2d(3, 6, 3)), nn.BatchNorm2d(6), nn.Linear(6, 2)

    def forward(self, x):
        y = F.relu(self.a(x))
        return self.fc(self.norm(y).mean((2, 3)))


CHAINS = {
    "conv": nn.Sequential(uneven(nn.Conv2d(3, 6, 3)), nn.ReLU(), nn.Conv2d(6, 4, 3)),
    "pools": nn.Sequential(uneven(nn.Conv2d(3, 6, 3)), nn.ReLU(), nn.MaxPool2d(2), nn.AvgPool2d(2), nn.Conv2d(6, 4, 1)),
    "flatten": nn.Sequential(uneven(nn.Conv2d(3, 6, 3)), nn.LeakyReLU(0.1), nn.Flatten(), nn.Linear(216, 4)),
    "linear": nn.Sequential(nn.Flatten(), uneven(nn.Linear(192, 6)), nn.ReLU(), nn.Linear(6, 4)),
    "depthwise": Depthwise(),
    "normed": Normed(),
}


@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", CHAINS)
def test_the_function_stays_and_channels_come_near_one_another(name, fraction):
    x = images(8)
    gm = replace(ar.transform(CHAINS[name].eval(), example_inputs=x), fraction)
    program = lowered(gm, x)
    reach = calibrated(program, x)
    better, after = equalized(program, reach)
    assert torch.equal(execute(better, x), execute(program, x)), "powers of two are exact"
    layer = next(step.inputs[0] for step in program.steps if step.op == "hybrid")
    assert reach[layer].max() / reach[layer].min() > 1e4 > 1e3 > after[layer].max() / after[layer].min()
    for step, value in values(better, x).items():
        assert (by_channel(value) <= after[step] * (1 + 1e-9)).all()


def test_a_shortcut_is_left_alone():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = uneven(nn.Conv2d(3, 6, 3, padding=1)), nn.Conv2d(6, 6, 3, padding=1)

        def forward(self, x):
            y = F.relu(self.a(x))
            return self.b(y) + y

    x = images(8)
    program = lowered(ar.transform(Residual().eval(), example_inputs=x), x)
    better, _ = equalized(program, calibrated(program, x))
    assert all(torch.equal(better.server[key], program.server[key]) for key in program.server)


def test_a_kept_relu6_is_left_alone_and_a_replaced_one_is_not():
    x = images(8)
    model = nn.Sequential(uneven(nn.Conv2d(3, 6, 3)), nn.ReLU6(), nn.Conv2d(6, 4, 3)).eval()
    for fraction, moved in ((0.0, False), (1.0, True)):
        program = lowered(replace(ar.transform(model, example_inputs=x), fraction), x)
        better, _ = equalized(program, calibrated(program, x))
        assert any(not torch.equal(better.server[k], program.server[k]) for k in program.server) == moved


@pytest.mark.parametrize("budget", [None, 0, 500])
@pytest.mark.parametrize("spread", [1.0, 1e-4, 1e-6])
def test_channels_that_differ_by_much_cost_no_precision(budget, spread):
    torch.manual_seed(0)
    x = torch.rand(32, 3, 10, 10)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8),
                          nn.ReLU(), nn.Flatten(), nn.Linear(288, 4)).eval()  # fmt: skip
    with torch.no_grad():
        scale = torch.logspace(0, torch.log10(torch.tensor(spread)).item(), 8)
        model[1].weight *= scale
        model[1].bias *= scale
        model[3].weight /= scale.view(1, -1, 1, 1)
    made = ar.compile(ar.transform(model, calibration=x, relu_budget=budget), x, precision=0.005)
    assert measured(made, *made.native, x.double()).error < 0.01


class OneAxis(nn.Module):
    """Over (N, C, L), torch's pooling takes C for an image's height: channels mix."""

    def __init__(self, pool):
        super().__init__()
        self.a, self.pool, self.b = nn.BatchNorm1d(4), pool, nn.BatchNorm1d(4)
        self.a.weight.data = torch.tensor([1.0, 100.0, 0.01, 10.0])

    def forward(self, x):
        return self.b(self.pool(F.relu(self.a(x))))


class Flat(nn.Module):
    """A batch norm of elements, not of channels."""

    def __init__(self):
        super().__init__()
        self.a, self.norm, self.fc = uneven(nn.Conv2d(3, 4, 3)), nn.BatchNorm1d(144), nn.Linear(144, 3)

    def forward(self, x):
        return self.fc(self.norm(F.relu(self.a(x)).flatten(1)))


@pytest.mark.parametrize("model, x", [
    (OneAxis(nn.AvgPool2d(3, 1, 1)), torch.randn(16, 4, 8)),
    (OneAxis(nn.MaxPool2d(3, 1, 1)), torch.randn(16, 4, 8)),
    (Flat(), images(16)),
])  # fmt: skip
def test_what_mixes_channels_is_no_part_of_a_chain(model, x):
    program = lowered(ar.transform(model.eval(), example_inputs=x), x)
    better, _ = equalized(program, calibrated(program, x))
    assert torch.equal(execute(better, x), execute(program, x))


def test_a_program_whose_function_changed_would_be_refused(monkeypatch):
    """Precision is held against what was lowered, before any scaling."""
    x = torch.randn(16, 4, 8)
    monkeypatch.setattr("autorep_fx.secure.planner.equalize.keeps_channels", lambda step, before: True)
    with pytest.raises(CompileError, match="fixed point is off"):
        ar.compile(ar.transform(OneAxis(nn.AvgPool2d(3, 1, 1)).eval(), example_inputs=x), x)
