import numpy as np
import pytest
from kernel_cases import SIZES, WIDTHS, carry_shapes

from autorep_fx import kernels
from autorep_fx.kernels import reference


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("shift, bits", [(0, 1), (0, 64), (12, 20), (63, 1), (5, 59)])
def test_packing_equals_reference_and_comes_back(tier, ring, n, shift, bits):
    v = ring(n)
    planes = kernels.pack_bits(v, shift=shift, bits=bits)
    np.testing.assert_array_equal(planes, reference.pack_bits(v, shift=shift, bits=bits))
    low = v.astype(np.uint32)
    cut = dict(shift=min(shift, 20), bits=min(bits, 12))
    np.testing.assert_array_equal(kernels.pack_bits(low, **cut), reference.pack_bits(low, **cut))
    back = kernels.unpack_bits(planes, n)
    np.testing.assert_array_equal(back, (v >> np.uint64(shift)) & np.uint64(2**bits - 1))
    np.testing.assert_array_equal(back, reference.unpack_bits(planes, n))


@pytest.mark.parametrize("words", [0, 1, 3, 511, 513])
@pytest.mark.parametrize("nodes", [2, 3, 4, 5, 19, 63])
@pytest.mark.parametrize("party", [0, 1])
def test_one_level_equals_reference(tier, ring, words, nodes, party):
    g, p = ring((nodes, words)), ring((nodes, words))
    shapes = carry_shapes(nodes, words)
    a, b, c, received = (ring(s) for s in shapes)
    message = kernels.carry_open(g, p, a, b)
    np.testing.assert_array_equal(message, reference.carry_open(g, p, a, b))
    got = kernels.carry_close(g, p, message, received, a, b, c, party=party)
    want = reference.carry_close(g, p, message, received, a, b, c, party=party)
    for x, y in zip(got, want, strict=True):
        np.testing.assert_array_equal(x, y)
    for x, y in zip(kernels.borrow_bits(g, p, party=party), reference.borrow_bits(g, p, party=party), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("rows, words", [(1, 1), (3, 7), (5, 0)])
def test_triples_equal_reference_and_work(tier, ring, rows, words):
    a = [ring((rows, words)) for _ in range(2)]
    b = [ring((2 * rows - 1, words)) for _ in range(2)]
    one = ring((2 * rows - 1, words))
    zero, want = one.copy(), one.copy()
    kernels.deal_and_(a[0], b[0], a[1], b[1], c=zero)
    reference.deal_and_(a[0], b[0], a[1], b[1], c=want)
    np.testing.assert_array_equal(zero, want)
    np.testing.assert_array_equal(zero ^ one, np.tile(a[0] ^ a[1], (2, 1))[: 2 * rows - 1] & (b[0] ^ b[1]))


def triples(ring, shapes):
    """Both parties' (a, b, c) for one level."""
    a, b, c = ([ring(s), ring(s)[::-1].copy()] for s in shapes[:3])
    c[0][...] = c[1]
    kernels.deal_and_(a[0], b[0], a[1], b[1], c=c[0])
    return list(zip(a, b, c, strict=True))


def tree(ring, g, p):
    """Both parties through all levels; returns the carry's planes and the number of exchanges."""
    rounds = 0
    while len(g[0]) > 1:
        t = triples(ring, carry_shapes(*g[0].shape))
        sent = [kernels.carry_open(g[q], p[q], *t[q][:2]) for q in (0, 1)]
        new = [kernels.carry_close(g[q], p[q], sent[q], sent[1 - q], *t[q], party=q) for q in (0, 1)]
        g, p = zip(*new, strict=True)
        rounds += 1
    return g[0][0] ^ g[1][0], rounds


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_drelu_of_every_value_under_every_mask(tier, ring, bits):
    x, r = (v.ravel() for v in np.meshgrid(np.arange(-(2 ** (bits - 1)), 2 ** (bits - 1)), np.arange(2**bits)))
    m = kernels.pack_bits(((x + r) % 2**bits).astype(np.uint64), bits=bits)
    r0 = ring(m.shape)
    r1 = kernels.pack_bits(r.astype(np.uint64), bits=bits) ^ r0
    leaves = [kernels.borrow_bits(m[:-1], s[:-1], party=q) for q, s in enumerate((r0, r1))]
    borrow, rounds = tree(ring, *zip(*leaves, strict=True))
    drelu = ~(m[-1] ^ r0[-1] ^ r1[-1] ^ borrow)
    np.testing.assert_array_equal(kernels.unpack_bits(drelu[None], x.size), x >= 0)
    assert rounds == int(np.ceil(np.log2(bits - 1)))


def test_sign_of_additive_shares(tier, ring):
    """x = x0 + x1 over all 64 bits: both propagate their own bits, generate is the AND of them, here already shared."""
    x = np.concatenate([ring(500), np.array([0, 1, 2**63 - 1, 2**63, 2**64 - 1], np.uint64)])
    x0 = ring(x.size)[::-1].copy()
    own = [kernels.pack_bits(v, bits=64) for v in (x0, x - x0)]
    low = [o[:-1] for o in own]
    half = ring(low[0].shape)
    g = [half, half ^ low[0] & low[1]]
    carry, rounds = tree(ring, g, low)
    sign = own[0][-1] ^ own[1][-1] ^ carry
    np.testing.assert_array_equal(kernels.unpack_bits(sign[None], x.size), x >> np.uint64(63))
    assert rounds == 6


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("shift", [0, 12, 30, 32, 62])
@pytest.mark.parametrize("wire, share, high", WIDTHS)
def test_select_equals_reference(tier, ring, n, shift, wire, share, high):
    shift = min(shift, 8 * int(high[1]) if high < share else 8 * int(wire[1]) - 2)
    m, r = ring((2, n)).astype(wire)
    u, ua, alpha = (ring(n).astype(share) for _ in range(3))
    ub, beta = (ring(n).astype(high) for _ in range(2))
    v = ring((n + 63) // 64)
    for party in (0, 1):
        args = (m, v, u, ua, ub, alpha, beta)
        got = kernels.select(*args, shift=shift, party=party)
        assert got.dtype == share
        np.testing.assert_array_equal(got, reference.select(*args, shift=shift, party=party))
    dealt = [[x.copy() for x in (u, ua, ub)] for _ in range(2)]
    for module, arrays in zip((kernels, reference), dealt, strict=True):
        module.deal_select_(r, v, shift=shift, **dict(zip(("u", "ua", "ub"), arrays, strict=True)))
    for x, y in zip(*dealt, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("shift", [0, 18, 40])
@pytest.mark.parametrize("wire, share, high", WIDTHS)
def test_relu_from_the_opened_bit(tier, ring, shift, wire, share, high):
    n, bits = 3000, 8 * int(wire[1])
    shift = min(shift, 8 * int(high[1]) if high < share else bits - 2)
    top = 2 ** min(bits - 3, 8 * int(share[1]) - 2 + shift)  # the result must fit its ring
    y = np.random.default_rng(3).integers(-top, top, n)
    r = ring(n).astype(wire)
    m = y.astype(wire) + r
    u_bits = ring((n + 63) // 64)
    one = {k: ring(n)[::-1].astype(share) for k in ("u", "ua", "alpha")}
    one |= {k: ring(n).astype(high) for k in ("ub", "beta")}
    zero = {k: v.copy() for k, v in one.items()}
    kernels.deal_powers_(r, shift=shift, alpha=zero["alpha"], beta=zero["beta"])
    kernels.deal_select_(r, u_bits, shift=shift, u=zero["u"], ua=zero["ua"], ub=zero["ub"])
    v = kernels.pack_bits((y >= 0).astype(np.uint64), bits=1)[0] ^ u_bits
    z = sum(kernels.select(m, v, shift=shift, party=q, **s) for q, s in enumerate((zero, one)))
    error = z.view(f"i{share[1]}") - np.where(y >= 0, y >> shift, 0)
    assert set(np.unique(error)) <= {0, 1}
    assert (error[y < 0] == 0).all()


def test_threads(ring):
    v = ring(300_001)
    with kernels.use(threads=3):
        planes = kernels.pack_bits(v, shift=3, bits=21)
        np.testing.assert_array_equal(planes, reference.pack_bits(v, shift=3, bits=21))
        np.testing.assert_array_equal(kernels.unpack_bits(planes, v.size), (v >> np.uint64(3)) & np.uint64(2**21 - 1))
        g, p = planes[:20], planes[1:]
        a, b, c, received = (ring(s) for s in carry_shapes(*g.shape))
        message = kernels.carry_open(g, p, a, b)
        want = reference.carry_close(g, p, message, received, a, b, c, party=0)
        got = kernels.carry_close(g, p, message, received, a, b, c, party=0)
        np.testing.assert_array_equal(got[0], want[0])
        np.testing.assert_array_equal(got[1], want[1])


V = np.zeros(100, np.uint64)
G = np.zeros((4, 2), np.uint64)
A, B = G[:2], G[:3]
MESSAGE = np.zeros((5, 2), np.uint64)


@pytest.mark.parametrize(
    "call, error, name",
    [
        (lambda: kernels.pack_bits(G, bits=3), ValueError, "v:"),
        (lambda: kernels.pack_bits(V, bits="3"), TypeError, "bits"),
        (lambda: kernels.pack_bits(V, bits=0), ValueError, "bits"),
        (lambda: kernels.pack_bits(V, shift=60, bits=5), ValueError, "bits"),
        (lambda: kernels.pack_bits(V, shift=64, bits=1), ValueError, "shift"),
        (lambda: kernels.pack_bits(V.astype(np.int16), bits=3), TypeError, "v:"),
        (lambda: kernels.unpack_bits(G, 129), ValueError, "n:"),
        (lambda: kernels.unpack_bits(G, 64), ValueError, "n:"),
        (lambda: kernels.unpack_bits(G, -1), ValueError, "n:"),
        (lambda: kernels.unpack_bits(np.zeros((65, 1), np.uint64), 3), ValueError, "planes"),
        (lambda: kernels.borrow_bits(G, A, party=0), ValueError, "r_planes"),
        (lambda: kernels.borrow_bits(G, G, party=-1), ValueError, "party"),
        (lambda: kernels.carry_open(G[:1], G[:1], A[:0], B[:0]), ValueError, "g:"),
        (lambda: kernels.carry_open(G, A, A, B), ValueError, "p:"),
        (lambda: kernels.carry_open(G, G, B, B), ValueError, "a:"),
        (lambda: kernels.carry_open(G, G, A, A), ValueError, "b:"),
        (lambda: kernels.carry_close(G, G, G, MESSAGE, A, B, B, party=0), ValueError, "message"),
        (lambda: kernels.carry_close(G, G, MESSAGE, G, A, B, B, party=0), ValueError, "received"),
        (lambda: kernels.carry_close(G, G, MESSAGE, MESSAGE, A, B, A, party=0), ValueError, "c:"),
        (lambda: kernels.carry_close(G, G, MESSAGE, MESSAGE, A, B, B, party=3), ValueError, "party"),
        (lambda: kernels.deal_and_(A, B, G, B, c=B.copy()), ValueError, "a1"),
        (lambda: kernels.deal_and_(A, B, A, B, c=G.copy()), ValueError, "c:"),
        (lambda: kernels.select(V, V, V, V, V, V, V, shift=3, party=0), ValueError, "v:"),
        (lambda: kernels.select(V, V[:2], V, V, V, V, V, shift=63, party=0), ValueError, "shift"),
        (lambda: kernels.select(V, V[:2], V[:9], V, V, V, V, shift=3, party=0), ValueError, "u:"),
        (lambda: kernels.deal_select_(V, V[:3], shift=3, u=V.copy(), ua=V.copy(), ub=V.copy()), ValueError, "u_bits"),
    ],
)
def test_bad_input_names_the_argument(call, error, name):
    with pytest.raises(error, match=name):
        call()
