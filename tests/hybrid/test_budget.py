import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import BudgetError
from autorep_fx.graph.calibrate import Batches
from autorep_fx.hybrid.budget import GRANULARITIES, choose, scores
from autorep_fx.search.evaluation import accuracy


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), st.sampled_from(GRANULARITIES), st.floats(0, 1))
def test_count_is_exact_and_at_most_one_unit_is_split(seed, granularity, fraction):
    generator = torch.Generator().manual_seed(seed)
    values = {"a": torch.rand(3, 4, 4, generator=generator), "b": torch.rand(5, generator=generator),
              "c": torch.rand(2, 7, generator=generator).round(decimals=1)}  # fmt: skip
    total = sum(v.numel() for v in values.values())
    budget = round(fraction * total)
    masks = choose(values, budget, granularity)
    assert sum(int(m.sum()) for m in masks.values()) == budget
    if granularity != "element":
        rows = [
            row for m in masks.values() for row in (m.view(1, -1) if granularity == "layer" else m.view(len(m), -1))
        ]
        assert sum(bool(row.any() and not row.all()) for row in rows) <= 1


def test_element_keeps_the_best_and_ties_go_first():
    values = {"a": torch.tensor([1.0, 3.0]), "b": torch.tensor([3.0, 2.0, 3.0])}
    masks = choose(values, 2)
    assert masks["a"].tolist() == [False, True] and masks["b"].tolist() == [True, False, False]


def test_costs_are_never_exceeded():
    values = {"a": torch.tensor([5.0, 4.0]), "b": torch.tensor([3.0, 2.0])}
    masks = choose(values, 4.0, cost={"a": 1.5})
    assert masks["a"].tolist() == [True, True] and masks["b"].tolist() == [True, False]


def test_budget_is_checked():
    with pytest.raises(BudgetError, match="0 to 2"):
        choose({"a": torch.ones(2)}, 3)


class _Two(nn.Module):
    """y = 10 * relu(x0) + relu(x1): the first position matters a hundred times as much."""

    def forward(self, x):
        y = torch.relu(x)
        return 10 * y[:, :1] + y[:, 1:]


def test_score_is_the_squared_change_of_the_output():
    torch.manual_seed(0)
    x = torch.randn(500, 2)
    gm = ar.transform(_Two(), calibration=x)
    score = scores(gm, Batches(x))["relu"]
    site = ar.sites(gm)["relu"]
    change = (site.polynomial(x) - x.relu()).double().square().mean(0).detach()
    torch.testing.assert_close(score, change * torch.tensor([100.0, 1.0], dtype=torch.float64), rtol=1e-5, atol=0)


def test_better_than_chance_on_a_trained_network(trained_digits):
    from autorep_fx.models import ImageLoader

    model, train, test = trained_digits
    loader = ImageLoader(test, 360)
    gm = ar.transform(model, calibration=(train.normalized(slice(512)), train.labels[:512]), relu_budget=400)
    chosen = accuracy(gm, loader)
    generator = torch.Generator().manual_seed(0)
    chance = choose({n: torch.rand(s.shape, generator=generator) for n, s in ar.sites(gm).items()}, 400)
    for name, site in ar.sites(gm).items():
        site.set_keep(chance[name])
    assert chosen > accuracy(gm, loader) - 0.01 and chosen > 0.6
