"""Fits against closed forms, against direct least squares, and against the formulas of the published code."""

import numpy as np
import pytest
import torch
from scipy import integrate, stats

import autorep_fx as ar
from autorep_fx.graph.activations import Activation
from autorep_fx.graph.batches import Batches
from autorep_fx.graph.calibrate import calibrate
from autorep_fx.graph.statistics import SiteStatistics
from autorep_fx.hybrid import dapa


def _statistics(x, act=torch.relu, degree=4):
    statistics = SiteStatistics(tuple(x.shape[1:]), degree)
    for part in x.split(max(len(x) // 3, 1)):
        statistics.update(part, act(part))
    return statistics


def _published(mean, var):
    """The public AutoReP code: running variance (at least 0.5) in place of the deviation, c0 / 5 and c2 / 10."""
    c = dapa.gaussian_relu(mean, var.clamp_min(0.5))
    return torch.stack([c[0] / 5, c[1], c[2] / 10])


@pytest.mark.parametrize("mean,std", [(0.0, 1.0), (0.7, 0.4), (-1.5, 1.0), (3.0, 2.0)])
def test_closed_form_is_the_least_squares_of_the_gaussian(mean, std):
    c = dapa.gaussian_relu(mean, std).numpy()
    density = stats.norm(mean, std).pdf
    for k in range(3):  # the residual is orthogonal to 1, x, x**2

        def slope(x, k=k):
            return (max(x, 0) - c[0] - c[1] * x - c[2] * x * x) * x**k * density(x)

        points = (mean - 12 * std, 0.0, mean + 12 * std)
        total = sum(integrate.quad(slope, *sorted(p), limit=200)[0] for p in (points[:2], points[1:])
                    if p[0] < p[1])  # fmt: skip
        assert abs(total) < 1e-8 * (1 + abs(mean) + std) ** 4


def test_gaussian_method_equals_the_closed_form():
    torch.manual_seed(0)
    x = torch.randn(400, 3, 4) * torch.tensor([0.5, 1.0, 3.0])[:, None] + torch.tensor([0.3, -1.0, 2.0])[:, None]
    statistics = _statistics(x)
    fit = dapa.fit(torch.relu, statistics, 2, "gaussian")
    rows = x.double().transpose(0, 1).flatten(1)
    expected = dapa.gaussian_relu(rows.mean(1), rows.std(1, correction=0))
    torch.testing.assert_close(fit.coeffs, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["relu", "relu6", "silu", "gelu", "hardswish"])
def test_traced_fit_is_the_least_squares_over_the_mask(degree, kind):
    torch.manual_seed(1)
    act = Activation(kind, **({"approximate": "none"} if kind == "gelu" else {}))
    x = torch.randn(200, 2, 6).exp() - 1.2  # skewed, as behind a batch norm that a polynomial follows
    where = torch.rand(2, 6) < 0.6
    fit = dapa.fit(act.in_float64, _statistics(x, act), degree, where=where)
    for c in range(2):
        values = x[:, c][:, where[c]].double().flatten()
        basis = torch.stack([values**k for k in range(degree + 1)], 1).numpy()
        target = act.in_float64(values).numpy()
        best = np.linalg.lstsq(basis, target, rcond=None)[0]
        if degree == 2 and best[2] < 0:
            best = np.append(np.linalg.lstsq(basis[:, :2], target, rcond=None)[0], 0)
        error = np.mean((basis @ best - target) ** 2)
        assert abs(fit.error[c] - error) <= 1e-5 * np.mean(target**2)
        np.testing.assert_allclose(basis @ fit.coeffs[:, c].numpy(), basis @ best, atol=2e-4 * np.abs(target).max())


def test_never_worse_than_the_gaussian_or_the_published_formulas(trained_digits):
    model, train, _ = trained_digits
    data = Batches(train.normalized(slice(512)))
    channels = 0
    for name, statistics in calibrate(model, data, ar.HybridActivation).items():
        fit = dapa.fit(model.get_submodule(name).activation.in_float64, statistics, 2)
        count, powers, _, _ = statistics.moments.over()
        mean_z, square_z = powers[:, 1] / count, powers[:, 2] / count
        mean = statistics.moments.shift + statistics.moments.scale * mean_z
        std = statistics.moments.scale * (square_z - mean_z**2).sqrt()
        # Rounding of float64 sums, relative to the activation's own power, is all that may separate them.
        slack = 1e-12 * statistics.moments.over()[3] / count
        for other in (dapa.gaussian_relu(mean, std), _published(mean, std**2)):
            assert (fit.error <= dapa.mean_squared_error(other, statistics) + slack).all(), name
        channels += len(count)
        assert (fit.coeffs[2] >= 0).all()
    assert channels > 200


def test_a_channel_that_wants_a_negative_curve_becomes_linear():
    x = torch.linspace(-1, 1, 200, dtype=torch.float64).view(-1, 1)
    fit = dapa.fit(lambda t: t, _statistics(x, lambda t: -t * t + t), 2)
    assert fit.coeffs[2, 0] == 0 and abs(fit.coeffs[1, 0] - 1) < 1e-9
    free = dapa.fit(lambda t: t, _statistics(x, lambda t: -t * t + t), 3)
    assert abs(free.coeffs[2, 0] + 1) < 1e-9  # only degree 2 completes the square


def test_bounded_growth_is_the_best_fit_under_the_bound():
    torch.manual_seed(0)
    x = torch.randn(2000, 2, 1, dtype=torch.float64) * torch.tensor([1.0, 3.0])[:, None]
    x[0] = torch.tensor([[20.0], [-5.0]])  # one value far out; the second channel's c2 is small enough already
    statistics = _statistics(x)
    plain, bounded = (dapa.fit(torch.relu, statistics, 2, growth=g) for g in (None, 0.5))
    largest = x.abs().amax((0, 2))
    assert plain.coeffs[2, 0] * largest[0] > 0.5 and torch.allclose(
        bounded.coeffs[2, 0] * largest[0], torch.tensor(0.5).double()
    )
    values, c2 = x[:, 0, 0], bounded.coeffs[2, 0]
    best = np.polyfit(values.numpy(), (values.relu() - c2 * values**2).numpy(), 1)[::-1]
    np.testing.assert_allclose(bounded.coeffs[:2, 0].numpy(), best, rtol=1e-6)
    loose = dapa.fit(torch.relu, statistics, 2, growth=1e6)
    torch.testing.assert_close(loose.coeffs, plain.coeffs)
    assert (bounded.error >= plain.error).all()


@pytest.mark.parametrize("growth", [0.5, None])
def test_a_nearly_dead_channel_takes_no_steep_square(growth):
    """Its inputs are nothing beside those of the others, whose roundings a square of such a slope would blow up."""
    x = torch.randn(200, 3, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 1e-9, 1e-17])[:, None]
    fit = dapa.fit(torch.relu, _statistics(x), 2, growth=growth)
    assert fit.coeffs[2, 0] > 0.05 and (fit.coeffs[2] < 2.0**17).all()
    assert (fit.coeffs[1].abs() <= 1).all() and (fit.error <= 1e-17).tolist() == [False, True, True]


def test_degenerate_channels_stay_finite_and_right_where_data_are():
    constant = torch.full((50, 1, 3), 2.0)
    fit = dapa.fit(torch.relu, _statistics(constant), 2)
    poly = fit.coeffs[0] + 2 * fit.coeffs[1] + 4 * fit.coeffs[2]
    assert torch.isfinite(fit.coeffs).all() and abs(poly - 2) < 1e-9
    few = torch.randn(3, 2)
    assert torch.isfinite(dapa.fit(torch.relu, _statistics(few), 2).coeffs).all()


def test_a_channel_without_replaced_positions_uses_all_of_them():
    x = torch.randn(100, 2, 5)
    where = torch.tensor([[True] * 5, [False] * 5])
    masked, plain = (dapa.fit(torch.relu, _statistics(x), 2, where=w) for w in (where, None))
    torch.testing.assert_close(masked.coeffs, plain.coeffs)


def test_prelu_slopes_are_per_channel_in_the_gaussian_fit():
    act = Activation("prelu", weight=torch.tensor([0.0, 1.0]))
    x = torch.randn(500, 2, 3)
    fit = dapa.fit(act.in_float64, _statistics(x, act), 2, "gaussian")
    assert fit.coeffs[2, 0] > 0.1 and abs(fit.coeffs[2, 1]) < 1e-9 and abs(fit.coeffs[1, 1] - 1) < 1e-9


def test_bad_arguments():
    statistics = _statistics(torch.randn(10, 2), degree=2)
    with pytest.raises(ValueError, match="1 to 4"):
        dapa.fit(torch.relu, statistics, 0)
    with pytest.raises(ValueError, match="traced, gaussian"):
        dapa.fit(torch.relu, statistics, 2, "median")
    with pytest.raises(ValueError, match="degree 3 needs"):
        dapa.fit(torch.relu, statistics, 3)
