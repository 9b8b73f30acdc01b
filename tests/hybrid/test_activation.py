import pytest
import torch

from autorep_fx import HybridActivation
from autorep_fx.graph.activations import Activation


def _site(keep, coeffs):
    site = HybridActivation(Activation("relu"), shape=tuple(keep.shape))
    site.set_keep(keep)
    site.set_coeffs(coeffs)
    return site


@pytest.mark.parametrize("shape", [(3,), (3, 4), (3, 4, 5)])
@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_computes_the_definition(shape, degree):
    keep, coeffs, x = torch.rand(shape) < 0.5, torch.randn(degree + 1, 3), torch.randn(6, *shape)
    c = coeffs.view(degree + 1, 3, *(1,) * (len(shape) - 1))
    poly = sum(c[k] * x**k for k in range(degree + 1))
    torch.testing.assert_close(_site(keep, coeffs)(x), torch.where(keep, x.relu(), poly))


def test_nothing_kept_is_the_polynomial_and_all_kept_the_activation():
    x, coeffs = torch.randn(2, 3, 4), torch.randn(3, 3)
    none = _site(torch.zeros(3, 4, dtype=torch.bool), coeffs)
    assert torch.equal(none(x), none.polynomial(x)) and none.kept == 0
    assert torch.equal(_site(torch.ones(3, 4, dtype=torch.bool), coeffs)(x), x.relu())


def test_shape_is_learned_at_the_first_forward_pass():
    site = HybridActivation(Activation("relu"))
    assert site.shape is None and site.total == 0 and list(site.state_dict()) == []
    site(torch.randn(2, 3, 4))
    assert site.shape == (3, 4) and site.kept == 12 and not site.coeffs.requires_grad


def test_gradients_reach_coefficients_of_replaced_positions_only():
    keep = torch.tensor([[True, True], [True, False]])
    site = _site(keep, torch.randn(3, 2))
    site(torch.randn(5, 2, 2)).sum().backward()
    assert site.coeffs.requires_grad and (site.coeffs.grad[:, 0] == 0).all() and (site.coeffs.grad[:, 1] != 0).all()


def test_half_precision_keeps_its_dtype():
    site = _site(torch.rand(3, 4) < 0.5, torch.randn(3, 3))
    assert site(torch.randn(2, 3, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_bad_masks_and_coefficients_are_refused():
    site = HybridActivation(Activation("relu"), shape=(3, 4))
    with pytest.raises(ValueError, match="boolean"):
        site.set_keep(torch.ones(3, 4))
    with pytest.raises(ValueError, match=r"\(4, 3\)"):
        site.set_keep(torch.ones(4, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="degree"):
        site.set_coeffs(torch.ones(3, 4))
    with pytest.raises(ValueError, match="kind"):
        Activation("sine")


@pytest.mark.parametrize("shape", [(3,), (3, 4), (3, 4, 5)])
def test_three_forms(shape):
    keep, line, coeffs, x = torch.rand(shape) < 0.3, torch.rand(shape) < 0.5, torch.randn(3, 3), torch.randn(6, *shape)
    site, lines = _site(keep, coeffs), torch.randn(2, 3)
    site.set_line(line)
    site.set_line_coeffs(lines)
    c, (c0, c1) = coeffs.view(3, 3, *(1,) * (len(shape) - 1)), lines.view(2, 3, *(1,) * (len(shape) - 1))
    square = c[0] + c[1] * x + c[2] * x * x
    torch.testing.assert_close(site(x), torch.where(keep, x.relu(), torch.where(line, c0 + c1 * x, square)))
    assert site.lines == int((line & ~keep).sum()) and torch.equal(site.takes_line, line & ~keep)
    assert f"lines={site.lines}" in repr(site)
    site.set_line(None)
    torch.testing.assert_close(site(x), torch.where(keep, x.relu(), square))
    assert site.lines == 0 and "line" not in str(list(site.state_dict()))


def test_lines_train_where_they_are_taken():
    site = _site(torch.tensor([[True, False], [True, True]]), torch.randn(3, 2))
    site.set_line(torch.ones(2, 2, dtype=torch.bool))
    assert site.line_coeffs.requires_grad and not site.coeffs.requires_grad
    site(torch.randn(5, 2, 2)).sum().backward()
    assert (site.line_coeffs.grad[:, 0] != 0).all() and (site.line_coeffs.grad[:, 1] == 0).all()
    site.set_line(torch.zeros(2, 2, dtype=torch.bool))
    assert not site.line_coeffs.requires_grad and site.coeffs.requires_grad


def test_bad_lines_are_refused():
    site = HybridActivation(Activation("relu"))
    with pytest.raises(ValueError, match="shape None"):
        site.set_line(torch.ones(3, 4, dtype=torch.bool))
    site.set_keep(torch.ones(3, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="boolean"):
        site.set_line(torch.ones(3, 4))
    with pytest.raises(ValueError, match="line_coeffs"):
        site.set_line_coeffs(torch.ones(2, 3))


def test_a_share_of_the_replacement_in_training_alone():
    keep = torch.tensor([[True, False], [False, False]])
    site, x = _site(keep, torch.randn(3, 2)), torch.randn(5, 2, 2)
    whole = site(x)
    site.share = torch.tensor(0.25)
    torch.testing.assert_close(site(x), torch.where(keep, x.relu(), 0.75 * x.relu() + 0.25 * whole))
    assert torch.equal(site.eval()(x), whole)
