"""Networks of several inputs, all of them the client's: each has its range and its message, and no round more."""

import re

import numpy as np
import pytest
import torch
from networks import images
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import CalibrationError, CompileError, FormatError, MissingDependency
from autorep_fx.graph.several import Inputs, rows
from autorep_fx.secure.cost.cost import plan_cost
from autorep_fx.secure.crypten.compat import load_crypten
from autorep_fx.secure.files import load_published, load_served
from autorep_fx.secure.host.threads import run
from autorep_fx.secure.makers.table import DEALT, PAIRED
from autorep_fx.secure.plan.input_ranges import range_of
from autorep_fx.secure.plan.simulate import expected
from autorep_fx.secure.program.plaintext import execute
from autorep_fx.secure.rates import Rates


class Siamese(nn.Module):
    """How far two pictures are apart, by the absolute differences of their embeddings."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 8))
        self.last = nn.Linear(8, 2)

    def forward(self, mine, yours):
        return self.last((self.embed(mine) - self.embed(yours)).abs())


class Patient(nn.Module):
    """A picture, a row of features in units of their own, and a number."""

    def __init__(self):
        super().__init__()
        self.see, self.read, self.last = nn.Conv2d(3, 4, 3, stride=2), nn.Linear(5, 6), nn.Linear(43, 3)

    def forward(self, picture, features, age):
        seen = torch.relu(self.see(picture)).flatten(1)
        return self.last(torch.cat([seen, torch.relu(self.read(features)), 0.1 * age], 1)).softmax(1)


def pairs(n=16):
    return images(n), 3 * images(n, seed=2)


def patients(n=16):
    units = torch.tensor([1.0, 10.0, 0.1, 3.0, 5.0])
    draw = torch.Generator().manual_seed(3)
    return images(n), units * torch.randn(n, 5, generator=draw), 40 + 10 * torch.randn(n, 1, generator=draw)


CASES = {"siamese": (Siamese, pairs), "patient": (Patient, patients)}


def made(name, **options):
    model, data = CASES[name]
    torch.manual_seed(0)
    net, x = model().eval(), data(80)
    return net, ar.compile(ar.transform(net, example_inputs=data(2)), x, progress=False, **options), data


@pytest.fixture(scope="module")
def siamese():
    return made("siamese")


@pytest.fixture(scope="module")
def patient():
    return made("patient")


@pytest.fixture(params=CASES)
def case(request):
    return request.getfixturevalue(request.param)


def test_a_program_has_the_names_and_shapes_of_forward(siamese, patient):
    public = patient[1].public
    assert public.inputs == {"picture": (3, 8, 8), "features": (5,), "age": (1,)}
    assert [step.name for step in patient[1].plan().inputs] == [*public.inputs]
    assert "Nx3x8x8, Nx5, Nx1 -> Nx3" in repr(patient[1]) and "Nx3x8x8, Nx3x8x8 -> Nx2" in repr(siamese[1].plan())
    for text in (str(patient[1]), str(patient[1].plan())):
        assert all(re.search(rf"^{name} +input", text, re.M) for name in public.inputs)


def test_the_program_computes_what_the_model_does(case):
    net, program, data = case
    x = data(3)
    exact = execute(program, rows(Inputs(x)))
    assert program.public.sample_shape == tuple(rows(Inputs(x)).shape[1:])
    wanted = net(*x)
    found = exact.softmax(1) if len(x) == 3 else exact
    torch.testing.assert_close(found, wanted.double(), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("maker", "comparison"), [(DEALT, "fss"), (DEALT, "gmw"), (PAIRED, "gmw")])
def test_runs_are_within_the_bound_and_cost_what_is_declared(case, maker, comparison):
    held_and_declared(case, maker, comparison)


def test_a_checked_program_of_several_inputs_is_the_same():
    held_and_declared(made("siamese", checked=True, max_error=0.2), DEALT, "fss")


def held_and_declared(case, maker, comparison):
    _, program, data = case
    plan, numbers = program.native
    plan, values = plan.with_comparison(comparison), rows(Inputs(data(2))).double().numpy()
    result = run(plan, numbers, values, maker=maker)[0]
    model = expected(plan, numbers, values, nearest=maker is not DEALT)
    assert np.all(np.abs(result.output - model.output) <= model.bound)
    cost = plan_cost(plan, batch=2, rates=Rates(), maker=maker)
    for phase in ("offline", "online"):
        assert getattr(cost, phase) == {p: c.total_bytes for p, c in getattr(result, phase).items() if c.total_bytes}
    assert cost.rounds == max(count.depth for count in result.online.values())


def test_another_input_is_no_other_round():
    torch.manual_seed(0)
    one = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2)).eval()

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = one

        def forward(self, a, b):
            return self.net(torch.cat([a, b], 1))

    x = torch.randn(32, 6)
    plans = [ar.compile(ar.transform(net.eval()), given, progress=False).cost()
             for net, given in ((one, x), (Two(), (x[:, :2], x[:, 2:])))]  # fmt: skip
    assert plans[0].rounds == plans[1].rounds


def test_each_input_has_its_own_range_and_only_its_own(patient):
    _, program, data = patient
    picture, features, age = data(2)
    ranges = range_of(program.plan())
    assert ranges.of("age").low > 0 and ranges.of("features").high[1] > 5 * ranges.of("features").high[0]
    with pytest.raises(ValueError, match="'age' holds 2 values beyond the range"):
        program.run(picture, features, -age)
    with pytest.raises(ValueError, match="'features' holds 2 values beyond the range .* position 2"):
        program.run(picture, features + torch.tensor([0, 0, 5.0, 0, 0]), age)
    found = program.headroom(picture, features, age)
    assert found.fits and {use.step for use in found.uses if use.room == "range"} == {"picture", "features", "age"}


def test_ranges_may_be_given_for_all_or_by_name():
    torch.manual_seed(0)
    gm, x = ar.transform(Siamese().eval(), example_inputs=pairs(2)), pairs(32)
    by_name = range_of(ar.compile(gm, x, input_range={"yours": (-20, [20, 21, 22])}).plan())
    assert by_name.of("yours").high.tolist() == [20, 21, 22] and by_name.of("mine").high.max() < 10
    worst = range_of(ar.compile(gm, x, input_range=(-20, 20), ranges="worst", max_error=1).plan())
    assert all(worst.of(name).low.tolist() == [-20] * 3 for name in ("mine", "yours"))
    with pytest.raises(ValueError, match="input_range names 'hers', and the model's inputs are mine, yours"):
        ar.compile(gm, x, input_range={"hers": (-1, 1)})
    with pytest.raises(ValueError, match="'yours' of example_inputs holds"):
        ar.compile(gm, x, input_range=(-6, 6))


@pytest.mark.parametrize("backend", ["native", "crypten"])
def test_a_private_run_in_processes(backend, patient, tmp_path, forked):
    if backend == "crypten":
        try:
            load_crypten()
        except MissingDependency as missing:
            pytest.skip(str(missing))
    net, program, data = patient
    program.save(tmp_path)
    found = ar.SecureProgram.load(tmp_path).run(*data(2), backend=backend)
    torch.testing.assert_close(found.output, net(*data(2)), rtol=0, atol=0.01)
    if backend == "native":
        with program.session(dealer=False) as session:
            torch.testing.assert_close(session.run(*data(2)).output, net(*data(2)), rtol=0, atol=0.01)


def test_programs_of_several_inputs_on_disk(siamese, patient, tmp_path):
    for name, (_, program, _) in (("siamese", siamese), ("patient", patient)):
        program.save(tmp_path / name)
        read = ar.SecureProgram.load(tmp_path / name)
        assert read.public.inputs == program.public.inputs and read.native[0].digest() == program.native[0].digest()
        assert [step.name for step in load_published(tmp_path / name).plan.inputs] == [*program.public.inputs]
        load_served(tmp_path / name)
    text = (tmp_path / "patient" / "public.json").read_text()
    assert '"input":[[3,8,8],[5],[1]]' in text
    (tmp_path / "patient" / "public.json").write_text(
        text.replace('"input":[[3,8,8],[5],[1]]', '"input":[[3,8,8],[5]]')
    )
    with pytest.raises(FormatError, match="the plan takes inputs of another shape"):
        load_published(tmp_path / "patient")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda a, b: (a,), r"takes 2 inputs \(mine, yours\), and got 1: run\(mine, yours\)"),
        (lambda a, b: (a, b, b), "takes 2 inputs .*, and got 3"),
        (lambda a, b: (a, b[:1]), "yours has 1 samples, and mine has 2"),
        (lambda a, b: (a, b[:, :2]), r"yours has shape \(2, 2, 8, 8\); this program was compiled for \(N, 3, 8, 8\)"),
        (lambda a, b: (a, b.long()), "yours must be a floating-point tensor"),
        (lambda a, b: (a, None), "yours must be a floating-point tensor"),
    ],
)
def test_what_is_asked_wrongly_names_the_input(siamese, given, message):
    _, program, data = siamese
    with pytest.raises(ValueError, match=message):
        program.run(*given(*data(2)))
    with pytest.raises(ValueError, match=message):
        program.headroom(*given(*data(2)))


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        (lambda a, b: a, r"has 1 input, and the model takes 2 inputs \(mine, yours\): give a tuple"),
        (lambda a, b: (a, b, b), "has 3 inputs, and the model takes 2 inputs"),
        (lambda a, b: (a, b[:3]), "'yours' of example_inputs has 3 samples, and 'mine' has 32"),
        (lambda a, b: (a, b.long()), "'yours' of example_inputs must be a floating-point tensor"),
        (lambda a, b: (a, b[:0]), "'yours' of example_inputs must hold at least one sample"),
        (lambda a, b: (torch.zeros(32, 3, 12, 12), torch.zeros(32, 3, 12, 12)),
         r"\(N, 3, 12, 12\) and \(N, 3, 12, 12\) are of another size than the masks.*transform it for this one"),
    ],
)  # fmt: skip
def test_examples_that_do_not_fit_the_inputs(examples, message):
    gm = ar.transform(Siamese().eval(), example_inputs=pairs(2))
    with pytest.raises(ValueError, match=message):
        ar.compile(gm, examples(*pairs(32)))
    with pytest.raises(ValueError, match="has 2 inputs, and the model takes 1 input"):
        ar.compile(ar.transform(nn.Sequential(nn.Linear(4, 4), nn.ReLU())), (torch.zeros(4, 4), torch.zeros(4, 4)))


def test_an_input_that_nobody_reads_is_named():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 2)

        def forward(self, a, b):
            return self.fc(a)

    with pytest.raises(CompileError, match="does not read its input 'b'"):
        ar.compile(ar.transform(Net().eval()), (torch.randn(8, 4), torch.randn(8, 4)))


def batches(shape):
    a, b = pairs(32)
    labels = torch.arange(32) % 2
    return {
        "a tuple": (a, b), "with labels": (a, b, labels), "batches": [(a[:16], b[:16]), (a[16:], b[16:])],
        "pairs": [((a, b), labels)], "a generator": ((a[i : i + 8], b[i : i + 8], labels[i : i + 8])
                                                     for i in range(0, 32, 8)),
    }[shape]  # fmt: skip


@pytest.mark.parametrize("shape", ["a tuple", "with labels", "batches", "pairs", "a generator"])
def test_a_budget_takes_examples_of_every_form(shape):
    torch.manual_seed(0)
    gm = ar.transform(Siamese().eval(), calibration=batches(shape), relu_budget=40)
    assert ar.relu_count(gm) == 40 and len(ar.sites(gm)) == 2
    if shape == "batches":
        found = ar.transform(Siamese().eval(), calibration=batches(shape), latency_ms=2.0, reconstruct=True)
        assert found.meta["predicted"]["latency_ms"] <= 2.0
        program = ar.compile(found, pairs(32), progress=False, max_error=1)
        assert torch.isfinite(execute(program, rows(Inputs(pairs(2))))).all()


class Sized(Siamese):
    """Its path depends on the shapes of both."""

    def forward(self, mine, yours):
        if mine.shape[-1] > 4 and yours.shape[2] == 8:
            return super().forward(mine, yours)
        return mine


def test_a_path_that_depends_on_the_shapes_of_the_inputs_is_held_for_those(tmp_path):
    torch.manual_seed(0)
    net = Sized().eval()
    for options in ({"example_inputs": pairs(2)}, {"calibration": pairs(), "relu_budget": 40}):
        gm = ar.transform(net, **options)
        with pytest.raises(ValueError, match="this graph holds for inputs"):
            gm(pairs(2)[0], torch.zeros(2, 3, 9, 9))
    ar.save(gm, tmp_path / "net.safetensors")
    again = ar.load(Sized(), tmp_path / "net.safetensors").eval()
    assert torch.equal(again(*pairs(3)), gm(*pairs(3)))
    program = ar.compile(again, pairs(32), max_error=1, progress=False)
    torch.testing.assert_close(execute(program, rows(Inputs(pairs(3)))), gm(*pairs(3)).double(), rtol=0, atol=1e-4)


def test_training_takes_pairs_of_inputs_and_labels():
    torch.manual_seed(0)
    (a, b), labels = pairs(64), torch.arange(64) % 2
    gm = ar.transform(Siamese().eval(), calibration=(a, b, labels), relu_budget=40)
    loader = [((a[i : i + 16], b[i : i + 16]), labels[i : i + 16]) for i in range(0, 64, 16)]
    history = ar.finetune(gm, loader, val_loader=loader, epochs=3, lr=1e-2, progress=False)
    assert history.loss[-1] < history.loss[0] and ar.relu_count(gm) == 40
    for wrong, message in (([(a, labels)], "model takes 2 inputs"), ([((a, b[:3]), labels)], "inputs of 64 and 3")):
        with pytest.raises(ValueError, match=message):
            ar.finetune(gm, wrong, epochs=1, progress=False)
    searched = ar.transform(Siamese().eval(), example_inputs=pairs(2))
    ar.search(searched, loader, relu_budget=30, epochs=2, progress=False)
    assert ar.relu_count(searched) == 30


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda a, b: a, "is one tensor or none, and the model takes 2 inputs"),
        (lambda a, b: [a], "batch 0 has 1 input, and the model takes 2 inputs"),
        (lambda a, b: [(a, b[:3])], "batch 0 has inputs of 16 and 3 samples"),
        (lambda a, b: [(a, b), (a, b[:, :2])], r"batch 1 input 1 has samples of shape \(2, 8, 8\)"),
        (lambda a, b: [], "is empty"),
    ],
)
def test_calibration_that_does_not_fit_the_inputs(data, message):
    with pytest.raises(CalibrationError, match=message):
        ar.transform(Siamese().eval(), calibration=data(*pairs()), relu_budget=40)


def test_a_broken_sample_of_any_input_is_left_out():
    a, b = pairs(32)
    b[5] *= 1e6
    with pytest.warns(ar.CalibrationWarning, match="1 of 32 samples"):
        gm = ar.transform(Siamese().eval(), calibration=(a, b), relu_budget=40)
    with pytest.warns(ar.CompileWarning, match=r"1 of 32 example_inputs .* \(sample 5\)"):
        program = ar.compile(gm, (a, b), max_error=1)
    assert range_of(program.plan()).of("yours").high.max() < 1e3


def test_inputs_are_clipped_each_to_its_own_range():
    torch.manual_seed(0)
    net = Siamese().eval()
    gm, x = ar.transform(net, example_inputs=pairs(2)), pairs(32)
    program = ar.compile(gm, x, clamp=True, progress=False)
    plan, numbers = program.native
    assert len(plan.inputs) == 2
    values = rows(Inputs(pairs(2))).double().numpy()
    within = range_of(plan)
    clipped = np.clip(50 * values, within.low, within.high)
    found, wanted = (run(plan, numbers, v, maker=DEALT)[0].output for v in (50 * values, clipped))
    assert np.abs(found - wanted).max() < 0.01 * np.abs(wanted).max()
