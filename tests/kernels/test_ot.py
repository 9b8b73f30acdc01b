"""Oblivious transfer: the hash, and strings and bits from correlated blocks."""

import numpy as np
import pytest

from autorep_fx import kernels


@pytest.fixture
def correlated(ring):
    """correlated(n): the sender's q and delta, the receiver's t and choices."""

    def make(n):
        q, delta, choices = ring((n, 2)), ring((6, 2))[5], ring((n // 64, 3))[:, 2].copy()
        t = q.copy()
        kernels.ot_flip_(t, delta, choices)
        return q, delta, t, choices

    return make


@pytest.mark.parametrize("bits", range(1, 65))
def test_shares_sum_to_the_chosen_values(correlated, ring, bits):
    n = 128
    q, delta, t, choices = correlated(n)
    values = ring(n).astype(np.uint32 if bits <= 32 else np.uint64)
    share, message = kernels.ot_send(q, delta, values, bits=bits, index=5, domain=3)
    other = kernels.ot_receive(t, choices, message, bits=bits, index=5, domain=3)
    assert message.shape == (n * bits // 64,) and share.dtype == other.dtype == values.dtype
    total = (share.astype(np.uint64) + other) & np.uint64(2**bits - 1)
    chosen = kernels.unpack_bits(choices[None], n)
    np.testing.assert_array_equal(total, chosen * values & np.uint64(2**bits - 1))


def test_the_receiver_has_the_chosen_bit(correlated):
    q, delta, t, choices = correlated(192)
    zero = kernels.ot_bits(q, index=9, domain=1)
    one = kernels.ot_bits(q, index=9, domain=1, delta=delta)
    got = kernels.ot_bits(t, index=9, domain=1)
    np.testing.assert_array_equal(got, zero ^ choices & (zero ^ one))


def test_a_flipped_choice_is_the_other_one(correlated, ring):
    q, delta, t, choices = correlated(128)
    plane = ring(2)
    kernels.ot_flip_(q, delta, plane)
    zero, one = kernels.ot_bits(q, index=0, domain=0), kernels.ot_bits(q, index=0, domain=0, delta=delta)
    np.testing.assert_array_equal(kernels.ot_bits(t, index=0, domain=0), zero ^ (choices ^ plane) & (zero ^ one))
