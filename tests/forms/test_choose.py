"""The choice of forms against the best there is, found by trying all of them."""

import itertools

import numpy as np
import pytest
import torch

from autorep_fx.forms.choose import Price, Prices, choose_forms


def _random(seed, resources=1, shapes=((2, 2), (4,), (3,))):
    rng = np.random.default_rng(seed)
    line = {f"site{i}": torch.from_numpy(rng.exponential(1.0, shape)) for i, shape in enumerate(shapes)}
    square = {name: loss * torch.from_numpy(rng.uniform(0, 1, loss.shape)) for name, loss in line.items()}
    prices = []
    for _ in range(resources):
        sites = {}
        for name, loss in line.items():
            compared, travels = rng.uniform(0.2, 1), rng.uniform(0.1, 1)
            opens = rng.uniform(0, 4)
            sites[name] = Price(opens, compared + travels, opens + travels * loss.numel(), compared)
        prices.append(Prices(float(rng.uniform(0, 2)), sites))
    return line, square, prices


def _costs(prices, keep, line):
    found = []
    for price in prices:
        total = price.base
        for name, p in price.sites.items():
            n = int(keep[name].sum())
            if not line[name].all():
                total += p.squares + p.compared * n
            elif n:
                total += p.opens + p.kept * n
        found.append(total)
    return found


def _optimum(line, square, prices, limits):
    """Of each site every state with every number of its most harmful positions kept; all sites together."""
    options = []
    for name in line:
        each = []
        for loss, is_line in ((line[name], True), (square[name], False)):
            order, size = loss.flatten().argsort(descending=True), loss.numel()
            for n in range(size // 2 + 1 if is_line else size + 1):
                keep = torch.zeros(size, dtype=torch.bool)
                keep[order[:n]] = True
                mask = keep.view(loss.shape)
                each.append((float(loss.flatten()[~keep].sum()), mask, torch.full_like(mask, is_line)))
        options.append([(name, *option) for option in each])
    best = np.inf
    for pick in itertools.product(*options):
        loss = sum(p[1] for p in pick)
        if loss < best:
            costs = _costs(prices, {p[0]: p[2] for p in pick}, {p[0]: p[3] for p in pick})
            if all(cost <= limit + 1e-9 for cost, limit in zip(costs, limits)):
                best = loss
    return best


@pytest.mark.parametrize("resources", [1, 2])
def test_near_the_optimum_and_never_beyond_the_limits(resources):
    exactly, cases = 0, 60
    for seed in range(cases):
        line, square, prices = _random(seed, resources)
        rng = np.random.default_rng(1000 + seed)
        limits = [p.base + rng.uniform(0, 16) for p in prices]
        found = choose_forms(line, square, prices, limits)
        costs = _costs(prices, found.keep, found.line)
        assert np.allclose(found.costs, costs) and all(c <= limit + 1e-9 for c, limit in zip(costs, limits))
        lost = sum(float(torch.where(found.line[n], line[n], square[n])[~found.keep[n]].sum()) for n in line)
        assert lost == pytest.approx(found.loss)
        best = _optimum(line, square, prices, limits)
        # What a choice by prices can be off by: the rest of the limit that is left over buys no whole position.
        most = max(float(loss.max()) for loss in line.values())
        assert best - 1e-9 <= found.loss <= best + most
        exactly += found.loss <= best + 1e-9
    assert exactly >= 0.6 * cases, f"{exactly} of {cases}"


def test_a_large_choice_is_as_good_as_the_relaxation_says():
    """Thousands of positions: one more or less is nothing, so the Lagrangian bound is nearly reached."""
    line, square, (prices,) = _random(7, shapes=((8, 10, 10), (16, 5, 5), (400,), (900,)))
    for part in (0.02, 0.1, 0.3, 0.7):
        everything = prices.base + sum(p.squares + p.compared * line[n].numel() for n, p in prices.sites.items())
        limit = prices.base + part * (everything - prices.base)
        found = choose_forms(line, square, [prices], [limit])
        bound = -np.inf
        for lam in np.geomspace(1e-4, 1e2, 400):  # a lower bound of the loss for every multiplier
            total = -lam * (limit - prices.base)
            for name, p in prices.sites.items():
                # beside lines half are kept at most: without that the bound is lower still
                lines = float(line[name].clamp(max=lam * p.kept).sum()) + lam * p.opens
                squares = float(square[name].clamp(max=lam * p.compared).sum()) + lam * p.squares
                total += min(float(line[name].sum()), lines, squares)
            bound = max(bound, total)
        assert bound <= found.loss + 1e-9
        assert found.loss - bound < 0.02 * sum(float(loss.sum()) for loss in line.values())


def test_a_site_is_not_opened_for_little():
    line = {"rich": torch.tensor([5.0, 4.0, 0.1, 0.1]), "poor": torch.tensor([1.0, 0.9, 0.1, 0.1])}
    square = {name: loss.clone() for name, loss in line.items()}
    price = Price(opens=10, kept=1, squares=14, compared=0.5)
    prices = [Prices(3.0, dict.fromkeys(line, price))]
    found = choose_forms(line, square, prices, [15.5])
    assert found.keep["rich"].tolist() == [True, True, False, False] and not found.keep["poor"].any()
    assert found.costs == (15.0,) and found.loss == pytest.approx(2.3) and all(m.all() for m in found.line.values())


def test_squares_where_they_are_cheap_and_good():
    line, square = {"a": torch.ones(8)}, {"a": torch.full((8,), 0.01)}
    found = choose_forms(line, square, [Prices(0.0, {"a": Price(1, 1, 2, 1)})], [3.0])
    assert not found.line["a"].any() and found.keep["a"].sum() == 1


def test_lines_alone_where_nothing_fits_and_everything_where_all_does():
    line, square, prices = _random(3)
    found = choose_forms(line, square, prices, [prices[0].base / 2])
    assert not any(keep.any() or not found.line[name].all() for name, keep in found.keep.items())
    assert found.costs == (prices[0].base,)
    found = choose_forms(line, square, prices, [1e6])
    assert found.all_kept and found.loss == 0


@pytest.mark.parametrize("granularity", ["channel", "layer"])
def test_coarser_units_are_whole(granularity):
    line, square, prices = _random(5, shapes=((4, 3, 3), (6, 2, 2), (8, 2)))
    found = choose_forms(line, square, prices, [prices[0].base + 25.0], granularity)
    units = [keep.flatten(1) if granularity == "channel" else keep.flatten()[None] for keep in found.keep.values()]
    assert all(bool((unit.all(1) | ~unit.any(1)).all()) for unit in units) and found.costs[0] <= prices[0].base + 25


def test_the_choice_repeats():
    line, square, prices = _random(11, shapes=((8, 10, 10), (16, 5, 5)))
    one, two = (choose_forms(line, square, prices, [prices[0].base + 200.0]) for _ in range(2))
    assert all(torch.equal(one.keep[name], two.keep[name]) for name in line)
