"""Searches under limits: the plan of what comes out is within them, all three forms are learned, a run can go on."""

import sys

import pytest
import torch
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import BudgetError, CompileError, FormatError
from autorep_fx.forms.choose import LINES, SQUARES, Price, Prices, choose_forms
from autorep_fx.forms.prices import Budget, Predicted
from autorep_fx.forms.search import Sketches, settle
from autorep_fx.graph.batches import Batches
from autorep_fx.hybrid.fitting import Fitting
from autorep_fx.models import ImageLoader, digits
from autorep_fx.search.forms import ThreeForms
from autorep_fx.search.loop import Loop
from autorep_fx.search.mending import Mending
from autorep_fx.secure.link.network import network_of

LIMIT = {"latency_ms": 105, "network": "wan"}


def network(seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 8, 3, 2, padding=1), nn.ReLU(),
                          nn.Flatten(), nn.Linear(128, 20), nn.ReLU(), nn.Linear(20, 10))  # fmt: skip
    return ar.transform(model, example_inputs=torch.rand(2, 1, 8, 8))


def loader():
    return ImageLoader(digits()[0][:256], 64, train=True, pad=1)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A search to less than what all ReLUs take, its history and folder."""
    gm, folder = network(), tmp_path_factory.mktemp("limits")
    history = ar.search(gm, loader(), epochs=3, checkpoint_dir=folder, progress=False, **LIMIT)
    return gm, history, folder


def test_the_plan_is_within_the_limit(searched):
    gm, history, _ = searched
    assert history.predicted["latency_ms"] <= 105 and gm.meta["predicted"] == history.predicted
    program = ar.compile(gm, next(iter(loader()))[0], network="wan")
    assert program.cost("wan").online_seconds <= 0.105 * 1.05  # of other examples
    sites = ar.sites(gm).values()
    assert all(site.gate is None and site.line is not None for site in sites)
    assert any(site.kept for site in sites) and any(site.lines == site.total for site in sites)
    assert history.relus[-1] == ar.relu_count(gm) and not gm.training


def test_a_search_keeps_a_limit_of_both_phases_without_a_dealer():
    gm = network()
    history = ar.search(gm, loader(), epochs=2, progress=False, total_ms=900, network="wan", dealer=False)
    assert history.predicted["total_ms"] <= 900 and not history.predicted["dealer"]
    assert gm.meta["predicted"] == history.predicted


def test_a_settled_run_goes_on_to_the_same_masks(searched):
    gm, history, folder = searched
    again, options = network(), {"epochs": 3, "checkpoint_dir": folder, "resume": True, "progress": False}
    repeated = ar.search(again, loader(), **LIMIT, **options)
    assert repeated.predicted == history.predicted
    for name, site in ar.sites(gm).items():
        other = ar.sites(again)[name]
        assert torch.equal(site.keep, other.keep) and torch.equal(site.line, other.line)
        assert torch.equal(site.line_coeffs, other.line_coeffs)
    with pytest.raises(FormatError, match="latency_ms is 105 there and 110 here"):
        ar.search(network(), loader(), latency_ms=110, network="wan", **options)


def test_a_run_that_was_stopped_while_masks_move_goes_on_to_the_same_masks(searched, tmp_path, monkeypatch):
    gm, history, _ = searched
    first, epoch = network(), Loop._epoch

    def stopped(self, number):
        if number == 1:  # of three; masks move in the first two
            raise KeyboardInterrupt
        epoch(self, number)

    monkeypatch.setattr(Loop, "_epoch", stopped)
    options = {"epochs": 3, "checkpoint_dir": tmp_path, "resume": True, "progress": False}
    with pytest.raises(KeyboardInterrupt):
        ar.search(first, loader(), **LIMIT, **options)
    monkeypatch.undo()
    again = network()
    assert ar.search(again, loader(), **LIMIT, **options) == history
    for mine, theirs in zip(gm.state_dict().values(), again.state_dict().values()):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("wrong, message", [
    ({}, "say what may be left"),
    ({"latency_ms": 5, "relu_budget": 3}, "not both"),
    ({"latency_ms": -1}, "latency_ms must be a number above 0"),
    ({"latency_ms": 5, "method": "snl"}, "method='autorep'"),
    ({"offline_mb": float("nan")}, "offline_mb must be a number above 0"),
    ({"latency_ms": 1, "network": "wan"}, "latency_ms=1 is less than lines alone take: .* 2 rounds"),
])  # fmt: skip
def test_wrong_limits(wrong, message):
    with pytest.raises(BudgetError, match=message):
        ar.search(network(), loader(), epochs=1, progress=False, **wrong)


class _Planned:
    """Plans that cost so much more, or less, than prices say; sketches say half of that."""

    def __init__(self, off):
        self.off, self.made = off, 0

    def __call__(self, forms):
        self.made += 1
        return Predicted(forms.costs[0] + self.off(forms), 0.0, 2, network_of("wan")), forms

    def sketch(self, forms):
        return Predicted(forms.costs[0] + self.off(forms) / 2, 0.0, 2, network_of("wan"))


def _case(seed=0):
    generator = torch.Generator().manual_seed(seed)
    line = {f"s{i}": torch.rand(200, generator=generator) ** 4 * 2**i for i in range(4)}
    square = {name: 0.5 * loss for name, loss in line.items()}
    prices = [Prices(10.0, dict.fromkeys(line, Price(5.0, 0.1, 12.0, 0.05)))]
    return lambda limits, states: choose_forms(line, square, prices, limits, states=states)


@pytest.mark.parametrize("off", [
    lambda forms: 0.0,
    lambda forms: 3.0,
    lambda forms: -4.0,
    lambda forms: 6.0 * sum(state != 0 for state in forms.states),
    lambda forms: 8.0 * (sum(state == LINES for state in forms.states) % 2),
    lambda forms: max(12.0 - 5.0 * sum(state != 0 for state in forms.states), 0.0) - 8.0,
], ids=["right", "more", "less", "by site", "by parity", "lines are dear"])  # fmt: skip
@pytest.mark.parametrize("limit", [20.0, 40.0, 80.0])
def test_plans_that_cost_other_than_their_prices(off, limit):
    choose, plan = _case(), _Planned(off)
    predicted, forms = settle(Budget(limit, None, network_of("wan")), choose, plan.sketch, plan, progress=False)
    assert predicted.latency_ms <= limit and plan.made <= 25
    if limit >= 40:  # room for sites that send anything, whatever they cost more
        assert predicted.latency_ms >= 0.8 * limit or forms.all_kept


def test_forms_that_differ_in_few_positions_are_sketched_once():
    choose, plan, made = _case(), _Planned(lambda forms: 3.0), []
    budget = Budget(40.0, None, network_of("wan"))
    sketches = Sketches(budget, lambda forms: made.append(forms) or plan.sketch(forms))
    states = choose([40.0], states=None).states
    for room in (40.0, 39.0, 37.0, 36.5, 30.0, 36.5):
        forms = choose([room], states=states)
        assert sketches(forms).latency_ms == pytest.approx(forms.costs[0] + 1.5)
    assert len(made) == 2  # at 40 and at 30
    sketches(choose([40.0], states=[0] * 4))
    assert len(made) == 3


def test_a_choice_that_cannot_be_run_is_passed_over():
    class Refusing(_Planned):
        def __call__(self, forms):
            if sum(state != 0 for state in forms.states) % 2:
                raise CompileError("fixed point is off")
            return super().__call__(forms)

    plan = Refusing(lambda forms: 0.0)
    predicted, forms = settle(Budget(40.0, None, network_of("wan")), _case(), plan.sketch, plan, progress=False)
    assert predicted.latency_ms <= 40 and sum(state != 0 for state in forms.states) % 2 == 0


def test_lines_alone_that_exceed_the_limit_are_an_error():
    with pytest.raises(BudgetError, match="latency_ms=9 is less than lines alone take: 10 ms online"):
        plan = _Planned(lambda forms: 0.0)
        settle(Budget(9.0, None, network_of("wan")), _case(), plan.sketch, plan, progress=False)


def test_forms_that_are_chosen_behind_training_are_as_planned(monkeypatch):
    """The network that comes out is one that was planned, batch statistics and all."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 8, 3, 2, padding=1), nn.BatchNorm2d(8),
                          nn.ReLU(), nn.Flatten(), nn.Linear(128, 10))  # fmt: skip
    gm, planned = ar.transform(model, example_inputs=torch.rand(2, 1, 8, 8)), []

    def predicted(self, network, x, progress=None, original=Budget.predicted):
        found = original(self, network, x)
        if network is not gm:
            planned.append((network.get_submodule("3").running_mean.clone(), found))
        return found

    monkeypatch.setattr(Budget, "predicted", predicted)
    monkeypatch.setattr(Mending, "within", lambda self, predicted: False)
    history = ar.search(gm, loader(), epochs=1, progress=False, latency_ms=75, network="wan")
    assert history.predicted["latency_ms"] <= 75
    assert any(torch.allclose(mean, gm.get_submodule("3").running_mean) and found.latency_ms ==
               history.predicted["latency_ms"] for mean, found in planned)  # fmt: skip


class _Told(Budget):
    """A limit of 20 ms, and plans that cost what a test says; None cannot be run."""

    def predicted(self, gm, x, progress=None):
        cost = self.costs_of_plans.pop(0)
        if cost is None:
            raise CompileError("fixed point is off")
        return Predicted(cost, 0.0, 2, self.network)

    def sketched(self, gm, x):
        return Predicted(19.0, 0.0, 2, self.network)

    def part(self, of):
        return self


@pytest.fixture
def settled(monkeypatch):
    """A method whose forms are fixed, and have been trained for an epoch; the costs of its next plans."""
    gm = network()
    sites = ar.sites(gm)
    for site in sites.values():
        site.set_line(torch.zeros_like(site.keep))
    scores = {name: torch.rand(site.shape, dtype=torch.float64) for name, site in sites.items()}
    prices = [Prices(1.0, {name: Price(2.0, 0.1, 6.0, 0.05) for name in sites})]
    budget, costs = _Told(20.0, None, network_of("wan")), [19.0]
    object.__setattr__(budget, "costs_of_plans", costs)
    chosen_anew(monkeypatch, lambda budget, choose, sketch, plan, progress:
                plan(choose(budget.limits, states=None)))  # fmt: skip
    initial = {name: score.float() for name, score in scores.items()}
    method = ThreeForms(gm, mending(gm, budget, prices), "element", None, initial, scores, scores, prices, 1.0)
    method.start()
    method.settle()
    method.settled = 0.5
    method.after_epoch(0.5, _nothing)
    return method, costs


def mending(gm, budget, prices):
    """For a network of :func:`network`, with labelled batches that it has never seen."""
    head = Batches([(torch.rand(8, 1, 8, 8), torch.arange(8))], "train_loader")
    return Mending(gm, budget, head, Fitting(), progress=False, prices=prices)


def chosen_anew(monkeypatch, settle):
    """How forms are chosen, wherever all are."""
    for where in (ThreeForms, Mending):
        monkeypatch.setattr(sys.modules[where.__module__], "settle", settle)


def _nothing():
    """For batch norms, of which the network has none."""


def _trained(method, value):
    with torch.no_grad():
        next(method.gm.parameters()).fill_(value)


def test_the_last_epoch_within_the_limits_is_the_result(settled):
    method, costs = settled
    for done, cost in ((0.55, 25.0), (0.7, 18.0), (0.8, 19.5), (0.9, 25.0), (1.0, None)):
        costs[:] = [cost]
        _trained(method, done)
        method.after_epoch(done, _nothing)
    costs[:] = [26.0, 19.5]
    method.end()
    assert (next(method.gm.parameters()) == 0.8).all() and method.predicted.latency_ms == 19.5 and not costs


def test_an_end_within_the_limits_is_the_result(settled):
    method, costs = settled
    costs[:] = [18.0, 19.0]
    method.after_epoch(0.9, _nothing)
    _trained(method, 1.0)
    method.end()
    assert (next(method.gm.parameters()) == 1).all() and method.predicted.latency_ms == 19


@pytest.mark.parametrize("beyond", [21.0, None])
def test_an_early_epoch_beyond_the_limits_has_its_forms_chosen_again(settled, beyond):
    method, costs = settled
    costs[:] = [19.0, beyond, 17.0]
    method.after_epoch(0.6, _nothing)
    assert method.remembered is not None
    method.after_epoch(0.7, _nothing)
    assert method.predicted.latency_ms == 17 and method.remembered is None and not costs
    costs[:] = [beyond, 16.0, 16.0][: 3 if beyond else 2]  # nothing is remembered of these forms
    method.end()
    assert method.predicted.latency_ms == 16 and not costs


def test_forms_without_a_plan_within_the_limits_are_trained_by_their_sketches(settled, monkeypatch):
    def first(budget, choose, sketch, plan, progress):
        predicted, forms = plan(choose(budget.limits))
        if predicted.latency_ms > 20:
            raise BudgetError("lines alone are beyond")
        return predicted, forms

    method, costs = settled
    chosen_anew(monkeypatch, first)
    method.start()
    costs[:] = [21.0]
    method.settle()
    assert method.predicted.latency_ms == 19 and not costs


def test_forms_that_cannot_be_chosen_again_stay(settled, monkeypatch):
    def fails(*args):
        raise BudgetError("lines alone are beyond")

    method, costs = settled
    before = [site.keep.clone() for site in method.sites.values()]
    chosen_anew(monkeypatch, fails)
    costs[:] = 40 * [21.0]
    method.after_epoch(0.7, _nothing)
    assert all(torch.equal(keep, site.keep) for keep, site in zip(before, method.sites.values()))
    costs[:] = 40 * [21.0]
    with pytest.raises(BudgetError, match="lines alone are beyond"):
        method.end()


def test_the_parameters_are_read_as_scores():
    """What the gates say at the start is what the one-shot choice does; a gate that rises is kept."""
    gm = network()
    sites = ar.sites(gm)
    for site in sites.values():
        site.set_line(torch.zeros_like(site.keep))
    generator = torch.Generator().manual_seed(3)
    line = {name: torch.rand(site.shape, generator=generator, dtype=torch.float64) for name, site in sites.items()}
    square = {name: 0.3 * loss for name, loss in line.items()}
    flat = torch.cat([loss.flatten() for loss in line.values()])
    rank = ((flat.argsort().argsort() + 0.5) / len(flat)).float().split([loss.numel() for loss in line.values()])
    start = {name: part.view(loss.shape) for (name, loss), part in zip(line.items(), rank)}
    prices = [Prices(1.0, {name: Price(2.0, 0.1, 6.0, 0.05) for name in sites})]
    limit = 15.0
    method = ThreeForms(gm, mending(gm, Budget(limit, None, network_of("wan")), prices), "element", None, start, square,
                        line, prices, 1.0)  # fmt: skip
    method.start()
    method.after_step(1.0)
    forms = choose_forms(line, square, prices, [limit])
    for name, site in sites.items():
        assert torch.equal(site.keep, forms.keep[name]) and torch.equal(site.line, forms.line[name])
    with torch.no_grad():  # what moves all alike says nothing
        for site in sites.values():
            site.gate.theta.mul_(2).add_(5)
    method.after_step(1.0)
    assert all(torch.equal(site.keep, forms.keep[name]) for name, site in sites.items())
    name = next(n for n, state in zip(sites, forms.states) if state in (LINES, SQUARES) and not sites[n].keep.all())
    position = tuple((~sites[name].keep).nonzero()[0].tolist())
    with torch.no_grad():
        sites[name].gate.theta[position] = 9.0
    method.after_step(1.0)
    assert sites[name].keep[position]


def test_the_penalty_is_the_cost_over_the_target():
    gm = network()
    sites = ar.sites(gm)
    for site in sites.values():
        site.set_line(torch.zeros_like(site.keep))
    scores = {name: torch.rand(site.shape, dtype=torch.float64) for name, site in sites.items()}
    start = {name: score.float() for name, score in scores.items()}
    prices = [Prices(10.0, {name: Price(0.0, 0.1, 1.0, 0.1) for name in sites})]
    method = ThreeForms(gm, mending(gm, Budget(20.0, None, network_of("wan")), prices), "element", 2.0, start, scores,
                        scores, prices, 1.0)  # fmt: skip
    method.start()
    method.targets = [20.0]
    total = sum(site.total for site in sites.values())
    penalty = method.penalty()
    assert float(penalty) == pytest.approx(2.0 * (0.1 * total / 10 - 1), rel=1e-5)
    penalty.backward()
    assert all((site.gate.theta.grad > 0).all() for site in sites.values())
    method.targets = [1e9]
    assert float(method.penalty()) == 0
