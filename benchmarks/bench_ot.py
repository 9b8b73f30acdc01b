"""Oblivious transfer: extension, and what is made of its blocks. `ns_per_element`: an oblivious transfer."""

import numpy as np
import pytest
from rows import TIERS

from autorep_fx import kernels
from autorep_fx.kernels import reference

N, WORDS, KEY = 2**16, 2**10, bytes(range(16))
ROWS = [*TIERS, "memory copy"]


def words(rng, *shape):
    return rng.integers(0, 2**64, shape, dtype=np.uint64)


def copy_row(measure, rng):
    source = words(rng, N, 2)
    measure(np.copyto, np.empty_like(source), source, n=N, moved=32 * N)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("k", [2, 4, 8])
@pytest.mark.parametrize("side", ["receive", "send", "receive checked"])
def test_extension(benchmark, measure, one_thread, rng, side, k, row):
    """From the leaves to the blocks; checked: with the hash of all rows."""
    benchmark.group = f"vole_{side}, k={k}"
    if row == "memory copy":
        return copy_row(measure, rng)
    keys, delta = kernels.expand_keys(words(rng, 128 // k << k, 2)), words(rng, 2)
    options = dict(words=WORDS, k=k, purpose=1)
    coefficients = words(rng, WORDS, 2)

    def receive():
        return kernels.vole_receive(keys, **options, transpose=True)

    def checked():
        rows, choices, message = kernels.vole_receive(keys, **options, transpose=False)
        kernels.vole_fold_(rows, coefficients, choices)
        return rows, choices, message

    with kernels.use(tier=row):
        want, _, message = receive()
        if side == "send":
            got = measure(lambda: kernels.vole_send(keys, delta, message, **options, transpose=True), n=N, tier=row)
            assert got.shape == want.shape
        else:
            got = measure(receive if side == "receive" else checked, n=N, tier=row)[0]
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("row", ROWS)
def test_ot_bits(benchmark, measure, one_thread, rng, row):
    benchmark.group = "ot_bits"
    if row == "memory copy":
        return copy_row(measure, rng)
    blocks = words(rng, N, 2)
    with kernels.use(tier=row):
        got = measure(lambda: kernels.ot_bits(blocks, key=KEY, index=7, domain=1), n=N, tier=row)
    np.testing.assert_array_equal(got[:, :2], reference.ot_bits(blocks[:128], key=KEY, index=7, domain=1))


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("bits", [1, 17, 32, 64])
@pytest.mark.parametrize("side", ["send", "receive"])
def test_strings(benchmark, measure, one_thread, rng, side, bits, row):
    benchmark.group = f"ot_{side}, {bits} bits"
    if row == "memory copy":
        return copy_row(measure, rng)
    blocks, delta, choices = words(rng, N, 2), words(rng, 2), words(rng, N // 64)
    values = words(rng, N).astype(np.uint32 if bits <= 32 else np.uint64)
    tweak = dict(bits=bits, key=KEY, index=7, domain=1)
    share, message = kernels.ot_send(blocks, delta, values, **tweak)
    with kernels.use(tier=row):
        if side == "send":
            got = measure(lambda: kernels.ot_send(blocks, delta, values, **tweak), n=N, tier=row)[0]
            np.testing.assert_array_equal(got, share)
        else:
            got = measure(lambda: kernels.ot_receive(blocks, choices, message, **tweak), n=N, tier=row)
            want = reference.ot_receive(blocks[:64], choices[:1], message[:bits], **tweak)
            np.testing.assert_array_equal(got[:64], want)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("what", ["trees_full", "trees_lacking", "block_fold", "lpn_"])
def test_ferret(benchmark, measure, one_thread, rng, what, row):
    """What one transfer takes of each; the matrix with the vector of the parameters in use."""
    benchmark.group = what
    if row == "memory copy":
        return copy_row(measure, rng)
    key, depth = bytes(range(16)), 11
    roots, delta, missing = words(rng, N >> depth, 2), words(rng, 2), words(rng, N >> depth) >> np.uint64(64 - depth)
    leaves, sums = kernels.trees_full(roots, delta, key=key, depth=depth)
    vector = words(rng, 7 << 15, 2)
    calls = {
        "trees_full": lambda: kernels.trees_full(roots, delta, key=key, depth=depth)[0],
        "trees_lacking": lambda: kernels.trees_lacking(sums, missing, key=key),
        "block_fold": lambda: kernels.block_fold(leaves, seed=key, first=0),
        "lpn_": lambda: kernels.lpn_(leaves, vector, seed=key, first=0),
    }
    want = reference.trees_full(roots, delta, key=key, depth=depth)[0]
    with kernels.use(tier=row):
        got = measure(calls[what], n=N, tier=row)
    if what == "trees_full":
        np.testing.assert_array_equal(got, want)
