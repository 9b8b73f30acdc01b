import numpy as np
import pytest
from kernel_cases import EDGES, SIZES

from autorep_fx import kernels
from autorep_fx.kernels import reference


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("party", [0, 1])
@pytest.mark.parametrize("frac_bits", [0, 1, 16, 62])
def test_equals_reference(tier, ring, n, party, frac_bits):
    args = [ring(n) for _ in range(3)]
    got = kernels.beaver_square(*args, frac_bits=frac_bits, party=party)
    assert got.dtype == np.uint64
    np.testing.assert_array_equal(got, reference.beaver_square(*args, frac_bits=frac_bits, party=party))


def test_all_pairs_of_edges(tier):
    e, r = (a.ravel() for a in np.meshgrid(EDGES, EDGES))
    got = kernels.beaver_square(e, r, r, frac_bits=16, party=0)
    np.testing.assert_array_equal(got, reference.beaver_square(e, r, r, frac_bits=16, party=0))


def test_two_shares_make_a_square(tier):
    rng = np.random.default_rng(1)
    f = 16
    x = rng.normal(0, 3, 500)
    enc = np.round(x * 2**f).astype(np.int64).view(np.uint64)
    r, r0, q0 = (rng.integers(0, 2**64, 500, dtype=np.uint64) for _ in range(3))
    eps = enc - r
    z = sum(
        kernels.beaver_square(eps, rs, qs, frac_bits=f, party=p)
        for p, (rs, qs) in enumerate([(r0, q0), (r - r0, r * r - q0)])
    )
    # Encoding moves x by half a unit, so x^2 by |x| units; each local truncation adds at most one.
    assert (np.abs(z.view(np.int64) / 2**f - x**2) * 2**f <= np.abs(x) + 2.5).all()


def test_in_place_noncontiguous_and_threads(tier, ring):
    e, r, r2 = ring((200_000, 2))[:, 0], ring(200_000), ring(200_000)
    want = reference.beaver_square(e, r, r2, frac_bits=16, party=0)
    with kernels.use(threads=3):
        assert kernels.beaver_square(e, r, r2, frac_bits=16, party=0, out=r2) is r2
    np.testing.assert_array_equal(r2, want)


def test_signed_torch_tensors_are_read_in_place():
    torch = pytest.importorskip("torch")
    e = torch.arange(-5, 5)
    got = kernels.beaver_square(e, e, e, frac_bits=1, party=0)
    assert got.dtype == np.int64
    want = (e + 2 * e * e + e * e).div(2, rounding_mode="trunc")
    np.testing.assert_array_equal(got, want.numpy())


@pytest.mark.parametrize(
    "change, error, name",
    [
        (dict(epsilon=np.zeros(4)), TypeError, "epsilon"),
        (dict(r=np.zeros(4, np.uint32)), TypeError, "r:"),
        (dict(r=np.zeros(4, ">u8")), TypeError, "r:"),
        (dict(r2=None), TypeError, "r2"),
        (dict(r2=[1, 2, 3, 4]), TypeError, "r2"),
        (dict(r2=np.zeros(5, np.uint64)), ValueError, "r2"),
        (dict(frac_bits=63), ValueError, "frac_bits"),
        (dict(frac_bits=-1), ValueError, "frac_bits"),
        (dict(frac_bits=4.0), TypeError, "frac_bits: expected a whole number"),
        (dict(frac_bits=10**30), ValueError, "frac_bits"),
        (dict(party=2), ValueError, "party"),
        (dict(out=np.zeros(8, np.uint64)[::2]), ValueError, "out"),
        (dict(out=np.zeros(4, np.float64)), TypeError, "out"),
    ],
)
def test_bad_input_names_the_argument(change, error, name):
    good = dict(
        epsilon=np.zeros(4, np.uint64), r=np.zeros(4, np.uint64), r2=np.zeros(4, np.uint64), frac_bits=4, party=0
    )
    with pytest.raises(error, match=name):
        kernels.beaver_square(**{**good, **change})
