"""Oblivious transfers between two parties, as threads on a link of one process."""

import threading

import lpn_bits
import numpy as np
import pytest

from autorep_fx import kernels
from autorep_fx.errors import PartyError
from autorep_fx.secure.link.local import LocalChannel, local_pair
from autorep_fx.secure.makers.paired.ot import Ferret, Noise, Receiver, Sender, SoftSpoken, base, ferret, trees
from autorep_fx.secure.makers.table import PAIRED_SMALL

STEP = 7
#: Far too small to be safe, and quick.
SMALL = Ferret(Noise(weight=128, depth=6, unknowns=1024))
KINDS = [SoftSpoken(), SoftSpoken(k=2), SoftSpoken(checked=False), SMALL]


def together(*calls):
    """What each returns, run at the same time; an error of one is raised once the others have ended."""
    results = [None] * len(calls)

    def run(i):
        try:
            results[i] = calls[i]()
        except Exception as error:
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


def pair(kind, tamper=None, timeout=5.0):
    """A sender at the client and a receiver at the server. tamper(arrays): changes what the receiver sends next."""
    client, server = local_pair("client", "server", timeout=timeout)
    server.__class__ = Tampering
    server.tamper = tamper
    return Sender(client, STEP, kind), Receiver(server, STEP, kind), (client, server)


class Tampering(LocalChannel):
    def send(self, step, *arrays):
        if self.tamper:
            arrays = [a.copy() for a in arrays]
            arrays = self.tamper(arrays) or arrays
        super().send(step, *arrays)


@pytest.fixture(scope="module", params=KINDS, ids=str)
def session(request):
    sender, receiver, channels = pair(request.param)
    together(sender.setup, receiver.setup)
    return sender, receiver, channels


def extend(sender, receiver, n):
    q, (t, choices) = together(lambda: sender.extend(n), lambda: receiver.extend(n))
    return q, t, choices


@pytest.mark.parametrize("n", [64, 128, 448, 4096, 20_032])
def test_blocks_differ_by_the_choice_times_delta(session, n):
    sender, receiver, _ = session
    before = sender.index
    q, t, choices = extend(sender, receiver, n)
    assert q.shape == t.shape == (n, 2) and choices.shape == (n // 64,)
    assert sender.index == receiver.index == before + n
    kernels.ot_flip_(t, sender.delta, choices)
    np.testing.assert_array_equal(q, t)


def test_what_is_said_is_what_is_declared(session):
    sender, receiver, channels = session
    for n in (64, 640, 12_800):
        index = sender.index
        for channel in channels:
            channel.reset()
        extend(sender, receiver, n)
        for channel, said in zip(channels, sender.kind.extension_said(n, index), strict=True):
            assert (channel.bytes_sent, channel.messages_sent) == (said.bytes, said.messages)


@pytest.mark.parametrize("kind", [*KINDS, SoftSpoken(k=1), SoftSpoken(k=8)], ids=str)
def test_what_the_set_up_says_is_what_is_declared(kind):
    sender, receiver, channels = pair(kind)
    together(sender.setup, receiver.setup)
    for channel, said in zip(channels, kind.setup_said(), strict=True):
        assert (channel.bytes_sent, channel.messages_sent) == (said.bytes, said.messages)


@pytest.mark.parametrize("bits", [1, 17, 32, 64])
def test_strings_over_a_session_sum_to_the_chosen_values(session, bits):
    sender, receiver, _ = session
    n, index = 256, sender.index
    q, t, choices = extend(sender, receiver, n)
    wanted = np.random.default_rng(bits).integers(0, 2**64, (3, n), dtype=np.uint64)
    plane, values = wanted[0, : n // 64], wanted[1].astype(np.uint32 if bits <= 32 else np.uint64)
    kernels.ot_flip_(q, sender.delta, choices ^ plane)  # choices of the receiver's own
    share, message = kernels.ot_send(q, sender.delta, values, bits=bits, key=sender.hash_key, index=index, domain=2)
    other = kernels.ot_receive(t, plane, message, bits=bits, key=receiver.hash_key, index=index, domain=2)
    total = (share + other).astype(np.uint64) & np.uint64(2**bits - 1)
    chosen = kernels.unpack_bits(plane[None], n)
    np.testing.assert_array_equal(total, chosen * values.astype(np.uint64) & np.uint64(2**bits - 1))


def test_the_key_of_the_hash_is_one_of_the_session_and_the_direction(session):
    sender, receiver, _ = session
    assert sender.hash_key == receiver.hash_key and len(sender.hash_key) == 16
    other = pair(sender.kind)[:2]
    together(other[0].setup, other[1].setup)
    assert other[0].hash_key != sender.hash_key
    assert not {a.tobytes() for a in (sender.delta, other[0].delta)} & {sender.hash_key, other[0].hash_key}


def test_nothing_repeats_within_a_session_or_between_two(session):
    sender, receiver, _ = session
    other = pair(sender.kind)[:2]
    together(other[0].setup, other[1].setup)
    made = [[a.copy() for a in extend(*two, 1024)] for two in ((sender, receiver), (sender, receiver), other)]
    words = np.concatenate([t[:, half] for _, t, _ in made for half in (0, 1)])
    assert len(np.unique(words)) == len(words)
    planes = np.concatenate([choices for _, _, choices in made])
    assert len(np.unique(planes)) == len(planes)
    assert (other[0].delta != sender.delta).all()


def test_memory_of_blocks_is_used_again_until_nobody_asks_soon():
    sender, receiver, _ = pair(SoftSpoken())
    together(sender.setup, receiver.setup)
    first, second = (extend(sender, receiver, n)[:2] for n in (1024, 64))
    for one, other in zip(first, second):
        assert np.shares_memory(one, other)
    sender.rest(), receiver.rest()
    for one, other in zip(second, extend(sender, receiver, 64)):
        assert not np.shares_memory(one, other)


def test_choices_and_blocks_look_uniform(session):
    sender, receiver, _ = session
    _, t, choices = extend(sender, receiver, 2**14)
    for words in (choices, t):
        ones = np.unpackbits(np.ascontiguousarray(words).view(np.uint8))
        assert abs(ones.mean() - 0.5) < 5 * 0.5 / np.sqrt(ones.size)  # five standard deviations


def part(delta, t, k):
    return int(delta[k * t // 64]) >> k * t % 64 & (2**k - 1)


def some_tree(delta, k, known):
    """A tree other than the first whose part of delta is 0, or is not."""
    return next((t for t in range(1, 128 // k) if (part(delta, t, k) == 0) == known), None)


@pytest.fixture
def lie(monkeypatch):
    """lie(error, tree, k): the receiver sends another correction for one tree, and proves the rest as if it had not."""
    honest = kernels.vole_receive

    def deviate(error, tree, k):
        def vole_receive(keys, **options):
            rows, choices, message = honest(keys, **options)
            message.reshape(128 // k - 1, -1)[tree - 1, 0] ^= np.uint64(error)  # at most 8 words a row: one chunk
            return rows, choices, message

        monkeypatch.setattr(kernels, "vole_receive", vole_receive)

    return deviate


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("error", [1, 2**63, 2**40 + 5])
def test_choices_that_are_not_the_same_in_all_trees_end_the_session(lie, k, error):
    sender, receiver, _ = pair(SoftSpoken(k=k))
    together(sender.setup, receiver.setup)
    extend(sender, receiver, 128)
    lie(error, some_tree(sender.delta, k, known=False), k)
    with pytest.raises(PartyError, match="client: the server does not follow the protocol"):
        extend(sender, receiver, 128)
    with pytest.raises(PartyError, match="not set up, or failed"):
        sender.extend(128)


def test_a_guessed_part_of_delta_is_what_a_deviating_receiver_can_win(lie):
    """Why the proof speaks of guesses: where delta_t is 0, a lie about tree t changes nothing."""
    sender, receiver, _ = pair(SoftSpoken(k=1))
    together(sender.setup, receiver.setup)
    lie(1, some_tree(sender.delta, 1, known=True), 1)
    q, t, choices = extend(sender, receiver, 128)
    kernels.ot_flip_(t, sender.delta, choices)
    np.testing.assert_array_equal(q, t)


def test_a_message_that_was_changed_on_the_way_is_refused():
    sender, receiver, (_, server) = pair(SoftSpoken())
    together(sender.setup, receiver.setup)
    tree = some_tree(sender.delta, 4, known=False)

    def tamper(arrays):
        if len(arrays) == 1:
            arrays[0].reshape(31, -1)[tree - 1, 0] ^= np.uint64(1)

    server.tamper = tamper
    with pytest.raises(PartyError, match="does not follow the protocol"):
        extend(sender, receiver, 64)


def test_coefficients_are_drawn_behind_the_corrections_and_are_new_each_time(monkeypatch):
    sender, receiver, (client, _) = pair(SoftSpoken())
    together(sender.setup, receiver.setup)
    said, log = [], []
    honest, make = client.send, kernels.vole_receive

    def send(step, *arrays):
        said.append((len(log), arrays[0].tobytes()))
        honest(step, *arrays)

    def vole_receive(*args, **options):
        log.append(1)
        return make(*args, **options)

    monkeypatch.setattr(client, "send", send)
    monkeypatch.setattr(kernels, "vole_receive", vole_receive)
    for _ in range(3):
        extend(sender, receiver, 64)
    assert [made for made, _ in said] == [1, 2, 3]  # the receiver had fixed what is checked
    assert len({seed for _, seed in said}) == 3


@pytest.mark.parametrize("array, word", [(0, 0), (0, 1), (1, 0), (1, 3)])
def test_another_proof_is_refused(array, word):
    sender, receiver, (_, server) = pair(SoftSpoken())
    together(sender.setup, receiver.setup)

    def tamper(arrays):
        if len(arrays) == 2:  # behind the corrections
            arrays[array][word] ^= np.uint64(2**33)

    server.tamper = tamper
    with pytest.raises(PartyError, match="does not follow the protocol"):
        extend(sender, receiver, 64)


def test_without_the_check_a_lie_is_not_seen(lie):
    sender, receiver, _ = pair(SoftSpoken(checked=False))
    together(sender.setup, receiver.setup)
    lie(1, some_tree(sender.delta, 4, known=False), 4)
    q, t, choices = extend(sender, receiver, 64)
    kernels.ot_flip_(t, sender.delta, choices)
    assert (q != t).any()


@pytest.mark.parametrize("cut", [lambda a: [a[0][:-1], *a[1:]], lambda a: a[:1], lambda a: [*a, a[-1]]])
def test_a_message_of_another_length_is_refused(cut):
    sender, receiver, (_, server) = pair(SoftSpoken(), timeout=1.5)  # for which the receiver waits in vain
    together(sender.setup, receiver.setup)
    server.tamper = cut
    with pytest.raises(PartyError, match="bytes where"):
        extend(sender, receiver, 64)


def test_both_must_extend_by_as_many():
    sender, receiver, _ = pair(SoftSpoken(), timeout=1.5)
    together(sender.setup, receiver.setup)
    with pytest.raises(PartyError, match="bytes where"):
        together(lambda: sender.extend(64), lambda: receiver.extend(128))


@pytest.mark.parametrize("n", [0, -64, 63, 100])
def test_transfers_are_made_by_the_64(session, n):
    for party in session[:2]:
        with pytest.raises(ValueError, match="n: .*64"):
            party.extend(n)


def test_nothing_is_made_before_the_set_up():
    for party in pair(SoftSpoken())[:2]:
        with pytest.raises(PartyError, match="not set up"):
            party.extend(64)


def test_a_wrong_size_of_trees_is_refused():
    with pytest.raises(ValueError, match="k: expected one of 1, 2, 4, 8, got 3"):
        SoftSpoken(k=3)


def test_what_is_shown_has_no_secrets(session):
    sender, receiver, _ = session
    for shown in (repr(sender), repr(receiver)):
        assert "transfers" in shown and str(int(sender.delta[0])) not in shown


# ------------------------------------------------------------------------------------------------------ Ferret


def test_what_a_session_keeps_is_what_its_halves_hold():
    sender, receiver, _ = pair(SMALL)
    together(sender.setup, receiver.setup)
    extend(sender, receiver, 64)
    for party in (sender, receiver):
        half = party._half
        arrays = {id(a.base if a.base is not None else a): a.base if a.base is not None else a
                  for a in (half._blocks, half._used, half._ready)}  # fmt: skip
        assert sum(a.nbytes for a in arrays.values()) == SMALL.kept_bytes
    assert SoftSpoken().kept_bytes == 0 < PAIRED_SMALL.kept_bytes == 2 * Ferret().kept_bytes < 150e6


def test_sums_of_trees_that_do_not_fit_end_the_session(monkeypatch):
    sender, receiver, _ = pair(SMALL)
    together(sender.setup, receiver.setup)
    honest = kernels.trees_full

    def deviate(*arguments, **options):
        leaves, sums = honest(*arguments, **options)
        sums[3, 2, 1] ^= np.uint64(8)  # whichever way the path goes: what left is wrong, right is
        return leaves, sums

    monkeypatch.setattr(kernels, "trees_full", deviate)
    with pytest.raises(PartyError, match="server: the client does not follow the protocol"):
        extend(sender, receiver, 64)
    with pytest.raises(PartyError, match="not set up, or failed"):
        receiver.extend(64)


def test_leaves_that_are_not_those_of_the_trees_end_the_session(monkeypatch):
    sender, receiver, _ = pair(SMALL)
    together(sender.setup, receiver.setup)
    honest = kernels.trees_full

    def deviate(*arguments, **options):
        leaves, sums = honest(*arguments, **options)
        leaves[77, 0] ^= np.uint64(2)
        return leaves, sums

    monkeypatch.setattr(kernels, "trees_full", deviate)
    with pytest.raises(PartyError, match="does not follow the protocol"):
        extend(sender, receiver, 64)


def test_the_noise_is_one_choice_in_each_block():
    sender, receiver, _ = pair(SMALL)
    together(sender.setup, receiver.setup)
    seen = []
    half, honest = receiver._half, receiver._half._fold

    def fold(leaves, coefficients, vector):
        seen.append(leaves[:, 0] & np.uint64(1))
        return honest(leaves, coefficients, vector)

    half._fold = fold
    extend(sender, receiver, 64)
    assert (seen[0].reshape(SMALL.noise.weight, -1).sum(1) == 1).all()
    places = seen[0].reshape(SMALL.noise.weight, -1).argmax(1)
    assert len(np.unique(places)) > 40  # of 64, 128 times


def test_blocks_that_are_handed_out_are_not_used_again():
    """The next round's own lie apart: whoever flips choices changes nothing of it."""
    sender, receiver, _ = pair(SMALL)
    together(sender.setup, receiver.setup)
    for _ in range(4):
        q, t, choices = extend(sender, receiver, 4096)
        kernels.ot_flip_(t, sender.delta, choices)
        np.testing.assert_array_equal(q, t)
        q[:] = t[:] = 0


def test_powers_add_up_in_the_field():
    rng = np.random.default_rng(1)
    blocks = rng.integers(0, 2**64, (128, 2), dtype=np.uint64)
    blocks[2:] = 0
    low, high = (int(b[0]) | int(b[1]) << 64 for b in blocks[:2])
    want = low ^ high << 1
    want = want & 2**128 - 1 ^ (0x87 if want >> 128 else 0)
    got = ferret._powers(blocks)
    assert int(got[0]) | int(got[1]) << 64 == want


@pytest.mark.parametrize("attack", [lpn_bits.algebraic, lpn_bits.information_set, lpn_bits.own_rows])
def test_the_noise_is_safe_against_what_is_known(attack):
    noise = ferret.SAFE
    assert attack(noise.weight, 2**noise.depth, noise.unknowns, ones=10) >= 145
    assert lpn_bits.own_rows(noise.weight, 2**noise.depth, noise.unknowns, 10, share=0.6) >= 135


def test_the_parameters_of_the_paper_are_not():
    assert lpn_bits.algebraic(4971, 2**11, 124_000, ones=10) < 75
    assert lpn_bits.own_rows(4971, 2**11, 124_000, ones=10) < 92


def test_a_safe_round_costs_a_tenth_of_a_byte_a_transfer():
    kind = Ferret()
    made = kind.noise.made - kind.noise.used
    both = kind.extension_said(made)
    assert sum(said.bytes for said in both) / made < 0.1
    assert kind.extension_said(64, made) == both and kind.extension_said(64, 64)[0].bytes == 0


@pytest.mark.parametrize("noise", [Noise(3, 6, 1024), Noise(64, 3, 1024), Noise(64, 7, 1023)])
def test_noise_that_does_not_fit_is_refused(noise):
    with pytest.raises(ValueError, match="noise: a round"):
        Ferret(noise)


@pytest.mark.slow
def test_a_round_of_safe_noise():
    sender, receiver, _ = pair(Ferret())
    together(sender.setup, receiver.setup)
    q, t, choices = extend(sender, receiver, 2**20)
    kernels.ot_flip_(t, sender.delta, choices)
    np.testing.assert_array_equal(q, t)


# ---------------------------------------------------------------------------------------------- base transfers

IDENTITY = (1).to_bytes(32, "little")
ORDER_TWO = (2**255 - 19 - 1).to_bytes(32, "little")
NOT_ON_THE_CURVE = (2).to_bytes(32, "little")


def mixed_order():
    """A point of the group and one of order two, added: not in the group, though a multiple of it is."""
    return base.sodium.crypto_core_ed25519_add(base.offer()[1], ORDER_TWO)


BAD_POINTS = {"identity": IDENTITY, "order two": ORDER_TWO, "no point": NOT_ON_THE_CURVE, "mixed": mixed_order()}


def transfers(choices, direction=b"client>server"):
    secret, offered = base.offer()
    points, keys, session = base.choose(offered, choices, direction)
    both, same = base.both_keys(secret, offered, points, direction)
    return keys, both, session, same


def test_the_receiver_has_the_key_that_it_chose():
    choices = np.arange(20, dtype=np.uint64) % 3 % 2
    keys, both, session, same = transfers(choices)
    assert session == same
    for i, c in enumerate(choices.tolist()):
        np.testing.assert_array_equal(keys[i], both[i, c])
        assert (keys[i] != both[i, 1 - c]).any()
    assert len(np.unique(both.reshape(-1, 2), axis=0)) == 40


def test_keys_depend_on_who_talks_to_whom():
    secret, offered = base.offer()
    choices = np.zeros(3, np.uint64)
    points, keys, _ = base.choose(offered, choices, b"client>server")
    both, _ = base.both_keys(secret, offered, points, b"server>client")
    assert not np.isin(both, keys).any()


@pytest.mark.parametrize("name", BAD_POINTS)
def test_points_outside_of_the_group_are_refused(name):
    with pytest.raises(PartyError, match="point"):
        base.choose(BAD_POINTS[name], np.zeros(1, np.uint64), b"")
    secret, offered = base.offer()
    points = np.frombuffer(BAD_POINTS[name], np.uint8)[None]
    with pytest.raises(PartyError, match="point"):
        base.both_keys(secret, offered, points, b"")


# ---------------------------------------------------------------------------------------------- punctured trees


def planted(k, seed=0):
    rng = np.random.default_rng(seed)
    keys, delta = rng.integers(0, 2**64, (128, 2, 2), dtype=np.uint64), rng.integers(0, 2**64, 2, dtype=np.uint64)
    told = keys[np.arange(128), (1 - trees.path(delta, k)).astype(np.int64)]
    seeds, said = trees.plant(keys, k, b"session")
    return seeds, said, told, delta


@pytest.mark.parametrize("k", [1, 2, 4, 8])
def test_all_leaves_but_one_are_known_and_each_is_in_its_place(k):
    seeds, said, told, delta = planted(k)
    grown = trees.grow(told, delta, k, b"session", said)
    for t in range(128 // k):
        want = seeds[t][np.arange(2**k) ^ part(delta, t, k)]
        np.testing.assert_array_equal(grown[t, 1:], want[1:])
        assert not grown[t, 0].any()
    assert [a.size for a in said] == list(trees.message_words(k))
    assert len(np.unique(seeds.reshape(-1, 2), axis=0)) == 128 // k * 2**k


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("tree, level", [(0, 0), (3, 0), (31, -1)])
def test_sums_that_do_not_fit_are_refused_where_they_are_used(k, tree, level):
    seeds, said, told, delta = planted(k)
    level %= k
    side = 1 - int(trees.path(delta, k)[k * tree + level])
    for tampered, used in ((side, True), (1 - side, False)):
        sums = said[0].copy()
        sums.reshape(128 // k, k, 2, 2)[tree, level, tampered, 0] ^= np.uint64(1)
        if used:
            with pytest.raises(PartyError, match="punctured tree"):
                trees.grow(told, delta, k, b"session", [sums, *said[1:]])
        else:
            trees.grow(told, delta, k, b"session", [sums, *said[1:]])


@pytest.mark.parametrize("array", [1, 2])
def test_another_check_of_the_leaves_is_refused(array):
    seeds, said, told, delta = planted(4)
    said = [a.copy() for a in said]
    said[array][0] ^= np.uint64(1)
    with pytest.raises(PartyError, match="punctured tree"):
        trees.grow(told, delta, 4, b"session", said)


def test_a_point_that_is_none_ends_the_set_up():
    sender, receiver, (client, _) = pair(SoftSpoken(), lambda arrays: [np.frombuffer(ORDER_TWO, np.uint8)])

    def failing():
        with pytest.raises(PartyError, match="no point"):
            sender.setup()
        client.close()

    def left_alone():
        with pytest.raises(PartyError, match="hung up"):
            receiver.setup()

    together(failing, left_alone)
