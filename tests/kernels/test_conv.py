import numpy as np
import pytest
from kernel_cases import EDGES

from autorep_fx import kernels
from autorep_fx.kernels import reference

# batch, channels, outputs, groups, (height, width), kernel, stride, padding, dilation
CASES = [
    (1, 1, 1, 1, (1, 1), (1, 1), 1, 0, 1),
    (1, 3, 64, 1, (9, 7), (3, 3), 1, 1, 1),
    (2, 5, 33, 1, (8, 8), (3, 3), 2, 1, 1),
    (3, 4, 7, 1, (6, 11), (3, 2), (1, 3), (2, 0), (1, 2)),
    (1, 8, 100, 1, (5, 5), (1, 1), 2, 0, 1),
    (1, 70, 31, 1, (4, 4), (3, 3), 1, 1, 1),
    (2, 8, 16, 4, (6, 6), (3, 3), 1, 1, 1),
    (1, 6, 6, 6, (9, 9), (3, 3), 1, 1, 1),
    (2, 6, 12, 6, (9, 10), (5, 3), (2, 3), (2, 1), (1, 2)),
    (1, 4, 4, 2, (7, 7), (3, 3), 1, 2, 3),
    (1, 6, 18, 6, (5, 5), (3, 3), 1, 1, 1),
    (1, 2, 65, 1, (40, 40), (3, 3), 1, 1, 1),
    # short filters: strides, borders that are cut, groups, several blocks of tiles, too few tiles for some tiers
    (1, 32, 32, 1, (16, 16), (3, 3), 1, 1, 1),
    (1, 33, 35, 1, (13, 18), (3, 3), 1, 1, 1),
    (1, 32, 41, 1, (17, 16), (3, 3), 1, (0, 3), 1),
    (2, 64, 64, 2, (9, 11), (3, 3), 1, (2, 1), 1),
    (3, 32, 33, 1, (33, 26), (3, 3), 1, 1, 1),
    (1, 40, 32, 1, (15, 17), (3, 3), 2, 1, 1),
    (2, 66, 70, 2, (16, 9), (3, 3), 2, (0, 2), 1),
    (5, 32, 32, 1, (21, 24), (3, 3), 2, 1, 1),
    (4, 32, 48, 1, (5, 5), (3, 3), 1, 1, 1),
]


def make(rng, shape, bits, dtype):
    full = rng.integers(0, 2**64, size=shape, dtype=np.uint64)
    narrow = full.view(np.int64) >> (64 - bits)
    return narrow.astype(dtype) if bits < 64 else full.view(np.int64).astype(dtype)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("dtype, bits", [("u8", 64), ("i8", 32), ("u8", 16), ("u4", 32), ("i4", 16)])
def test_equals_reference(tier, case, dtype, bits):
    batch, channels, outputs, groups, (h, w), kernel, stride, padding, dilation = case
    rng = np.random.default_rng(2)
    x = make(rng, (batch, channels, h, w), 64, dtype)
    weight = make(rng, (outputs, channels // groups, *kernel), min(bits, 8 * x.itemsize), dtype)
    x.ravel()[: len(EDGES)] = EDGES.astype(x.dtype)[: x.size]
    options = dict(stride=stride, padding=padding, dilation=dilation)
    want = reference.conv2d(x, reference.pack_weight(weight, groups=groups), **options)
    packed = kernels.pack_weight(weight, groups=groups, weight_bits=bits)
    got = kernels.conv2d(x, packed, **options)
    assert got.dtype == x.dtype
    np.testing.assert_array_equal(got, want)
    again = kernels.conv2d(x, packed, add=want, out=want.copy(), **options)
    np.testing.assert_array_equal(again, want + want)


@pytest.mark.parametrize("batch", [0, 1, 2, 3, 4, 5, 101])
@pytest.mark.parametrize("inputs, outputs", [(1, 1), (3, 2), (16, 33), (513, 10), (1000, 64)])
def test_linear_equals_reference(tier, ring, batch, inputs, outputs):
    x, w, add = ring((batch, inputs)), ring((outputs, inputs)), ring((batch, outputs))
    got = kernels.linear(x, kernels.pack_weight(w), add=add)
    np.testing.assert_array_equal(got, reference.linear(x, reference.pack_weight(w), add=add))


def test_linear_is_the_matrix_product(tier, ring):
    a, b, c = ring((17, 40)), ring((9, 40)), ring((17, 9))
    np.testing.assert_array_equal(kernels.linear(a, kernels.pack_weight(b), add=c), a @ b.T + c)


def test_agrees_with_torch(tier):
    torch = pytest.importorskip("torch")
    g = torch.Generator().manual_seed(0)
    x = torch.randint(-(2**62), 2**62, (2, 6, 10, 9), generator=g)
    w = torch.randint(-(2**62), 2**62, (8, 3, 3, 3), generator=g)
    want = torch.nn.functional.conv2d(x, w, stride=2, padding=1, dilation=2, groups=2)
    got = kernels.conv2d(x, kernels.pack_weight(w, groups=2), stride=2, padding=1, dilation=2)
    np.testing.assert_array_equal(got, want.numpy())


def test_threads_and_tiers_share_packed_weights(ring):
    x, w = ring((2, 16, 12, 12)), ring((40, 16, 3, 3))
    packed = kernels.pack_weight(w)
    want = reference.conv2d(x, reference.pack_weight(w), padding=1)
    for tier in kernels.available_tiers():
        for threads in (1, 2, 5):
            with kernels.use(tier=tier, threads=threads):
                np.testing.assert_array_equal(kernels.conv2d(x, packed, padding=1), want)


@pytest.mark.parametrize("bits", [16, 32])
def test_weight_bits_are_exact_limits(bits):
    top = 2 ** (bits - 1)
    for value in (-top, top - 1):
        packed = kernels.pack_weight(np.full((2, 2), value), weight_bits=bits)
        np.testing.assert_array_equal(kernels.linear(np.eye(2, dtype=int), packed), np.full((2, 2), value))
    for value in (-top - 1, top):
        with pytest.raises(ValueError, match="weight:"):
            kernels.pack_weight(np.full((2, 2), value), weight_bits=bits)


def test_prepared_weights_give_the_same(tier, ring):
    x, w = ring((1, 32, 16, 16)), ring((32, 32, 3, 3))
    packed, prepared = kernels.pack_weight(w), kernels.pack_weight(w)
    for stride in (1, 2, 3):
        kernels.prepare_conv2d(x.shape, prepared, stride=stride, padding=1)
        options = dict(stride=stride, padding=1)
        np.testing.assert_array_equal(kernels.conv2d(x, prepared, **options), kernels.conv2d(x, packed, **options))


def test_empty_batch(tier, ring):
    assert kernels.conv2d(ring((0, 3, 8, 8)), kernels.pack_weight(ring((4, 3, 3, 3)))).shape == (0, 4, 6, 6)


X, W = np.zeros((1, 4, 6, 6), np.uint64), np.zeros((8, 4, 3, 3), np.uint64)


@pytest.mark.parametrize(
    "call, error, name",
    [
        (lambda: kernels.pack_weight(W.astype(float)), TypeError, "weight"),
        (lambda: kernels.pack_weight(None), TypeError, "weight"),
        (lambda: kernels.pack_weight(W[0]), ValueError, "weight"),
        (lambda: kernels.pack_weight(W[:0]), ValueError, "weight"),
        (lambda: kernels.pack_weight(W, groups=3), ValueError, "groups"),
        (lambda: kernels.pack_weight(W, groups=0), ValueError, "groups"),
        (lambda: kernels.pack_weight(W, groups=1.0), TypeError, "groups"),
        (lambda: kernels.pack_weight(W, weight_bits=13), ValueError, "weight_bits"),
        (lambda: kernels.conv2d(X, W), TypeError, "weight"),
        (lambda: kernels.conv2d(X[0], kernels.pack_weight(W)), ValueError, "x:"),
        (lambda: kernels.conv2d(X[:, :3], kernels.pack_weight(W)), ValueError, "x:"),
        (lambda: kernels.conv2d(X.astype(np.uint32), kernels.pack_weight(W)), TypeError, "x:"),
        (lambda: kernels.conv2d(X[..., :2], kernels.pack_weight(W)), ValueError, "x:"),
        (lambda: kernels.conv2d(X, kernels.pack_weight(W), stride=0), ValueError, "stride"),
        (lambda: kernels.conv2d(X, kernels.pack_weight(W), stride=(1, 2, 3)), TypeError, "stride"),
        (lambda: kernels.conv2d(X, kernels.pack_weight(W), padding=-1), ValueError, "padding"),
        (lambda: kernels.conv2d(X, kernels.pack_weight(W), padding=2**20), ValueError, "padding"),
        (lambda: kernels.conv2d(X, kernels.pack_weight(W), dilation=2**30), ValueError, "dilation"),
        (lambda: kernels.conv2d(X, kernels.pack_weight(W), add=np.zeros(3, np.uint64)), ValueError, "add"),
        (lambda: kernels.conv2d(X, kernels.pack_weight(W), out=np.zeros((1, 8, 4, 3), np.uint64)), ValueError, "out"),
        (lambda: kernels.conv2d(X, kernels.pack_weight(W[:, :, 0, 0])), ValueError, "weight"),
        (lambda: kernels.prepare_conv2d(X.shape, W), TypeError, "weight"),
        (lambda: kernels.prepare_conv2d(X.shape[1:], kernels.pack_weight(W)), ValueError, "x:"),
        (lambda: kernels.prepare_conv2d((1, 4, 2**60, 6), kernels.pack_weight(W)), ValueError, "x_shape"),
        (lambda: kernels.linear(X[0, 0], kernels.pack_weight(W)), ValueError, "weight"),
        (lambda: kernels.linear(X[0, 0], kernels.pack_weight(W[:, :, 0, 0])), ValueError, "x:"),
    ],
)
def test_bad_input_names_the_argument(call, error, name):
    with pytest.raises(error, match=name):
        call()
