import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autorep_fx.errors import BudgetError
from autorep_fx.hybrid.positions import GRANULARITIES, choose


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
