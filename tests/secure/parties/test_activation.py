"""The protocols by themselves, on random values and on edges: dealer's numbers in, shares out, held to integers."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autorep_fx.errors import PartyError
from autorep_fx.secure.correlations import layout
from autorep_fx.secure.correlations.prepared import Once
from autorep_fx.secure.correlations.stream import Stream
from autorep_fx.secure.link.local import local_pair
from autorep_fx.secure.makers.dealt.own import Own
from autorep_fx.secure.makers.dealt.table import DEALINGS
from autorep_fx.secure.parties.table import evaluate as share_of
from autorep_fx.secure.plan import linear, wire
from autorep_fx.secure.plan.plan import Step
from autorep_fx.secure.plan.ring import U64, decode, elements, encode, signed
from autorep_fx.secure.program.spline import evaluate as spline_at
from autorep_fx.secure.program.spline import spline

CLIENT, SERVER, PUBLIC = (Stream(f"{who}s 16 byte".encode(), 1) for who in ("client'", "server'", "dealer'"))


#: Bits of the masked wire's ring, and of the result's.
WIDTHS = pytest.mark.parametrize("widths", [(64, 64), (32, 32), (32, 64), (64, 32)], ids="{0[0]} to {0[1]}".format)


def step(size, *, f, shift, kind="relu", kept=(), powers=1, align=0, window=None, linear=None, comparison=None,
         slope=0, widths=(64, 64)):  # fmt: skip
    attrs = {"kind": kind, "kept": np.asarray(kept, np.int64), "shift": shift, "align": align, "powers": powers,
             "window": window, "linear": linear, "comparison": comparison, "slope": slope,
             "wire": widths[0]}  # fmt: skip
    return Step("act", "activation", ("y",), (size,), f + align, widths[1], attrs)


def evaluate(s, y, r, comparison=None):
    """Both parties' shares, added: signed integers (N, P), modulo 2**width of the result."""
    batch, index = len(y), 7
    buffer, key = DEALINGS[s.op].deal(s, index, r, Own(CLIENT), SERVER, PUBLIC)
    found = layout.layout(s, batch)
    halves = [layout.views(buffer, found),
              layout.views(CLIENT.words(index, 2, layout.words(found)), found)]  # fmt: skip
    m = y.astype(r.dtype) + r
    ends = local_pair("server", "client", timeout=10)
    shares = [None, None]

    def party(p):
        def exchange(mine):
            theirs = np.empty_like(mine)
            ends[p].exchange(0, np.ascontiguousarray(mine), theirs)
            return theirs

        own = DEALINGS[s.op].complete(s, index, batch, halves[p], (SERVER, CLIENT)[p], key)
        shares[p] = share_of(s, m, own, party=p, exchange=exchange)

    threads = [threading.Thread(target=party, args=(p,)) for p in (0, 1)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return signed(shares[0] + shares[1])


def wrapped(x, widths):
    """Whole numbers as the ring of the result has them."""
    return signed(x.astype(elements(widths[1])))


def masks(shape, seed=0, width=64):
    """Uniform masks, with the edges of the ring among them."""
    rng = np.random.default_rng(seed)
    r = rng.integers(0, 2**width, shape, dtype=elements(width))
    top = 2 ** (width - 1)
    edges = np.array([0, 1, top - 1, top, 2 * top - 1, top // 2, 2 * top - top // 2], r.dtype)
    r.ravel()[: len(edges)] = edges[: r.size]
    return r


def values(shape, bits, seed=1):
    """|y| < 2**bits, with edges against every edge of the masks."""
    rng = np.random.default_rng(seed)
    y = rng.integers(-(2**bits) + 1, 2**bits, shape, dtype=np.int64)
    edges = np.array([0, -1, 1, 2**bits - 1, -(2**bits) + 1])
    y.ravel()[: 7 * 5] = np.repeat(edges, 7)[: y.size]
    return y


def edge_masks(shape, width=64):
    r = masks(shape, width=width)
    r.ravel()[: 7 * 5] = np.tile(r.ravel()[:7], 5)
    return r


@WIDTHS
@pytest.mark.parametrize("shift", [0, 1, 13, 29, 30, 32, 33, 40, 61])
def test_truncation_is_floor_or_one_more_and_never_wraps(shift, widths):
    shift = min(shift, widths[0] - 3)
    s = step(200, f=0, shift=shift, kind="truncate", widths=widths)
    y, r = values((50, 200), widths[0] - 3), edge_masks((50, 200), widths[0])
    off = wrapped(evaluate(s, y, r) - (y >> shift), widths)
    assert set(np.unique(off)) <= {0, 1} and (shift or not off.any())


def test_truncation_is_unbiased():
    y = np.full((100, 1000), 3 * 2**20 + 2**18, np.int64)  # a quarter of a unit above 3
    up = evaluate(step(1000, f=0, shift=20), y, masks((100, 1000))) - 3
    assert abs(up.mean() - 0.25) < 5 * (0.25 * 0.75 / 1e5) ** 0.5


def test_no_truncation_wraps_in_ten_thousand_images():
    """As many activations as 10,000 images have in a ResNet-14 on digits. Dividing shares loses one in 2**31."""
    size, images = 8192, 10_000
    s, rng = step(size, f=0, shift=18), np.random.default_rng(0)
    for start in range(0, images, 250):
        y = (rng.standard_normal((250, size), np.float32) * 2.0**30).astype(np.int64)  # |y| of some units at 30 bits
        server, client = Stream(b"server's 16 byte", start), Stream(b"client's 16 byte", start)
        r = server.words(0, 0, y.shape)
        buffer, _ = DEALINGS[s.op].deal(s, 0, r, Own(client), server, PUBLIC)
        found, m = layout.layout(s, 250), y.view(U64) + r
        z = share_of(s, m, layout.views(buffer, found), party=0, exchange=None)
        z += share_of(s, m, layout.views(client.words(0, 2, layout.words(found)), found), party=1, exchange=None)
        off = z.view(np.int64) - (y >> 18)
        assert off.min() >= 0 and off.max() <= 1


@WIDTHS
@pytest.mark.parametrize("shift", [0, 12, 30, 32, 40])
def test_square_is_that_of_the_truncated_value(shift, widths):
    shift = min(shift, widths[0] - 3)
    s = step(300, f=0, shift=shift, powers=2, widths=widths)
    y, r = values((4, 300), widths[0] - 3), edge_masks((4, 300), widths[0])
    x, z = y >> shift, evaluate(s, y, r)
    with np.errstate(over="ignore"):
        assert np.all((z == wrapped(x * x, widths)) | (z == wrapped((x + 1) * (x + 1), widths)))


@pytest.mark.parametrize("comparison", ["fss", "gmw"])
@pytest.mark.parametrize(
    "shift, window, widths",
    [(0, 20, (64, 64)), (14, 17, (64, 64)), (14, 4, (64, 64)), (33, 20, (64, 64)), (40, 18, (64, 64)),
     (2, 60, (64, 64)), (14, 17, (64, 32)), (40, 18, (64, 32)), (0, 20, (32, 32)), (14, 14, (32, 32)),
     (2, 28, (32, 32)), (14, 17, (32, 64)), (28, 3, (32, 64)), (0, 30, (32, 64))],
)  # fmt: skip
def test_relu(comparison, shift, window, widths):
    top = shift + window - 1
    s = step(130, f=0, shift=shift, kept=np.arange(130), powers=1, window=window, comparison=comparison, widths=widths)
    y, r = values((3, 130), min(top, widths[0] - 2)), edge_masks((3, 130), widths[0])
    y = np.clip(y, -(2**top) + 2**shift, 2**top - 1 - 2**shift)  # rounding may add one unit
    z, x = evaluate(s, y, r), y >> shift
    assert np.all((z == np.maximum(x, 0)) | (z == np.maximum(x + 1, 0)))
    assert shift or np.array_equal(z, np.maximum(y, 0))


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["relu", "relu6", "leaky_relu"]), st.sampled_from(["fss", "gmw"]), st.integers(1, 70),
    st.integers(1, 3), st.integers(0, 40), st.integers(0, 2**32), st.floats(0, 1), st.booleans(),
    st.sampled_from([(64, 64), (32, 32), (32, 64), (64, 32)]),
)  # fmt: skip
def test_sites(kind, comparison, size, batch, shift, seed, fraction, squares, widths):
    """Kept positions, squares and lines side by side, in any number and at any place."""
    rng = np.random.default_rng(seed)
    f, shift = 8, min(shift, widths[0] - 15)
    kept = np.flatnonzero(rng.random(size) < fraction)
    linear = rng.random(size) < 0.3 if squares else None
    align = f if squares else 10 if kind == "leaky_relu" else 0
    slope = round(0.1 * 2**align)
    powers = 2 if squares else 1
    s = step(size, f=f, shift=shift, kind=kind, kept=kept, powers=powers, align=align, window=14, linear=linear,
             comparison=comparison if len(kept) else None, slope=slope, widths=widths)  # fmt: skip
    y = rng.integers(-(2 ** (shift + 12)), 2 ** (shift + 12), (batch, size))
    z = evaluate(s, y, rng.integers(0, 2 ** widths[0], (batch, size), dtype=elements(widths[0])))

    def wanted(x):
        out = x << align
        if squares:
            out = np.where(linear, out, x * x)
        kept_value = {"relu": np.maximum(x, 0) << align, "relu6": np.clip(x, 0, 6 << f) << align,
                      "leaky_relu": np.where(x >= 0, x << align, x * slope)}[kind]  # fmt: skip
        out[:, kept] = kept_value[:, kept]
        return out

    x = y >> shift
    assert np.all((z == wanted(x)) | (z == wanted(x + 1)))


@WIDTHS
@pytest.mark.parametrize("shift", [(0, 0), (13, 7), (32, 33), (61, 61)])
@pytest.mark.parametrize("shapes", [((3, 4, 5), (3, 1, 1)), ((2, 1, 5), (2, 9, 1)), ((35,), (35,)), ((), ())])
def test_product_is_that_of_the_truncated_values(shapes, shift, widths):
    shape, shift = np.broadcast_shapes(*shapes), tuple(min(t, widths[0] - 3) for t in shift)
    attrs = {"first": shapes[0], "second": shapes[1], "shift": shift, "exponents": shift, "wire": widths[0]}
    s = Step("mul", "product", ("x", "y"), shape, 0, widths[1], attrs)
    y = values((40, s.wire_size), widths[0] - 3)
    z = evaluate(s, y, edge_masks(y.shape, widths[0])).reshape(40, *shape)
    at = int(np.prod(shapes[0], dtype=int))
    first, second = (part.reshape(40, *shape) >> bits
                     for part, shape, bits in zip((y[:, :at], y[:, at:]), shapes, shift))  # fmt: skip
    with np.errstate(over="ignore"):
        products = [wrapped((first + i) * (second + j), widths) for i in (0, 1) for j in (0, 1)]
    assert np.any([z == product for product in products], 0).all()


def map_step(kind, shape, weight_shape, **attrs):
    attrs = {"kind": kind, "weight_shape": weight_shape, "weight_bits": 9, **attrs}
    return Step("map", "map", ("x",), shape, 0, 64, attrs)


MAPS = {
    "conv": (
        map_step("conv2d", (4, 3, 3), (4, 2, 3, 3), stride=(2, 2), padding=(1, 1), dilation=(1, 1), groups=2),
        (4, 6, 6),
    ),
    "linear": (map_step("linear", (5,), (5, 7)), (7,)),
    "channel": (map_step("channel", (3, 4, 4), (3,)), (3, 4, 4)),
    "position": (map_step("position", (3, 2, 2), (3,), per_channel=4, replaced=np.array([0, 3, 5, 11])), (3, 2, 2)),
}


@WIDTHS
@pytest.mark.parametrize("name", MAPS)
def test_map_on_a_blinded_wire_is_exact(name, widths):
    """Its input may be wider than it is."""
    if widths[0] < widths[1]:
        return
    s, input_shape = MAPS[name]
    s = replace(s, width=widths[1])
    rng = np.random.default_rng(0)

    def random(shape, width=s.width):
        return rng.integers(0, 2**width, shape, dtype=elements(width))

    w, a, z, b = (
        random(s.attrs["weight_shape"]),
        random(s.attrs["weight_shape"]),
        random((2, *input_shape), widths[0]),
        random((2, *input_shape), widths[0]),
    )
    c, t = random((2, *s.shape)), random((2, *s.shape))
    e = linear.pack(s, w - a, public=True)
    h = linear.apply(s, e, b, add=t)
    u = linear.apply(s, linear.pack(s, a), b) - (t + c)
    out = linear.apply(s, linear.pack(s, w, public=True), z - b, add=u + h)
    assert np.array_equal(out + c, linear.apply(s, linear.pack(s, w, public=True), z))


@pytest.mark.parametrize("window", [4, 5, 17, 18, 19, 20, 33, 62])
def test_what_the_borrow_tree_declares(window):
    sizes = wire.levels(window)
    s = step(1, f=0, shift=0, kept=[0], window=window, comparison="gmw")
    assert wire.exchanges(s) == int(np.ceil(np.log2(window - 1))) + 1
    assert sum(n // 2 for n in sizes) == window - 2, "one merge less than leaves"


def test_encode():
    for v, f in ((0.0, 10), (1.5, 12), (-1.5, 12), (2.0**30, 20), (-(2.0**40), 21)):
        assert decode(encode(np.array([v]), f), f)[0] == v
    # Beyond the ring's range, modulo 2**64, exactly.
    for v in (2.0**63, -(2.0**63), 2.0**64 + 2.0**13, -(2.0**70) - 2.0**20, 3 * 2.0**63):
        assert int(encode(np.array([v]), 0)[0]) == int(v) % 2**64


def test_a_correlation_is_used_once():
    once = Once("the mask", 3)
    assert once.take() == 3
    with pytest.raises(PartyError, match="the mask was used already; run the offline phase again"):
        once.take()


@WIDTHS
@pytest.mark.parametrize("comparison", ["table", "gmw"])
def test_a_spline_is_that_of_whole_numbers_for_every_value_of_its_window(widths, comparison):
    f, window, shift, grid = 4, 10, 12, 3
    found = spline("gelu", {"approximate": "none"}, 2.0 ** (window - 2 - f), f, 0.01, 4, 1 << grid)
    x = np.arange(-(2 ** (window - 2)), 2 ** (window - 2))
    rows = {f"c{k}": tuple(found.pieces[:, k].tolist()) for k in range(3)}
    s = step(len(x), f=f, shift=shift, kind="gelu", kept=np.arange(len(x)), powers=2, align=f + 4, window=window,
             comparison=comparison, widths=widths)  # fmt: skip
    s.attrs.update(rows, knots=tuple(found.knots.tolist()), grid=grid, slope=None)
    y = np.tile(x << shift, (40, 1))
    z = evaluate(s, y, masks(y.shape, 5, widths[0]))
    want = spline_at(found.knots, found.pieces, x)
    np.testing.assert_array_equal(z, np.tile(wrapped(want, widths), (40, 1)))
