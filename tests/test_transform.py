"""transform() on networks in many idioms: nothing kept back, nothing changed, every promise of its docstring."""

import copy
import logging
import pickle
import re
import warnings

import pytest
import torch
from architectures import ARCHITECTURES, PlainModules, SharedActivation, build, images
from torch import nn

import autorep_fx as ar
from autorep_fx import progress
from autorep_fx.errors import BudgetError, CalibrationError, CompileWarning, TransformWarning
from autorep_fx.forms.prices import Budget

KINDS = [kind for kind, _ in ARCHITECTURES]


def _equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b)) if isinstance(a, tuple) else torch.equal(a, b)


@pytest.mark.parametrize("kind,count", ARCHITECTURES)
def test_bit_for_bit_in_both_modes(kind, count):
    model, x = build(kind), images()
    before = copy.deepcopy(model.state_dict())
    gm = ar.transform(model)
    gm.graph.lint()
    assert len(ar.sites(gm)) == count
    for training in (True, False):
        reference, hybrid = copy.deepcopy(model).train(training), copy.deepcopy(gm).train(training)
        for _ in range(2):  # the second pass sees the batch-norm statistics that the first one moved
            torch.manual_seed(5)
            expected = reference(x.clone())
            torch.manual_seed(5)
            assert _equal(expected, hybrid(x.clone()))
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert {type(m) for m in model.modules()} & {ar.HybridActivation} == set()


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_equal_the_models(kind):
    model, x = build(kind), images()
    gm = ar.transform(model)
    grads = []
    for net in (model, gm):
        torch.manual_seed(5)
        out = net(x.clone())
        (out[0] if isinstance(out, tuple) else out).square().sum().backward()
        grads.append({n.replace(".activation.", "."): p.grad for n, p in net.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys()
    assert all(torch.equal(grads[0][k], grads[1][k]) for k in grads[0])


@pytest.mark.parametrize("kind", [k for k in KINDS if k.__name__ != "ReturnsTuple"])
@pytest.mark.parametrize("granularity", ["element", "channel", "layer"])
def test_budget_is_exact(kind, granularity):
    x = images(8)
    total = ar.relu_count(ar.transform(build(kind), example_inputs=x))
    for budget in (0, 1, total // 7, total):
        gm = ar.transform(build(kind), calibration=x, relu_budget=budget, granularity=granularity)
        assert ar.relu_count(gm) == budget
        assert torch.isfinite(gm.eval()(x)).all()


def test_full_budget_still_computes_the_model():
    model, x = build(PlainModules).eval(), images()
    gm = ar.transform(model, calibration=x, relu_budget=ar.relu_count(ar.transform(model, example_inputs=x)))
    assert torch.equal(gm(x), model(x))


def test_transform_of_a_result_keeps_the_sites():
    x = images()
    once = ar.transform(build(SharedActivation), calibration=x, relu_budget=100)
    twice = ar.transform(once)
    assert list(ar.sites(twice)) == list(ar.sites(once))
    assert [(n.op, n.target) for n in twice.graph.nodes] == [(n.op, n.target) for n in once.graph.nodes]
    assert torch.equal(once.eval()(x), twice.eval()(x)) and type(twice).__name__ == "SharedActivation"
    assert ar.relu_count(ar.transform(once, calibration=x, relu_budget=200, degree=3)) == 200
    assert ar.relu_count(once) == 100


def test_calibration_forms_agree():
    model, x = build(PlainModules), images(8)
    labels = torch.arange(8)
    forms = [x, [x], (b for b in x.split(8)), [(x, labels.float())[:1]]]
    outputs = [ar.transform(model, calibration=form, relu_budget=500).eval()(x) for form in forms]
    assert all(torch.equal(outputs[0], o) for o in outputs[1:])
    pair = ar.transform(model, calibration=(x, labels), relu_budget=500)
    batches = ar.transform(model, calibration=[(x, labels)], relu_budget=500)
    assert torch.equal(pair.eval()(x), batches.eval()(x))


def test_labels_change_the_score():
    model, x = build(PlainModules), images(8)
    plain = ar.transform(model, calibration=x, relu_budget=300)
    labelled = ar.transform(model, calibration=(x, torch.arange(8)), relu_budget=300)
    assert any(not torch.equal(a.keep, b.keep) for a, b in zip(ar.sites(plain).values(), ar.sites(labelled).values()))


@pytest.fixture(scope="module")
def masked():
    return ar.transform(build(SharedActivation), calibration=images(8), relu_budget=1500).eval()


def test_deepcopy_and_pickle(masked):
    x = images()
    for twin in (copy.deepcopy(masked), pickle.loads(pickle.dumps(masked))):
        assert torch.equal(twin(x), masked(x)) and ar.relu_count(twin) == 1500


def test_state_dict_into_a_fresh_transform(masked):
    fresh = ar.transform(build(SharedActivation)).eval()
    fresh.load_state_dict(masked.state_dict())
    assert torch.equal(fresh(images()), masked(images())) and ar.relu_count(fresh) == 1500


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_torch_compile(masked, backend):
    compiled = torch.compile(copy.deepcopy(masked), backend=backend, fullgraph=True)
    torch.testing.assert_close(compiled(images()), masked(images()))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [k for k in KINDS if k.__name__ not in ("ReturnsTuple", "StochasticDepth")])
def test_torch_compile_with_the_default_backend(kind):
    gm = ar.transform(build(kind), calibration=images(8), relu_budget=40).eval()
    torch.testing.assert_close(torch.compile(gm)(images()), gm(images()))


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels,message",
    [
        (torch.tensor([1, 10]), "calibration batch 0 has labels from 1 to 10, and the model has 10 classes"),
        (torch.tensor([-1, 0]), "batch 0 has labels from -1 to 0"),
        (torch.tensor([[1], [2]]), r"must have labels of shape \(2,\).*flatten"),
        (torch.tensor([True, False]), "must have an integer tensor of labels"),
        (torch.tensor([[1.0], [2.0]]), r"targets of shape \(2, 1\), the model returns \(2, 10\)"),
    ],
)
def test_bad_labels_are_named(labels, message):
    with pytest.raises(CalibrationError, match=message):
        ar.transform(build(PlainModules), calibration=[(images(2), labels)], relu_budget=10)


def test_labels_of_any_integer_type_score_alike():
    gms = [ar.transform(build(PlainModules), calibration=[(images(2), torch.tensor([1, 2], dtype=dtype))],
                        relu_budget=100) for dtype in (torch.uint8, torch.int64)]  # fmt: skip
    assert all(torch.equal(a.keep, b.keep) for a, b in zip(*(ar.sites(gm).values() for gm in gms)))


@pytest.mark.parametrize("budget", [-1, 10**9, 1.5, True])
def test_bad_budget_says_what_is_allowed(budget):
    with pytest.raises(BudgetError, match="0 to 2,500 is allowed|whole number"):
        ar.transform(build(PlainModules), calibration=images(), relu_budget=budget)


def test_bad_choices_say_what_is_allowed():
    model = build(PlainModules)
    with pytest.raises(BudgetError, match="needs calibration"):
        ar.transform(model, relu_budget=5)
    with pytest.raises(ValueError, match="element, channel, layer"):
        ar.transform(model, granularity="pixel")
    with pytest.raises(ValueError, match="1 to 4"):
        ar.transform(model, degree=5)
    with pytest.raises(ValueError, match="traced, gaussian"):
        ar.transform(model, fit="normal")
    with pytest.raises(ValueError, match="example_inputs"):
        ar.relu_count(ar.transform(model))
    with pytest.raises(TypeError, match="GraphModule"):
        ar.sites(model)


def test_another_input_size_is_refused_once_masked():
    gm = ar.transform(build(SharedActivation), calibration=images(), relu_budget=10).eval()
    with pytest.raises(ValueError, match="transform the model again"):
        gm(torch.randn(1, 3, 12, 12))
    free = ar.transform(build(SharedActivation), example_inputs=images()).eval()
    assert free(torch.randn(1, 3, 12, 12)).shape == (1, 10)


def test_an_activation_that_one_mode_has_is_named():
    class EvalOnly(torch.nn.Module):
        def forward(self, x):
            if not self.training:
                x = torch.relu(x + 1)
            return x.relu() + 1

    with pytest.warns(TransformWarning, match=r"1 activations .*'relu' \(on the path of eval mode alone\)"):
        gm = ar.transform(EvalOnly())
    assert len(ar.sites(gm)) == 1


def test_what_is_no_site_is_named():
    with pytest.warns(TransformWarning, match="no activation was found in Linear"):
        ar.transform(torch.nn.Linear(3, 3))

    class Shrinking(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(3, 2)

        def forward(self, x):
            return self.last(torch.relu(torch.exp(torch.nn.functional.softsign(x))))

    with pytest.warns(TransformWarning, match=r"2 activations .*'softsign' \(softsign\), node 'exp' \(exp\)"):
        gm = ar.transform(Shrinking())
    assert len(ar.sites(gm)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_said_where_all_is_well(kind, recwarn):
    ar.transform(build(kind))
    assert not [w for w in recwarn if issubclass(w.category, TransformWarning)]


def small():
    """A network whose plans are quickly made, and what it is fitted to."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 8, 3, 2, padding=1), nn.ReLU(),
                          nn.Flatten(), nn.Linear(128, 20), nn.ReLU(), nn.Linear(20, 4)).eval()  # fmt: skip
    return model, torch.rand(48, 1, 8, 8)


@pytest.mark.parametrize("limits, granularity", [
    ({"latency_ms": 105, "network": "wan"}, "element"),
    ({"latency_ms": 140, "network": "wan", "offline_mb": 0.2}, "element"),
    ({"offline_mb": 0.1, "reconstruct": True}, "channel"),
    ({"total_ms": 240, "network": "wan"}, "element"),
    ({"total_ms": 900, "network": "wan", "dealer": False}, "element"),
    ({"latency_ms": 215, "network": "wan", "dealer": False}, "element"),
], ids=str)  # fmt: skip
def test_limits_hold_by_the_plan_of_the_result(limits, granularity):
    model, x = small()
    gm = ar.transform(model, calibration=x, granularity=granularity, **limits)
    predicted, network = gm.meta["predicted"], limits.get("network", "lan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompileWarning)
        dealer = limits.get("dealer", True)
        cost = ar.compile(gm, x, network=network, dealer=dealer).cost(network, dealer=dealer)
    assert predicted["latency_ms"] == pytest.approx(1e3 * cost.online_seconds) and predicted["rounds"] == cost.rounds
    assert predicted["offline_mb"] == pytest.approx(sum(cost.offline.values()) / 1e6)
    assert predicted["total_ms"] == pytest.approx(1e3 * cost.total_seconds) and predicted["dealer"] == dealer
    assert all(predicted[name] <= limits.get(name, 1e9) for name in ("latency_ms", "offline_mb", "total_ms"))
    assert 0 < ar.relu_count(gm) < 404 and torch.isfinite(gm.eval()(x)).all()
    assert copy.deepcopy(gm).meta["predicted"] == predicted
    report = ar.inspect(gm)
    assert report.predicted == predicted and report.lines == sum(site.lines for site in ar.sites(gm).values())
    assert "ms online" in str(report) and ("lines" in str(report)) == (report.lines > 0)
    site = next(iter(ar.sites(gm).values()))
    site.set_keep(~site.keep)
    assert ar.inspect(gm).predicted is None  # that was of other masks


def test_a_limit_that_everything_fits_in_keeps_everything_and_says_so(caplog):
    model, x = small()
    with caplog.at_level(logging.INFO, "autorep_fx.transform"):
        gm = ar.transform(model, calibration=x, latency_ms=1e5, network="wan")
    assert torch.equal(gm.eval()(x), model(x)) and ar.relu_count(gm) == 404
    assert re.fullmatch(r"latency_ms=100000 is met with everything kept: [\d.]+ ms online at .*", caplog.messages[-1])


def test_a_choice_logs_what_it_comes_to_and_no_sketch_of_it(caplog):
    model, x = small()
    with caplog.at_level(logging.INFO, "autorep_fx"):
        gm = ar.transform(model, calibration=x, latency_ms=105, network="wan")
    found, said = gm.meta["predicted"], [r.getMessage() for r in caplog.records if r.name != "autorep_fx.secure.rates"]
    assert said == [
        f"{found['latency_ms']:.3g} ms online at 40 ms round trip and 100 Mbit/s, "
        f"{found['rounds']} rounds, {found['offline_mb']:.3g} MB offline, {found['total_ms']:.3g} ms in all"
    ]


def test_a_choice_prints_a_line_a_plan_where_there_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.0)
    model, x = small()
    ar.transform(model, calibration=x, latency_ms=105, network="wan")
    said = capsys.readouterr().err
    assert "calibrate, batch 1 of 1\n" in said and "score, batch 1 of 1\n" in said
    assert re.search(r"^choice of forms, plan 1: [\d.]+ ms online at .*, (within|beyond) the limits$", said, re.M)
    ar.transform(model, calibration=x, latency_ms=105, network="wan", progress=False)
    assert capsys.readouterr().err == ""


def test_a_choice_that_is_stopped_says_that_nothing_is_kept(monkeypatch):
    def stopped(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(Budget, "predicted", stopped)
    model, x = small()
    with pytest.raises(KeyboardInterrupt, match="^transform was stopped; nothing is kept of it, .* begins anew$"):
        ar.transform(model, calibration=x, latency_ms=105, network="wan")


@pytest.mark.parametrize("wrong, message", [
    ({"latency_ms": 100}, "needs calibration"),
    ({"latency_ms": 100, "relu_budget": 5, "calibration": images(8)}, "not both"),
    ({"latency_ms": "fast", "calibration": images(8)}, "latency_ms must be a number above 0, got 'fast'"),
    ({"offline_mb": 0, "calibration": images(8)}, "offline_mb must be a number above 0"),
    ({"total_ms": -3, "calibration": images(8)}, "total_ms must be a number above 0"),
    ({"total_ms": 9, "network": "wan", "calibration": images(8)}, "alone take: .* of [0-9.]+ ms offline and online"),
    ({"latency_ms": 1, "network": "wan", "calibration": images(8)}, "less than lines alone take: .* ms online"),
])  # fmt: skip
def test_wrong_limits(wrong, message):
    with pytest.raises(BudgetError, match=message):
        ar.transform(build(PlainModules), **wrong)
