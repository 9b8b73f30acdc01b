"""What fixed point makes of a network is looked at before anybody relies on it."""

import warnings

import pytest
import torch
from native_runs import compiled
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import CompileError, CompileWarning
from autorep_fx.secure.host.threads import run
from autorep_fx.secure.lower.lowered import lowered
from autorep_fx.secure.planner.precision import Look, measured
from autorep_fx.secure.planner.seen import seen_in_single
from autorep_fx.secure.program.plaintext import execute, off_by
from autorep_fx.secure.program.program import Program


def network(logits=1.0, inputs=1.0):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
                          nn.Flatten(), nn.Linear(512, 10)).eval()  # fmt: skip
    with torch.no_grad():
        model[0].weight /= inputs
        model[-1].weight *= logits
        model[-1].bias *= logits
    return model


@pytest.mark.parametrize("logits", [1e-6, 1.0, 1e8])
@pytest.mark.parametrize("inputs", [1e-6, 1.0, 65025.0])
def test_the_scale_of_inputs_and_outputs_is_no_matter(logits, inputs):
    x = torch.rand(32, 1, 8, 8) * inputs
    model = network(logits, inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = ar.compile(ar.transform(model, example_inputs=x), x, precision=0.002)
    assert measured(made, *made.native, x.double()).error < 0.005
    output = made.run(x[:8]).output
    assert off_by(output.double(), model.double()(x[:8].double()).detach()) < 0.005


@pytest.mark.parametrize("scale", [1e-3, 1e-6, 0.0])
@pytest.mark.parametrize("budget", [0, 200])
def test_a_nearly_dead_channel_spoils_no_other(scale, budget):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                          nn.Linear(8, 4)).eval()  # fmt: skip
    model[0].weight.data[5] *= scale
    x = torch.randn(64, 3, 12, 12)
    gm = ar.transform(model, calibration=x, relu_budget=budget).eval()
    made = ar.compile(gm, x)
    wanted = gm(x).detach()
    assert (made.run(x).output - wanted).abs().max() < 0.005 * (wanted.max() - wanted.min())


def coarse(large: float):
    """A shortcut from a value that is small to one that is large: no scale of a channel helps."""

    class Coarse(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.act, self.large, self.last = nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 2)
            self.relu = nn.ReLU()
            with torch.no_grad():
                self.large.weight.zero_()
                self.large.bias.fill_(large)

        def forward(self, x):
            y = self.act(self.first(x))
            return self.last(self.relu(self.large(y) + y) - self.large.bias)

    return Coarse().eval()


def test_what_is_off_is_told_with_the_step_and_what_is_hopeless_is_refused():
    x = torch.randn(64, 4)
    compiled = ar.transform(coarse(1e5), example_inputs=x)
    with pytest.warns(CompileWarning, match=r"fixed point is off by up to .*max_error=2.00%\), from step '\w+' on"):
        ar.compile(compiled, x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ar.compile(compiled, x, max_error=1.0)
        ar.compile(ar.transform(coarse(1e3), example_inputs=x), x)  # with more bits than are taken at first
    with pytest.raises(CompileError, match="fixed point is off .* from step 'relu' on; bring the channels"):
        ar.compile(ar.transform(coarse(1e6), example_inputs=x), x)
    for name in ("max_error", "precision"):
        with pytest.raises(ValueError, match=f"{name} must be a number, got 'high'"):
            ar.compile(compiled, x, **{name: "high"})
        with pytest.raises(ValueError, match=f"{name} must be above 0"):
            ar.compile(compiled, x, **{name: 0})


class Cancels(nn.Module):
    """A common part of all hidden values, which the last layer takes out."""

    def __init__(self, offset=300.0):
        super().__init__()
        self.first, self.last = nn.Linear(8, 16), nn.Linear(16, 4)
        with torch.no_grad():
            self.first.weight += offset
            self.last.weight -= self.last.weight.mean(1, keepdim=True)

    def forward(self, x):
        return self.last(torch.relu(self.first(x)))


def test_weights_that_cancel_have_more_bits_than_16():
    torch.manual_seed(0)
    model, x = Cancels().eval(), torch.rand(64, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = ar.compile(ar.transform(model, example_inputs=x), x)
    assert made.native[1]["first"].bits > 16
    output = run(*made.native, x[:8].double().numpy())[0].output
    assert off_by(torch.from_numpy(output), model(x[:8]).double().detach()) < 0.03


def test_a_program_is_as_exact_as_it_is_asked_to_be():
    """Wires are wider, and there are more of them, the more exact it has to be; by default classes are kept."""
    torch.manual_seed(0)
    x = torch.rand(64, 1, 8, 8)
    gm = ar.transform(network(), calibration=x, relu_budget=100).eval()
    seen = []
    for wanted in (0.05, 0.01, 0.0005, None):
        made = ar.compile(gm, x, precision=wanted)
        found = measured(made, *made.native, x.double())
        assert found.standard_error <= (wanted or 0.02)
        assert wanted or found.same_class >= 0.995 or found.standard_error <= 0.005
        seen.append([step.attrs["wire"] for step in made.base_plan.steps if "wire" in step.attrs].count(64))
    assert seen[0] <= seen[1] <= seen[2] and seen[0] < seen[2]
    with pytest.warns(CompileWarning, match="a standard error of .*precision=0.00%.*nothing more precise has room"):
        ar.compile(gm, x, precision=1e-9)


def test_classes_are_counted_by_margins_not_by_samples():
    """Two scores a sample, the same in every sample but for their order: at a small margin many would change."""
    torch.manual_seed(0)
    x = torch.rand(64, 1, 8, 8)
    gm = ar.transform(network(), example_inputs=x)
    made = ar.compile(gm, x, max_error=1.0, precision=0.02)
    look = Look(Program(made.public, made.server), None, x.double())
    output = execute(made, x)
    best = output.topk(2, 1).values
    assert torch.allclose(look.margins, best[:, 0] - best[:, 1])
    far = look.at(*made.native)
    look.margins = look.margins / 100
    near = look.at(*made.native)
    assert 0.5 < near.same_class < far.same_class <= 1 and near.standard_error == far.standard_error
    look.margins = look.margins * 1e4
    assert look.at(*made.native).same_class == 1


@pytest.mark.parametrize("logits, inputs, frac_bits, outcome", [
    (1e-6, 1.0, 16, "off by"),
    (1.0, 65025.0, 16, "off by"),
    (1e8, 1.0, 16, "wrap around"),
    (1.0, 1.0, 24, "wrap around"),
    (1.0, 1.0, 16, None),
])  # fmt: skip
def test_crypten_s_one_format_is_looked_at_before_a_run(logits, inputs, frac_bits, outcome, monkeypatch):
    monkeypatch.setattr("autorep_fx.secure.crypten.launch.load_crypten", lambda: pytest.skip("starts"))
    x = torch.rand(64, 1, 8, 8) * inputs
    made = ar.compile(ar.transform(network(logits, inputs), example_inputs=x), x, frac_bits=frac_bits)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            made.run(x, backend="crypten")
        except pytest.skip.Exception:
            told = " ".join(str(w.message) for w in said)
        except CompileError as error:
            told = str(error)
    assert (outcome in told and f"frac_bits={frac_bits}" in told) if outcome else not told


def test_what_the_native_runtime_cannot_run_is_said_when_compiling():
    x = torch.randn(16, 3, 8, 8)
    gm = ar.transform(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)), calibration=x,
                      degree=3, relu_budget=0)  # fmt: skip
    with pytest.warns(CompileWarning, match="backend='native' cannot run this program.*degree 3"):
        made = ar.compile(gm, x)
    for use in (lambda: made.run(x), lambda: made.plan(), lambda: made.cost(), lambda: made.session()):
        with pytest.raises(CompileError, match="polynomials of degree 3"):
            use()


def test_one_broken_example_costs_no_precision_and_is_named():
    x = torch.rand(128, 1, 8, 8)
    x[7, 0, 4, 4] = 255.0
    model = network()
    with pytest.warns(CompileWarning, match=r"1 of 128 example_inputs are far out .*\(sample 7\).*input_range="):
        made = ar.compile(ar.transform(model, example_inputs=x), x)
    assert measured(made, *made.native, x[:7].double()).error < 0.005
    with pytest.raises(ValueError, match="255 in sample 7"):
        made.run(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CompileWarning)
        wide = ar.compile(ar.transform(model, example_inputs=x), x, input_range=(0.0, 255.0), max_error=1.0)
    assert (wide.run(x[6:9]).output - model(x[6:9])).abs().max() < 0.02 * model(x[6:9]).abs().max()


@pytest.mark.parametrize("scale", [1.0, 100.0, 1e6])
def test_the_slope_of_a_leaky_relu_beside_squares_is_as_exact_at_any_scale(scale):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.2), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 3))
    x = torch.randn(32, 3, 8, 8) * scale
    gm = ar.transform(net.eval(), calibration=x, relu_budget=72)
    made = ar.compile(gm, x, precision=0.002)
    assert measured(made, *made.native, x.double()).error < 0.01


def test_examples_that_are_all_equal_are_no_reason_to_refuse():
    x = torch.randn(1, 7).repeat(5, 1)
    net = nn.Sequential(nn.Linear(7, 9), nn.ReLU(), nn.Linear(9, 4)).eval()
    made = ar.compile(ar.transform(net, example_inputs=x), x)
    assert off_by(made.run(x).output, net(x).detach()) < 0.01
    assert off_by(torch.zeros(3, 2), torch.zeros(3, 2)) == 0


def test_where_a_glance_takes_all_examples_in_they_are_walked_once(monkeypatch):
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    x = torch.randn(4, 4)
    program = compiled(model, x)
    look = Look(program, None, x.double(), x[:2].double(), centers=True)
    walks, walked = [], Look._walked
    monkeypatch.setattr(Look, "_walked", lambda self, *given: walks.append(given[3]) or walked(self, *given))
    glanced = look.glanced(*program.native)
    numbers, found = look.centered(*program.native)
    assert found == glanced and numbers.keys() == program.native[1].keys() and walks == [6]


def test_float32_is_trusted_by_the_example_on_which_values_are_largest():
    torch.manual_seed(0)
    x = torch.rand(16, 8).double()
    x[:2] = 0  # where any arithmetic is right
    program = lowered(ar.transform(Cancels(1e6), example_inputs=x.float()), x.float())
    look = Look(program, None, x, asked=0.02, known=seen_in_single(program, x))
    assert not look.single
    exact = execute(program, look.x)
    assert off_by(look.truth, exact) < 1e-6 and off_by(seen_in_single(program, look.x).output.double(), exact) > 1e-3
