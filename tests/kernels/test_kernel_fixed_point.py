import numpy as np
import pytest
from kernel_cases import SIZES

from autorep_fx import kernels
from autorep_fx.kernels import reference


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("frac_bits", [0, 1, 16, 40])
def test_equals_reference(tier, n, dtype, frac_bits):
    rng = np.random.default_rng(0)
    x = (rng.normal(0, 1, n) * 10.0 ** rng.integers(-8, 6, n)).astype(dtype)
    got = kernels.encode(x, frac_bits)
    np.testing.assert_array_equal(got, reference.encode(x, frac_bits))
    back = kernels.decode(got, frac_bits, dtype=dtype)
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, reference.decode(got, frac_bits, dtype=dtype))


def test_rounding_and_limits(tier):
    ties = np.array([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999999999999994, 2.0**52 - 0.5, 2.0**51 + 0.5])
    edges = np.array([0.0, -0.0, 2.0**52, 2.0**53 + 2, -(2.0**61), np.nextafter(2.0**62, 0), 5e-324])
    for x in (ties, edges):
        np.testing.assert_array_equal(kernels.encode(x, 0).view(np.int64), np.round(x).astype(np.int64))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 2.0**62, -(2.0**62), 1e300])
def test_what_does_not_fit_is_an_error(tier, value):
    for at in (0, 50, 99):
        x = np.zeros(100)
        x[at] = value
        with pytest.raises(ValueError, match="x: .*not finite"):
            kernels.encode(x, 0)


def test_torch_and_strides(tier):
    torch = pytest.importorskip("torch")
    x = torch.linspace(-3, 3, 24).reshape(4, 6).T
    np.testing.assert_array_equal(kernels.encode(x, 12), reference.encode(x.numpy(), 12))
    assert kernels.encode(x, 12).shape == (6, 4)


@pytest.mark.parametrize(
    "call, error, name",
    [
        (lambda: kernels.encode(np.zeros(3, np.float16), 3), TypeError, "x:"),
        (lambda: kernels.encode(np.zeros(3, int), 3), TypeError, "x:"),
        (lambda: kernels.encode(np.zeros(3, ">f8"), 3), TypeError, "x:"),
        (lambda: kernels.encode([1.0], 3), TypeError, "x:"),
        (lambda: kernels.encode(np.zeros(3), 62), ValueError, "frac_bits"),
        (lambda: kernels.decode(np.zeros(3), 3), TypeError, "v:"),
        (lambda: kernels.decode(np.zeros(3, int), -1), ValueError, "frac_bits"),
        (lambda: kernels.decode(np.zeros(3, int), 3, dtype="int64"), TypeError, "dtype"),
    ],
)
def test_bad_input_names_the_argument(call, error, name):
    with pytest.raises(error, match=name):
        call()
