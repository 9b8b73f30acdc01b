"""What a kernel writes shares no memory with what it reads, but where element by element it may be the same array."""

import inspect
import itertools

import numpy as np
import pytest

from autorep_fx import kernels
from autorep_fx.kernels import reference

N = 96
#: Of the arrays that each kernel is called with: those that it writes, and those that may be one of them.
WRITTEN = {
    "activation_step": ({"out"}, {"m"}),
    "beaver_square": ({"out"}, {"epsilon", "r", "r2"}),
    "conv2d": ({"out"}, {"add"}),
    "deal_and_": ({"c"}, set()),
    "deal_powers_": ({"alpha", "beta", "alpha2", "ab"}, set()),
    "deal_relu_": ({"shares"}, set()),
    "deal_select_": ({"u", "ua", "ub"}, set()),
    "linear": ({"out"}, {"add"}),
    "lpn_": ({"blocks"}, set()),
    "ot_flip_": ({"q"}, set()),
    "trees_full": ({"out"}, set()),
    "trees_lacking": ({"out"}, set()),
    "vole_fold_": ({"rows"}, set()),
    "vole_receive": ({"out"}, set()),
    "vole_send": ({"out"}, set()),
}
WEIGHTS = {
    "conv2d": dict(shape=(5, 4, 3, 3)),
    "conv2d by rows": dict(shape=(4, 1, 3, 3), groups=4),
    "conv2d by short filters": dict(shape=(33, 32, 3, 3)),
    "linear": dict(shape=(9, 40)),
}


def words(*shape, width="u8"):
    rng = np.random.default_rng(sum(shape))
    return rng.integers(0, 2 ** (8 * int(width[1])), shape, dtype=width)


#: Of trees of four leaves.
LEAVES = reference.expand_keys(words(256, 2))


def arrays_of(name, n=N):
    """The arrays of a good call, by name; all that is written is there."""
    if name == "activation_step":
        keep = np.arange(0, n, 3)
        powers = dict(alpha=words(2, n), beta=words(2, n, width="u4"), alpha2=words(2, n), ab=words(2, n, width="u4"))
        rest = dict(linear=np.arange(n) % 2 == 0, relu=words(2, keep.size), keep=keep, sub=words(2, n))
        return dict(m=words(2, n), out=words(2, n), **powers, **rest)
    if name == "beaver_square":
        return {key: words(n + i)[i:].copy() for i, key in enumerate(("epsilon", "r", "r2", "out"))}
    if name == "deal_powers_":
        shares = dict(alpha=words(n), beta=words(n, width="u4"), alpha2=words(n), ab=words(n, width="u4"))
        return dict(r=words(n), **shares)
    if name == "deal_relu_":
        return dict(r_window=words(n) >> np.uint64(44), shares=words(n, 3))
    if name == "deal_and_":
        return dict(a0=words(3, n), b0=words(5, n), a1=words(3, n), b1=words(5, n), c=words(5, n))
    if name == "deal_select_":
        u_bits = words((n + 63) // 64)
        return dict(r=words(n), u_bits=u_bits, u=words(n), ua=words(n), ub=words(n, width="u4"))
    if name == "lpn_":
        return dict(blocks=words(128, 2), vector=words(50, 2))
    if name == "ot_flip_":
        return dict(q=words(128, 2), delta=words(2), plane=words(2))
    if name == "trees_full":
        return dict(roots=words(3, 2), delta=words(2), out=words(48, 2))
    if name == "trees_lacking":
        return dict(sums=words(3, 4, 2), missing=words(3) % np.uint64(16), out=words(48, 2))
    if name == "vole_receive":
        return dict(keys=LEAVES.copy(), out=words(128, 2))
    if name == "vole_send":
        return dict(keys=LEAVES.copy(), delta=words(2), message=words(126), coefficients=words(2, 2), out=words(128, 2))
    if name == "vole_fold_":
        return dict(rows=words(128, 2), coefficients=words(2, 2), choices=words(2))
    weight = WEIGHTS[name]
    if name == "linear":
        return dict(x=words(7, weight["shape"][1]), add=words(7, 9), out=words(7, 9))
    channels, outputs = weight["shape"][1] * weight.get("groups", 1), weight["shape"][0]
    return dict(x=words(2, channels, 16, 16), add=words(2, outputs, 16, 16), out=words(2, outputs, 16, 16))


def call(module, name, arrays):
    if name in WEIGHTS:
        given = WEIGHTS[name]
        packed = module.pack_weight(words(*given["shape"]), groups=given.get("groups", 1))
        options = {} if name == "linear" else dict(padding=1)
        return getattr(module, name.split()[0])(arrays["x"], packed, add=arrays["add"], out=arrays["out"], **options)
    options = {
        "activation_step": dict(shift=12, align=5, party=0),
        "beaver_square": dict(frac_bits=16, party=0),
        "deal_powers_": dict(shift=12),
        "deal_relu_": dict(bits=20),
        "deal_and_": {},
        "deal_select_": dict(shift=12),
        "lpn_": dict(seed=bytes(range(16)), first=64),
        "ot_flip_": {},
        "trees_full": dict(key=bytes(range(16)), depth=4),
        "trees_lacking": dict(key=bytes(range(16))),
        "vole_fold_": {},
        "vole_receive": dict(words=2, k=2, purpose=3, transpose=True),
        "vole_send": dict(words=2, k=2, purpose=3, transpose=True),
    }
    return getattr(module, name)(**arrays, **options[name])


def overlapped(arrays, low, high, at):
    """The same arrays, but with `high` `at` bytes behind the start of `low`, and zeros in both."""
    first, second = arrays[low], arrays[high]
    memory = np.zeros(max(first.nbytes, at + second.nbytes), np.uint8)
    views = {low: memory[: first.nbytes].view(first.dtype).reshape(first.shape)}
    views[high] = memory[at : at + second.nbytes].view(second.dtype).reshape(second.shape)
    return {**arrays, **views}


#: A kernel, an array that it writes, and another that it reads or writes.
PAIRS = [
    (name, one, other)
    for name, (written, _) in WRITTEN.items()
    for one, other in itertools.product(sorted(written), arrays_of(name))
    if other not in written or one < other
]


def places(name, one, other):
    """(low, high, distance): a word in common, all but a word, and, where that is not right, the same start."""
    for low, high in ((one, other), (other, one)):
        last = (arrays_of(name)[low].nbytes - 1) // 8 * 8
        yield from ((low, high, at) for at in {8, last} if at <= last)
    if other not in WRITTEN[name][1]:
        yield one, other, 0


def test_every_kernel_that_writes_is_here():
    functions = {name: getattr(kernels, name) for name in kernels.__all__}
    outs = {name for name, f in functions.items() if "out" in inspect.signature(f).parameters}
    assert outs | {name for name in functions if name.endswith("_")} == {*WRITTEN}


@pytest.mark.parametrize("name, one, other", PAIRS)
def test_an_overlap_is_refused_and_names_both(name, one, other):
    good = arrays_of(name)
    for low, high, at in places(name, one, other):
        messages = []
        for module in (kernels, reference):
            arrays = overlapped(good, low, high, at)
            arrays[other][...] = good[other]  # of what is read every element is valid
            before = {key: a.copy() for key, a in arrays.items()}
            with pytest.raises(ValueError) as error:
                call(module, name, arrays)
            messages.append(str(error.value))
            for key, a in arrays.items():
                np.testing.assert_array_equal(a, before[key])
        assert messages[0] == messages[1]
        named = messages[0].replace(":", " ").replace(",", " ").split()
        assert {one, other} <= {*named}


@pytest.mark.parametrize("name, one, other", PAIRS)
def test_neighbours_in_one_buffer_are_not_refused(tier, name, one, other):
    want = arrays_of(name)
    call(reference, name, want)
    for low, high in ((one, other), (other, one)):
        good = arrays_of(name)
        arrays = overlapped(good, low, high, -(-good[low].nbytes // 8) * 8)
        arrays[low][...], arrays[high][...] = good[low], good[high]
        call(kernels, name, arrays)
        for key in WRITTEN[name][0]:
            np.testing.assert_array_equal(arrays[key], want[key])


@pytest.mark.parametrize("name", ["activation_step", "beaver_square", *WEIGHTS])
@pytest.mark.parametrize("threads", [1, 3])
def test_out_may_be_what_is_read_with_it(tier, name, threads):
    n = 70_001 if threads > 1 else N
    for other in sorted(WRITTEN[name.split()[0]][1]):
        want, arrays = arrays_of(name, n), arrays_of(name, n)
        call(reference, name, want)
        for module in (kernels, reference):
            same = arrays[other].copy()
            with kernels.use(threads=threads):
                assert call(module, name, {**arrays, other: same, "out": same}) is same
            np.testing.assert_array_equal(same, want["out"])


def test_out_may_be_every_operand_of_a_square(tier):
    want = words(N)
    reference.beaver_square(want.copy(), want.copy(), want.copy(), frac_bits=16, party=0, out=want)
    for module in (kernels, reference):
        a = words(N)
        module.beaver_square(a, a, a, frac_bits=16, party=0, out=a)
        np.testing.assert_array_equal(a, want)


def test_out_of_another_width_may_not_be_m():
    m = words(1, N, width="u4")
    out = np.zeros((1, N), np.uint64)
    out.view(np.uint32)[:, :N] = m
    m, alpha = out.view(np.uint32)[:, :N], words(1, N)
    for module in (kernels, reference):
        with pytest.raises(ValueError, match="out: may be m, but not overlap it in part"):
            module.activation_step(m, shift=3, align=0, party=0, alpha=alpha, beta=alpha, out=out)


def test_what_is_copied_may_overlap(tier):
    memory = words(2 * N)
    epsilon, r, r2 = memory[::2], words(N), words(N)
    want = reference.beaver_square(epsilon.copy(), r, r2, frac_bits=16, party=0)
    for module in (kernels, reference):
        mine = memory.copy()
        got = module.beaver_square(mine[::2], r, r2, frac_bits=16, party=0, out=mine[:N])
        np.testing.assert_array_equal(got, want)


def test_a_tensor_is_seen_where_it_lies():
    torch = pytest.importorskip("torch")
    memory = torch.arange(N + 8)
    for module in (kernels, reference):
        with pytest.raises(ValueError, match="out: may be epsilon, but not overlap it in part"):
            r = np.zeros(N, np.int64)
            module.beaver_square(memory[:N], r, r, frac_bits=0, party=0, out=memory[8:].numpy())
