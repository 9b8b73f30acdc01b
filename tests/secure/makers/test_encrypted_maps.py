"""Maps by encryption: whatever a plan has adds up, messages are as long as declared and say nothing they should not."""

import math

import numpy as np
import pytest

from autorep_fx import PartyError, kernels
from autorep_fx.secure.makers.paired import maps
from autorep_fx.secure.makers.paired.maps import matrices, messages, parameters
from autorep_fx.secure.makers.paired.maps.field import field
from autorep_fx.secure.plan import linear
from autorep_fx.secure.plan.plan import Step
from autorep_fx.secure.plan.ring import kernel
from autorep_fx.secure.plan.server_numbers import Numbers

WIDTHS = (32, 64)


@pytest.fixture(scope="module")
def key():
    return maps.ClientKey()


@pytest.fixture(scope="module")
def public(key):
    return maps.PublicKey.of(key.public)


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def conv(channels, outputs, size, kernel, stride=1, padding=0, dilation=1, groups=1, width=32, bits=12):
    size, kernel, stride, padding, dilation = map(pair, (size, kernel, stride, padding, dilation))
    out = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(size, kernel, stride, padding, dilation)]
    attrs = dict(kind="conv2d", weight_shape=(outputs, channels // groups, *kernel), weight_bits=bits, stride=stride,
                 padding=padding, dilation=dilation, groups=groups)  # fmt: skip
    return Step("conv", "map", ("x",), (outputs, *out), 20, width, attrs), (channels, *size)


def dense(outputs, inputs, rows=(), width=32, bits=12):
    attrs = dict(kind="linear", weight_shape=(outputs, inputs), weight_bits=bits)
    return Step("fc", "map", ("x",), (*rows, outputs), 20, width, attrs), (*rows, inputs)


def factors(kind, shape, width=32, replaced=None, bits=12):
    attrs = dict(kind=kind, weight_shape=shape[:1], weight_bits=bits)
    if kind == "position":
        attrs |= {"per_channel": math.prod(shape[1:]), "replaced": np.array(replaced, np.int64)}
    return Step(kind, "map", ("x",), shape, 20, width, attrs), shape


def drawn(step, shape, batch, rng, size=2**12):
    """Numbers of a map whose weights reach ``size`` on both sides, and blindings with the ring's edges."""
    weight = rng.integers(-size, size, step.attrs["weight_shape"])
    weight.flat[: min(2, weight.size)] = [-size, size - 1][: weight.size]
    blinding = rng.integers(0, 2**step.width, (batch, *shape), np.dtype(f"u{step.width // 8}"))
    edges = [2**step.width - 1, 2 ** (step.width - 1), 0][: blinding.size]
    blinding.flat[: len(edges)] = edges
    return Numbers(weight.view(np.uint64), None, 64), blinding


def shared(step, key, public, numbers, blinding, **options):
    """The sum of both shares, of messages of the declared length."""
    batch = len(blinding)
    message = maps.encrypt(step, key, blinding)
    weight = maps.prepare_weight(step, numbers, batch=batch, **options)
    share, answer = maps.respond(step, weight, public, message, batch)
    own = maps.decrypt(step, key, answer, blinding)
    assert (sum(a.size for a in message), sum(a.size for a in answer)) == maps.sizes(step, batch)
    assert all(a.dtype == np.uint64 and a.flags.c_contiguous for a in (*message, *answer))
    assert share.shape == own.shape == (batch, *step.shape)
    return share + own


def off(step, numbers, blinding, total):
    want = linear.apply(step, linear.pack(step, numbers.of_map, public=True), blinding)
    return (total - want).view(f"i{step.width // 8}")


MAPS = {
    "3x3": lambda w: (*conv(5, 7, (9, 8), 3, padding=1, width=w), 1),
    "3x3 without padding": lambda w: (*conv(3, 3, 6, 3, width=w), 2),
    "more padding than image": lambda w: (*conv(2, 2, (4, 1), 3, padding=5, width=w), 1),
    "stride 2, odd": lambda w: (*conv(5, 7, (9, 7), 3, 2, 1, width=w), 1),
    "stride 2, even, three samples": lambda w: (*conv(5, 7, 8, 3, 2, 1, width=w), 3),
    "stride 2 of one pixel": lambda w: (*conv(5, 7, (8, 7), 1, 2, width=w), 1),
    "stride 3, dilation 2": lambda w: (*conv(3, 4, (20, 21), 5, 3, 2, 2, width=w), 1),
    "another for each axis": lambda w: (*conv(3, 4, (12, 11), (3, 2), (1, 2), (2, 0), (1, 3), width=w), 2),
    "even kernel": lambda w: (*conv(2, 3, (7, 10), (4, 2), (2, 1), (1, 1), width=w), 1),
    "kernel of the image": lambda w: (*conv(4, 6, 7, 7, width=w), 5),
    "1x1": lambda w: (*conv(40, 24, 7, 1, width=w), 1),
    "three groups": lambda w: (*conv(6, 9, (9, 8), 3, padding=1, groups=3, width=w), 1),
    "groups that do not fit one polynomial": lambda w: (*conv(40, 40, 15, 3, padding=1, groups=2, width=w), 1),
    "depthwise": lambda w: (*conv(13, 13, (9, 8), 3, padding=1, groups=13, width=w), 2),
    "depthwise, twice as many, stride 2": lambda w: (*conv(10, 20, (9, 8), 3, 2, 1, groups=10, width=w), 1),
    "rows in tiles": lambda w: (*conv(2, 3, (130, 90), 3, padding=1, width=w), 1),
    "rows in tiles, stride 2": lambda w: (*conv(3, 2, (150, 121), 7, 2, 3, width=w), 1),
    "columns in tiles": lambda w: (*conv(1, 2, (1, 9001), (1, 3), padding=(0, 1), width=w), 1),
    "rows and columns in tiles": lambda w: (*conv(1, 1, (9, 9001), 5, padding=2, width=w), 1),
    "many channels": lambda w: (*conv(300, 5, 4, 3, padding=1, width=w), 1),
    "linear": lambda w: (*dense(10, 512, width=w), 1),
    "linear, many samples": lambda w: (*dense(10, 512, width=w), 16),
    "linear, larger than a polynomial": lambda w: (*dense(3, 9000, width=w), 1),
    "linear, row by row": lambda w: (*dense(10, 37, (5,), width=w), 2),
    "channel": lambda w: (*factors("channel", (12, 9, 9), width=w), 3),
    "channel of one": lambda w: (*factors("channel", (7,), width=w), 2),
    "large channel": lambda w: (*factors("channel", (2, 100, 100), width=w), 1),
    "position": lambda w: (*factors("position", (4, 9, 9), w, [*range(0, 60, 3), *range(200, 300)]), 2),
    "no position": lambda w: (*factors("position", (4, 3, 3), w, []), 2),
}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", MAPS)
def test_shares_add_up_to_the_map(name, width, key, public):
    step, shape, batch = MAPS[name](width)
    numbers, blinding = drawn(step, shape, batch, np.random.default_rng(len(name)))
    error = off(step, numbers, blinding, shared(step, key, public, numbers, blinding))
    assert abs(error).max(initial=0) <= 1


@pytest.mark.parametrize("width, size, bits", [(32, 2**22, 22), (32, 2**31, 25), (64, 2**23, 22), (64, 2**40, 40)])
def test_the_widest_weights_add_up_too(width, size, bits, key, public):
    step, shape = dense(4, 256, width=width, bits=bits)
    numbers, blinding = drawn(step, shape, 2, np.random.default_rng(1), size)
    error = off(step, numbers, blinding, shared(step, key, public, numbers, blinding))
    assert abs(error).max() <= 1


def test_weights_that_are_too_large_are_an_error_that_names_the_step(key, public):
    step, shape = dense(4, 256, bits=12)
    numbers, _ = drawn(step, shape, 1, np.random.default_rng(1), 2**31)
    with pytest.raises(ValueError, match="fc: weights of up to 2.15e.09 units are too large.*exponent"):
        maps.prepare_weight(step, numbers)


def test_a_kernel_that_fits_no_polynomial_is_an_error_that_names_the_step():
    step, _ = conv(1, 1, (200, 200), 100, width=32)
    with pytest.raises(ValueError, match="conv: a kernel of 100"):
        maps.sizes(step, 1)


@pytest.mark.parametrize("width, stated", [(32, 0.047), (64, 0.067)])
def test_the_last_bit_is_wrong_as_often_as_stated(width, stated, key, public):
    step, shape = conv(3, 16, 32, 3, padding=1, width=width)
    numbers, blinding = drawn(step, shape, 4, np.random.default_rng(2))
    error = off(step, numbers, blinding, shared(step, key, public, numbers, blinding))
    # What is wrong varies with the secret (how many of its coefficients are not 0) by a percent, and with the draw.
    assert abs(error).max() == 1
    assert abs((error != 0).mean() - stated) < 5 * math.sqrt(stated / error.size) + 0.02 * stated


@pytest.mark.skipif(not kernels.available(), reason="NumPy keeps nothing at the roots")
@pytest.mark.parametrize("memory", [0, 8_000_000, 10**9])
def test_the_server_keeps_at_the_roots_what_its_memory_allows(memory, key, public):
    step, shape = conv(64, 64, 16, 3, padding=1)
    numbers, blinding = drawn(step, shape, 1, np.random.default_rng(3))
    weight = maps.prepare_weight(step, numbers, memory=memory)
    packing = field(step, 1).packing
    every = 4 * 3 * 4096 * packing.input_sets * -(-packing.output_sets // 8) * 8
    assert weight.stored_bytes <= memory and (memory == 10**9) == (weight.stored_bytes == every)
    assert (memory == 0) == (weight.stored_bytes == 0)
    error = off(step, numbers, blinding, shared(step, key, public, numbers, blinding, memory=memory))
    assert abs(error).max() <= 1


def test_a_weight_serves_another_size_of_batch(key, public):
    step, shape = dense(10, 512)
    numbers, blinding = drawn(step, shape, 16, np.random.default_rng(4))
    weight = maps.prepare_weight(step, numbers)
    for batch in (1, 16, 3):
        message = maps.encrypt(step, key, blinding[:batch])
        share, answer = maps.respond(step, weight, public, message, batch)
        total = share + maps.decrypt(step, key, answer, blinding[:batch])
        assert abs(off(step, numbers, blinding[:batch], total)).max() <= 1


def test_samples_share_polynomials():
    step, _ = conv(256, 256, 4, 3, padding=1)
    one, sixteen = (sum(maps.sizes(step, batch)) for batch in (1, 16))
    assert sixteen < 0.5 * 16 * one


def test_bits_that_are_worth_a_transform_are_sent_and_the_result_is_the_same():
    step, shape = dense(40, 128)
    numbers, blinding = drawn(step, shape, 16, np.random.default_rng(4))
    (least, few), (quick, many) = (
        ((p := field(step, 16, worth).packing).groups * p.input_sets * p.output_sets, sum(maps.sizes(step, 16, worth)))
        for worth in (0, 10**6)
    )
    assert quick < least and many > few
    key = maps.ClientKey([step.width])
    public, weight = maps.PublicKey.of(key.public, [step.width]), maps.prepare_weight(step, numbers)
    message = maps.encrypt(step, key, blinding, 10**6)
    share, answer = maps.respond(step, weight, public, message, 16, 10**6)
    total = share + maps.decrypt(step, key, answer, blinding, 10**6)
    assert abs(off(step, numbers, blinding, total)).max() <= 1


def test_parameters_are_within_the_tables_for_128_bits():
    for width, ring in parameters.RINGS.items():
        assert math.log2(ring.modulus) < parameters.MOST_BITS[ring.degree]
        # A weight of one: noise leaves 30 bits below the last one of a share.
        assert ring.error(1, 1, 2) < 2**-30, width


# What arrives is checked.


@pytest.fixture(scope="module")
def exchange(key, public):
    step, shape = conv(3, 4, 8, 3, padding=1)
    numbers, blinding = drawn(step, shape, 1, np.random.default_rng(5))
    return step, maps.prepare_weight(step, numbers), blinding, maps.encrypt(step, key, blinding)


@pytest.mark.parametrize(
    "wrong", [lambda a: [a[0][:-1]], lambda a: [np.append(a[0], a[0][:1])], lambda a: a * 2, lambda a: []]
)
def test_a_message_of_another_length_is_refused(wrong, exchange, key, public):
    step, weight, blinding, message = exchange
    with pytest.raises(PartyError, match="server: the client's message for conv has"):
        maps.respond(step, weight, public, wrong(message), 1)
    _, answer = maps.respond(step, weight, public, message, 1)
    with pytest.raises(PartyError, match="client: the server's message for conv has"):
        maps.decrypt(step, key, wrong(answer), blinding)


def test_a_public_key_of_another_length_is_refused(key):
    for wrong in (key.public[:1], [key.public[0][:-1], key.public[1]], key.public[::-1]):
        with pytest.raises(PartyError, match="server: the client's public key has"):
            maps.PublicKey.of(wrong)
    assert [a.size for a in key.public] == maps.public_words()


def test_a_public_key_beyond_its_primes_is_refused(key):
    for i, width in enumerate(WIDTHS):
        ring = parameters.RINGS[width]
        for limb, prime in enumerate(ring.primes):
            arrays = [array.copy() for array in key.public]
            numbers = arrays[i][2:].view(np.uint32)
            numbers[limb * ring.degree + 5] = prime - 1
            maps.PublicKey.of(arrays)
            numbers[limb * ring.degree + 5] = prime
            with pytest.raises(PartyError, match=f"for {width} bits has a number beyond its prime"):
                maps.PublicKey.of(arrays)


def test_any_ciphertext_is_answered(exchange, public):
    step, weight, _, message = exchange
    for filled in (0, 2**64 - 1):
        share, answer = maps.respond(step, weight, public, [np.full_like(message[0], filled)], 1)
        assert share.shape == (1, *step.shape) and answer[0].size == maps.sizes(step, 1)[1]


# What each side sees.


def test_keys_and_messages_are_new_each_time(exchange, key, public):
    step, weight, blinding, message = exchange
    again = maps.encrypt(step, key, blinding)
    assert np.intersect1d(message[0], again[0]).size == 0
    answers = [maps.respond(step, weight, public, message, 1)[1][0] for _ in range(2)]
    assert np.intersect1d(*answers).size == 0
    assert np.intersect1d(key.public[0], maps.ClientKey().public[0]).size == 0


def uniform(words):
    """Chi-square of the bytes of words against the uniform distribution: below 340 in all but 3 of 10,000 cases."""
    counts = np.bincount(words.view(np.uint8), minlength=256)
    return float(((counts - counts.mean()) ** 2).sum() / counts.mean()) < 340


@pytest.mark.parametrize("filled", [0, 1, 2**31, 2**32 - 1])
def test_the_clients_message_looks_the_same_whatever_the_blinding(filled, key):
    step, shape = conv(16, 4, 16, 3, padding=1)
    message = maps.encrypt(step, key, np.full((2, *shape), filled, np.uint32))
    assert uniform(message[0])


@pytest.mark.parametrize("filled", [0, 1, -1, 2**12])
def test_the_servers_answer_looks_the_same_whatever_the_weights(filled, key, public):
    step, shape = conv(4, 16, 16, 3, padding=1)
    weight = np.full(step.attrs["weight_shape"], filled).view(np.uint64)
    message = maps.encrypt(step, key, np.zeros((2, *shape), np.uint32))
    _, answer = maps.respond(step, maps.prepare_weight(step, Numbers(weight), batch=2), public, message, 2)
    assert uniform(answer[0])


def test_an_answer_without_fresh_randomness_would_show_the_weights(key, public):
    """The answers of two weights under one seed differ by (w - w') c1, of which the client knows c1."""
    _, low_words, n = 32, 1, parameters.RINGS[32].degree
    seed, shown = bytes(16), bytes(range(16))
    zero = np.zeros((1, n), np.uint32)
    high, low = kernel().rlwe_encrypt(zero, key.secret[32], public_seed=shown, noise_seed=seed)
    answers = []
    for value in (5, 8):
        weight = kernel().rlwe_weight(np.full((1, 1, 1, 1), value, np.int32), np.zeros(1, np.int32), width=32)
        given = high.reshape(1, 1, 1, n), low.reshape(1, 1, 1, low_words, n)
        _, first, below = kernel().rlwe_respond(*given, weight, public.values[32], public_seed=shown, seed=seed)
        answers.append(first.reshape(-1).astype(np.uint64) << np.uint64(8) | below.reshape(-1))
    c1 = kernel().rlwe_inverse(kernel().rlwe_uniform(shown, 0, 1, width=32), width=32)[0].astype(object)
    primes = parameters.RINGS[32].primes
    q = math.prod(primes)
    whole = sum(c1[j] * (q // p * pow(q // p, -1, p)) for j, p in enumerate(primes)) % q
    difference = (answers[1] - answers[0]).astype(np.int64) % 2**40
    assert (abs(difference - (3 * whole * 2**40 // q % 2**40).astype(np.int64)) <= 2).all()


@pytest.fixture(scope="module")
def quarter():
    """A client that sends q / 4 as its ciphertext and zeros as its public key, and what it could make of the answer."""
    step, _ = dense(8, 512)
    rng = np.random.default_rng(6)
    weight = rng.integers(-2048, 2048, (8, 512))
    of = field(step, 1)
    low = of.packing
    assert (low.inputs, low.input_sets) == (512, 1)
    key = maps.ClientKey()
    arrays = [array.copy() for array in key.public]
    for array in arrays:
        array[2:] = 0
    message = np.zeros(maps.sizes(step, 1)[0], np.uint64)
    message[:2] = key.public[0][:2]
    seed, high, _ = messages.sent(of, message)
    high.reshape(-1)[0] = 2**30
    share, answer = maps.respond(step, maps.prepare_weight(step, Numbers(weight.view(np.uint64))),
                                 maps.PublicKey.of(arrays), [message], 1)  # fmt: skip
    return step, of, weight, key, message, answer


def test_the_quarter_would_read_weights_modulo_4_if_the_server_sent_what_it_keeps(quarter):
    """What the server rounds is W q / 4 then: only that it stays with the server is in its way."""
    step, of, weight, key, message, _ = quarter
    n = parameters.RINGS[32].degree
    arrays = [np.concatenate([array[:2], np.zeros_like(array[2:])]) for array in key.public]
    seed, high, low = messages.sent(of, message)
    laid = maps.prepare_weight(step, Numbers(weight.view(np.uint64))).laid(of)
    share, _, _ = kernel().rlwe_respond(high, low, laid, maps.PublicKey.of(arrays).values[32],
                                        public_seed=bytes(16), seed=bytes(16))  # fmt: skip
    seen = (share.reshape(-1, n).astype(np.uint64) + 2**29 >> np.uint64(30)) % 4
    polynomials = of.packing.values(of.weight(weight.view(np.uint64)))[0, :, 0]
    positions = of.packing.positions().reshape(-1)
    assert (positions < n).all()
    assert (seen[:, positions] == polynomials % 4).all()


def test_a_client_that_encrypts_a_quarter_reads_weights_no_better_than_by_chance(quarter):
    step, of, weight, key, message, answer = quarter
    n = parameters.RINGS[32].degree
    high, low = messages.answered(of, answer[0])
    polynomials = of.packing.values(of.weight(weight.view(np.uint64)))[0, :, 0] % 4
    positions = of.packing.positions().reshape(-1)
    chance, deviation = weight.size / 4, math.sqrt(weight.size * 3 / 16)
    small = np.zeros((1, n), np.int8)
    small[0, 0] = 1
    secrets = [key.secret[32], kernel().rlwe_forward(small, width=32)[0], np.zeros_like(key.secret[32])]
    views = [high, *(kernel().rlwe_decrypt(high, low, secret) for secret in secrets)]
    for view in views:
        for rounding in (0, 2**29):
            guess = (view.astype(np.uint64) + rounding >> np.uint64(30)) % 4
            for turn in range(4):
                right = int(((guess[:, positions] + turn) % 4 == polynomials).sum())
                assert abs(right - chance) < 5 * deviation


@pytest.mark.parametrize("width, rows, columns", [(32, 4, 6), (32, 700, 2), (64, 4, 6), (64, 700, 2), (64, 30, 50)])
def test_products_of_matrices_are_right_whatever_their_elements_are(key, public, width, rows, columns):
    """Digits of the largest size, of one sign or of both: the noise is at its bound, and a unit is all that is off."""
    step = matrices.product(2, 3, rows, columns, width)
    b, ring = step.attrs["weight_bits"], np.dtype(f"u{width // 8}").type
    lowest = sum(1 << (b - 1 + b * i) for i in range(-(-width // b))) % 2**width  # -2^(b - 1) in every digit
    rng = np.random.default_rng(width + rows)
    matrix = np.full((2, 3, rows), lowest, ring)
    matrix[0, 1, ::2] = lowest - 1  # the largest, in the lowest digit
    matrix[1] = rng.integers(0, 2**width, (3, rows), ring)
    given = rng.integers(0, 2**width, (2, rows, columns), ring)
    given[0, :, 0] = [2**width - 1] * rows
    message = matrices.encrypt(step, key, given)
    share, answer = matrices.respond(step, matrix, public, message[0])
    off = (share + matrices.decrypt(step, key, answer[0]) - matrix @ given).view(f"i{width // 8}")
    assert np.abs(off).max() <= 1
    assert (message[0].size, answer[0].size) == maps.sizes(step, 1)


def test_products_of_matrices_of_any_size_have_digits_that_leave_room():
    for width in WIDTHS:
        for rows in (1, 64, 197, 3072, 50_000):
            step = matrices.product(1, 197, rows, 64, width)
            assert matrices._worst(step) < parameters.MOST_ERROR
    assert matrices.product(1, 197, 64, 197, 32).attrs["weight_bits"] == 32
    assert matrices.product(1, 197, 64, 197, 64).attrs["weight_bits"] == 32


def test_digits_are_short_and_add_up():
    for width, digits in ((32, 1), (32, 3), (64, 2), (64, 3), (64, 4)):
        step = matrices._map(1, 1, 5, 2, width, digits)
        b = step.attrs["weight_bits"]
        numbers = np.array([[[0, 2**width - 1, 2 ** (width - 1), 2 ** (b - 1), 3**20]]], np.uint64)
        found = matrices._digits(step, numbers.astype(f"u{width // 8}")).view(np.int64).reshape(digits, 5)
        assert np.abs(found).max() <= 2 ** (b - 1)
        total = [sum(int(d) << (b * i) for i, d in enumerate(column)) % 2**width for column in found.T]
        assert total == [int(n) % 2**width for n in numbers.reshape(-1)]
