import numpy as np
import pytest
from kernel_cases import HASH_KEY, SIZES, WIDTHS, wanted

from autorep_fx import kernels
from autorep_fx.kernels import reference

SEED = bytes(range(16))


def elements(purpose, shape, width):
    """Pseudo-random ring elements of this width."""
    count = int(np.prod(shape))
    words = kernels.prg_words(SEED, purpose, (count * np.dtype(width).itemsize + 7) // 8)
    return words.view(width)[:count].reshape(shape)


def shares_of_powers(r, shift, share="u8", beta=None):
    """Both parties' shares, as the dealer makes them: party 1's from its seed."""
    half = f"u{int(share[1]) // 2}"
    beta = beta or (half if r.itemsize == int(share[1]) and shift <= 4 * r.itemsize else share)
    widths = {"alpha": share, "beta": beta, "alpha2": share, "ab": beta}
    one = {name: elements(i, r.shape, width) for i, (name, width) in enumerate(widths.items())}
    zero = {k: v.copy() for k, v in one.items()}
    kernels.deal_powers_(r, shift=shift, **zero)
    return zero, one


def fitting(shift, wire, share, beta):
    """A shift that these widths allow, near ``shift``."""
    return min(shift, 8 * int(beta[1]) if beta < share else 8 * int(wire[1]) - 2)


def random_arguments(ring, batch, positions, wire="u8", share="u8", beta="u4"):
    rng = np.random.default_rng(0)
    shape = (batch, positions)
    keep = np.flatnonzero(rng.random(positions) < 0.3)
    shared = {name: ring(shape).astype(share) for name in ("alpha", "alpha2", "sub")}
    high = {name: ring(shape).astype(beta) for name in ("beta", "ab")}
    relu = ring((batch, keep.size)).astype(share)
    return dict(m=ring(shape).astype(wire), keep=keep, relu=relu, linear=rng.random(positions) < 0.5, **shared, **high)


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("positions", SIZES)
@pytest.mark.parametrize("shift, align, party", [(12, 12, 0), (0, 0, 1), (32, 20, 0), (17, 63, 1), (62, 5, 0)])
def test_equals_reference(tier, ring, positions, shift, align, party, widths):
    args_of_all = random_arguments(ring, 2, positions, *widths)
    common = dict(shift=fitting(shift, *widths), align=align, party=party)
    absent = [(), ("linear",), ("alpha2", "ab"), ("keep", "relu"), ("sub",), ("sub", "linear")]
    for names in absent:
        args = {k: v for k, v in args_of_all.items() if k not in names}
        want = reference.activation_step(**args, **common)
        assert want.dtype == widths[1]
        np.testing.assert_array_equal(kernels.activation_step(**args, **common), want, err_msg=str(names))
        m = args.pop("m").copy()
        if widths[0] == widths[1]:
            assert kernels.activation_step(m, **args, **common, out=m) is m
            np.testing.assert_array_equal(m, want)


def test_every_position_kept_needs_no_powers(tier, ring):
    m, relu, sub = ring((3, 100)), ring((3, 100)), ring((3, 100))
    args = dict(shift=3, align=5, party=1, relu=relu, keep=np.arange(100), sub=sub)
    np.testing.assert_array_equal(kernels.activation_step(m, **args), (relu << np.uint64(5)) - sub)


def test_threads(ring):
    args = random_arguments(ring, 3, 100_001)
    want = reference.activation_step(**args, shift=10, align=8, party=0)
    with kernels.use(threads=3):
        np.testing.assert_array_equal(kernels.activation_step(**args, shift=10, align=8, party=0), want)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("shift", [0, 1, 13, 30, 31, 32, 62])
def test_dealer_equals_reference(tier, ring, n, shift, widths):
    args, shift = random_arguments(ring, 1, n, *widths), fitting(shift, *widths)
    names = ("alpha", "beta", "alpha2", "ab")
    for subset in (names, names[:2]):
        a = {k: args[k].ravel().copy() for k in subset}
        b = {k: v.copy() for k, v in a.items()}
        kernels.deal_powers_(args["m"].ravel(), shift=shift, **a)
        reference.deal_powers_(args["m"].ravel(), shift=shift, **b)
        for k in subset:
            np.testing.assert_array_equal(a[k], b[k])


@pytest.mark.parametrize("shift", [0, 1, 10, 16, 32, 33, 40])
@pytest.mark.parametrize("widths", WIDTHS)
def test_the_activation_of_a_masked_wire(tier, ring, shift, widths):
    """Two parties and a dealer: the shares' sum is the activation, within the stated error, at the largest range."""
    wire, share, beta = widths
    shift, bits = fitting(shift, *widths), 8 * int(wire[1])
    n, f = 4000, 12 if bits == 64 else 2
    rng = np.random.default_rng(5)
    # What the wire has room for, and of that what has a square in the ring of the shares.
    x_max = min(2.0 ** (bits - 3 - shift - f), 2.0 ** (4 * int(share[1]) - 1 - f))
    x = rng.uniform(-x_max, x_max, n) * rng.choice([1, 1e-3], n)
    y = np.round(x * 2.0 ** (f + shift)).astype(np.int64)
    r = ring((1, n)).astype(wire)
    m = y.astype(wire)[None] + r
    linear = rng.random(n) < 0.3
    parts = shares_of_powers(r, shift, share, beta)
    z = sum(kernels.activation_step(m, shift=shift, align=f, party=p, linear=linear, **parts[p]) for p in (0, 1))
    got = z.view(f"i{share[1]}")[0] / 2.0 ** (2 * f)
    real = y / 2.0 ** (f + shift)
    unit = 2.0**-f
    assert (np.abs(got - real)[linear] <= unit).all()
    # (x + e)^2 - x^2 with |e| <= unit; the float64 comparison itself is good to 2^-52 relative.
    limit = 2 * np.abs(real) * unit + unit**2 + real**2 * 2.0**-50
    assert (np.abs(got - real**2) <= limit)[~linear].all()


@pytest.mark.parametrize("wire", ["u8", "u4"])
@pytest.mark.parametrize("share", ["u8", "u4"])
def test_truncation_never_wraps(ring, wire, share):
    """Local truncation is wrong by 2^(w-t) for about one in 2^11 of these; this one for none of 300,000."""
    n, bits = 300_000, 8 * int(wire[1])
    shift = 20 if bits == 64 else 12
    rng = np.random.default_rng(6)
    top = 2 ** (bits - 12) if share == "u8" or bits == 32 else 2**48  # the result must fit its ring
    y = rng.integers(-top, top, (1, n))
    r = rng.integers(0, 2**bits, (1, n), dtype=wire)
    parts = shares_of_powers(r, shift, share)
    names = ("alpha", "beta")
    m = y.astype(wire) + r
    x = sum(
        kernels.activation_step(m, shift=shift, align=0, party=p, **{k: parts[p][k] for k in names}) for p in (0, 1)
    )
    error = x.view(f"i{share[1]}") - (y >> shift)
    assert set(np.unique(error)) <= {0, 1}
    assert abs(error.mean() - 0.5) < 0.01  # the mean of the fraction that was cut off: rounding without bias


@pytest.mark.parametrize("wire, share", [("u4", "u4"), ("u4", "u8"), ("u8", "u4"), ("u8", "u8")])
def test_truncation_at_the_edges_of_the_wire(tier, wire, share):
    """Every largest and smallest value that there is room for, under every mask at a seam of the ring."""
    bits, shift = 8 * int(wire[1]), 20 if wire == "u4" else 40
    room = 2 ** (bits - 2)
    values = np.array([-room, 1 - room, -(2**shift), -1, 0, 1, 2**shift - 1, 2**shift, room - 1])
    seams = [0, 1, room - 1, room, 2 * room - 1, 2 * room, 2 * room + 1, 3 * room, 4 * room - 1]
    y, r = np.meshgrid(values, np.array(seams, dtype=object))
    y, r = y.astype(np.int64).reshape(1, -1), r.astype(wire).reshape(1, -1)
    parts = shares_of_powers(r, shift, share)
    m = y.astype(wire) + r
    given = [{k: part[k] for k in ("alpha", "beta")} for part in parts]
    x = sum(kernels.activation_step(m, shift=shift, align=0, party=p, **given[p]) for p in (0, 1))
    error = x.view(f"i{share[1]}").astype(np.int64) - (y >> shift)
    assert set(np.unique(error)) <= {0, 1}


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("share, bits", [(w, b) for w in ("u8", "u4") for b in (2, 3, 20, 31)] + [("u8", 63)])
def test_relu_equals_reference(tier, ring, n, bits, share):
    r_window, m_window = ring((2, n)) >> np.uint64(64 - bits)
    a, b = ring((n, 3)).astype(share), ring((n, 2))
    c = a.copy()
    alpha, payload = kernels.deal_relu_(r_window, bits=bits, shares=a)
    want = reference.deal_relu_(r_window, bits=bits, shares=c)
    for got, w in zip((alpha, payload, a), (*want, c), strict=True):
        np.testing.assert_array_equal(got, w)
    key = kernels.gen_dcf(alpha, payload, b, b[::-1], bits=bits - 1, hash_key=HASH_KEY)
    for p in (0, 1):
        got = kernels.relu_fss(key, b, m_window, a, party=p)
        assert got.dtype == share
        np.testing.assert_array_equal(got, wanted(reference.relu_fss, key, b, m_window, a, party=p))


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("share", ["u8", "u4"])
def test_relu_of_every_value_under_every_mask(tier, ring, bits, share):
    x, r = (v.ravel() for v in np.meshgrid(np.arange(-(2 ** (bits - 1)), 2 ** (bits - 1)), np.arange(2**bits)))
    n = x.size
    r_window = r.astype(np.uint64)
    m_window = ((x + r) % 2**bits).astype(np.uint64)
    roots, one = (ring((n, 2)), ring((n, 2))), ring((n, 3)).astype(share)
    zero = one.copy()
    alpha, payload = kernels.deal_relu_(r_window, bits=bits, shares=zero)
    key = kernels.gen_dcf(alpha, payload, *roots, bits=bits - 1, hash_key=HASH_KEY)
    z = sum(kernels.relu_fss(key, roots[p], m_window, (zero, one)[p], party=p) for p in (0, 1))
    np.testing.assert_array_equal(z.view(f"i{share[1]}"), np.maximum(x, 0))


def test_relu_threads_and_chunks(ring):
    n, bits = 5003, 20
    r_window, m_window = ring((2, n)) >> np.uint64(44)
    shares, root = ring((n, 3)), ring((n, 2))
    alpha, payload = kernels.deal_relu_(r_window, bits=bits, shares=shares.copy())
    key = kernels.gen_dcf(alpha, payload, root, root + np.uint64(2), bits=bits - 1, hash_key=HASH_KEY)
    want = reference.relu_fss(key, root, m_window, shares, party=0)
    for tier in kernels.available_tiers():
        with kernels.use(tier=tier, threads=2):
            np.testing.assert_array_equal(kernels.relu_fss(key, root, m_window, shares, party=0), want)


@pytest.mark.parametrize("shape", [(0, 5), (1, 0), (1, 1), (3, 1000)])
def test_window_equals_reference(tier, ring, shape):
    narrow = [(ring(shape).astype("u4"), cut) for cut in [(0, 32), (12, 20), (31, 1), (9, 23)]]
    wide = [(ring(shape), cut) for cut in [(0, 64), (12, 20), (63, 1), (44, 20), (9, 55)]]
    for v, (shift, bits) in wide + narrow:
        for keep in (None, np.arange(0, shape[1], 3)):
            want = reference.window(v, keep, shift=shift, bits=bits)
            np.testing.assert_array_equal(kernels.window(v, keep, shift=shift, bits=bits), want)


M = np.zeros((2, 4), np.uint64)
H = np.zeros((2, 4), np.uint32)
GOOD = dict(m=M, shift=3, align=2, party=0, alpha=M, beta=H)


@pytest.mark.parametrize(
    "change, error, name",
    [
        (dict(m=M[0]), ValueError, "m:"),
        (dict(m=M.astype(np.uint16)), TypeError, "m:"),
        (dict(m=M.astype(np.float32)), TypeError, "m:"),
        (dict(m=H), TypeError, "beta"),
        (dict(alpha=H, sub=M), TypeError, "sub"),
        (dict(m=H, alpha=H, shift=31), ValueError, "shift"),
        (dict(alpha=H, out=M.copy()), TypeError, "out"),
        (dict(shift=33), ValueError, "shift"),
        (dict(shift=63, beta=M), ValueError, "shift"),
        (dict(shift=1.5), TypeError, "shift"),
        (dict(party=None), TypeError, "party"),
        (dict(align=64), ValueError, "align"),
        (dict(party=2), ValueError, "party"),
        (dict(alpha=M[:1]), ValueError, "alpha"),
        (dict(alpha=None), ValueError, "alpha"),
        (dict(alpha=None, beta=None), ValueError, "alpha"),
        (dict(beta=M.astype(float)), TypeError, "beta"),
        (dict(alpha2=M), ValueError, "ab"),
        (dict(linear=np.zeros(4)), TypeError, "linear"),
        (dict(linear=np.zeros(3, bool)), ValueError, "linear"),
        (dict(keep=np.array([0, 4]), relu=M[:, :2]), ValueError, "keep"),
        (dict(keep=np.array([1, 1]), relu=M[:, :2]), ValueError, "keep"),
        (dict(keep=np.array([-1, 1]), relu=M[:, :2]), ValueError, "keep"),
        (dict(keep=np.array([0, 1])), ValueError, "relu"),
        (dict(keep=np.array([0, 1]), relu=M), ValueError, "relu"),
        (dict(sub=M[:, :1]), ValueError, "sub"),
        (dict(out=np.zeros((4, 2), np.uint64)), ValueError, "out"),
    ],
)
def test_bad_input_names_the_argument(change, error, name):
    with pytest.raises(error, match=name):
        kernels.activation_step(**{**GOOD, **change})


def test_out_must_not_be_another_argument(ring):
    a = ring((2, 4))
    with pytest.raises(ValueError, match="out"):
        kernels.activation_step(ring((2, 4)), shift=3, align=2, party=0, alpha=a, beta=H, out=a)


@pytest.mark.parametrize(
    "call, error, name",
    [
        (lambda: kernels.window(M, shift=60, bits=5), ValueError, "bits"),
        (lambda: kernels.window(H, shift=20, bits=13), ValueError, "bits"),
        (lambda: kernels.window(H, shift=32, bits=1), ValueError, "shift"),
        (lambda: kernels.window(M, np.array([4]), shift=3, bits=20), ValueError, "keep"),
        (lambda: kernels.window(M, shift=3, bits=None), TypeError, "bits"),
        (lambda: kernels.deal_relu_(M[0], bits=1, shares=np.zeros((4, 3), np.uint64)), ValueError, "bits"),
        (lambda: kernels.deal_relu_(M[0], bits=5, shares=np.zeros((4, 2), np.uint64)), ValueError, "shares"),
        (
            lambda: kernels.deal_relu_(M[0] + np.uint64(32), bits=5, shares=np.zeros((4, 3), np.uint64)),
            ValueError,
            "r_w",
        ),
        (lambda: kernels.deal_powers_(M, shift=3, alpha=M[:1].copy(), beta=H), ValueError, "alpha"),
        (lambda: kernels.deal_powers_(M, shift=3, alpha=M.copy(), beta=H.T), ValueError, "beta"),
        (lambda: kernels.relu_fss(M[0], M.reshape(4, 2), M[0], M, party=0), ValueError, "key"),
    ],
)
def test_bad_input_of_the_others(call, error, name):
    with pytest.raises(error, match=name):
        call()


@pytest.mark.parametrize("n", [0, 1, 3, 17, 129, 600, 1000])
@pytest.mark.parametrize("bits", [2, 3, 9, 14, 30])
def test_relu_with_tags_equals_the_reference_and_its_tags_hold(tier, ring, n, bits):
    """Values modulo 2^32 at party 0, lifted to 64 bits at party 1, of which the tags are."""
    u64, u32, key = np.uint64, np.uint32, 0xDEADBEEF
    x, r = ring((2, n)) >> u64(64 - bits)
    true = np.zeros((n, 3), u32)
    alpha, payload = kernels.deal_relu_(r, bits=bits, shares=true)
    lifted = payload.view(np.int32).astype(np.int64).view(u64)
    roots = [ring((n, 2)), ~ring((n, 2))]
    k = kernels.gen_dcf(alpha, np.concatenate([lifted, u64(key) * lifted], 1), *roots, bits=bits - 1,
                        hash_key=bytes(range(16)))  # fmt: skip
    mine, local = ring((n, 3)), ring((n, 3)) ^ u64(0x55)
    shares, tags = (true - mine.astype(u32), mine), (local, u64(key) * mine + local)
    m = (x + r) & u64((1 << bits) - 1)
    found = []
    for party in (0, 1):
        options = {"party": party, "tag_key": key if party == 0 else 0}
        found.append(kernels.relu_checked(k, roots[party], m, shares[party], tags[party], **options))
        want = reference.relu_checked(k, roots[party], m, shares[party], tags[party], **options)
        for got, each in zip(found[-1], want, strict=True):
            assert got.dtype == each.dtype
            np.testing.assert_array_equal(got, each)
    (value0, tag0), (value1, tag1) = found
    signed = (x << u64(64 - bits)).view(np.int64) >> np.int64(64 - bits)
    np.testing.assert_array_equal(value0 + value1.astype(u32), np.maximum(signed, 0).astype(u32))
    np.testing.assert_array_equal(tag1, u64(key) * value1 + tag0)


def test_relu_with_tags_names_a_wrong_argument(ring):
    n, roots = 4, ring((4, 2))
    keys = [kernels.gen_dcf(np.zeros(n, np.uint64), ring((n, p)), roots, roots, bits=5, hash_key=bytes(16))
            for p in (3, 6)]  # fmt: skip
    m, three = np.zeros(n, np.uint64), ring((n, 3))
    for call, name in [
        (lambda: kernels.relu_checked(keys[0], roots, m, three, three, party=0), "key"),
        (lambda: kernels.relu_checked(keys[1], roots, m, three[:, :2], three, party=0), "shares"),
        (lambda: kernels.relu_checked(keys[1], roots, m, three, three[:3], party=0), "tags"),
        (lambda: kernels.relu_checked(keys[1], roots, m + np.uint64(64), three, three, party=0), "m_window"),
        (lambda: kernels.relu_checked(keys[1], roots, m, three, three, party=2), "party"),
    ]:
        with pytest.raises(ValueError, match=name):
            call()
