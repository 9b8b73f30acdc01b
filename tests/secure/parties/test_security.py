"""What a party receives does not depend on what it must not learn; and these tests notice when a mask is used twice.

For two values of a secret, many runs; every bit of everything received is counted. If the messages are independent of
the secret, a bit is one equally often under both, so each bit's z is standard normal and the sum of their squares is
chi-square: its limit here is eight standard deviations, and the largest of n bits' |z| stays below 6.

Two messages under one mask are uniform each, and their difference is not. So the same is counted for the differences of
all wires that a party holds under masks that it does not know, in two inferences of one session, and for the XORs of
all bit planes that are opened. A wire there is what the party can make of its messages: with what it added taken off.
"""

import dataclasses
import itertools

import numpy as np
import pytest
from observed import INPUTS, alike, assert_independent, attends, distance, network, programs, record, views

from autorep_fx.secure.correlations.stream import Stream
from autorep_fx.secure.host.threads import connect, run
from autorep_fx.secure.makers.dealt.seeds import BLIND, TRIPLE, WIRE_MASK
from autorep_fx.secure.makers.walk import visited
from autorep_fx.secure.plan.ring import decode, elements, narrowed

#: With squares at the replaced positions, and with lines, of which most do not travel; on wires of 32 bits, of 64, and
#: of both, as so many significant bits need.
NARROW, WIDE, MIXED = {"widths": (32,)}, {"widths": (64,)}, {"useful": 9}
VARIANTS = [("fss", 0.5, 2, MIXED), ("gmw", 0.5, 2, MIXED), ("fss", 0.8, 1, MIXED), ("fss", 0, 2, NARROW),
            ("gmw", 0, 2, NARROW), ("fss", 0.5, 2, NARROW), ("gmw", 0.5, 2, WIDE)]  # fmt: skip


def test_the_variants_are_of_all_widths():
    wires = {}
    for comparison, fraction, degree, options in VARIANTS:
        plan, _ = programs(fraction, comparison, degree, **options)
        found = {step.attrs["wire"] for step in plan.steps if "wire" in step.attrs}
        wires.setdefault(str(options), set()).update(found)
    assert wires == {str(NARROW): {32}, str(WIDE): {64}, str(MIXED): {32, 64}}, wires


@pytest.mark.parametrize("comparison, fraction, degree, options", VARIANTS)
def test_the_server_sees_nothing_of_the_input(comparison, fraction, degree, options):
    plan, (numbers, _) = programs(fraction, comparison, degree, **options)
    assert any(s.attrs.get("kind") == "take" for s in plan.steps) == (degree == 1)
    assert_independent(*(views(plan, numbers, x, "server") for x in INPUTS))


@pytest.mark.parametrize("comparison, fraction, degree, options", VARIANTS)
def test_the_client_sees_nothing_of_the_weights(comparison, fraction, degree, options):
    plan, both = programs(fraction, comparison, degree, **options)
    assert_independent(*(views(plan, numbers, INPUTS[1], "client") for numbers in both))


@pytest.mark.parametrize("width", [32, 64])
def test_products_of_two_private_matrices_show_neither_party_more(width):
    plan, (numbers, other) = alike([attends(1), attends(2)], "fss", widths=(width,), useful=7)
    assert [step.attrs["wire"] for step in plan.steps if step.op == "matmul"] == [width] * 2
    assert_independent(*(views(plan, numbers, x, "server") for x in INPUTS))
    assert_independent(*(views(plan, numbers, INPUTS[1], "client") for numbers in (numbers, other)))


@pytest.mark.parametrize("fraction", [0, 0.5])
def test_a_checked_run_shows_neither_party_more(fraction):
    """The server the answers to its challenges, too, and the client tags."""
    plan, (numbers, other) = programs(fraction, "fss", **NARROW)
    plan = dataclasses.replace(plan, checked=True)
    assert_independent(*(views(plan, numbers, x, "server") for x in INPUTS))
    assert_independent(*(views(plan, numbers, INPUTS[1], "client") for numbers in (numbers, other)))


def keep_wires_of_server(member, wires):
    """What the server computes on: ``y - B``, B the client's, before and after every activation."""
    server, half = member.party, member.offline
    activate = server._activate

    def kept(index, step, masked, shares, waiting, client, heard):
        activate(index, step, masked, shares, waiting, client, heard)
        stream = Stream(half.seed, half.inference)
        wires.append(masked - stream.elements(index, WIRE_MASK, masked.shape, step.attrs["wire"]))
        if step.op == "activation":
            wires.append(waiting[-1][2])  # the client's part is added to it in place

    server._activate = kept


def keep_wires_of_client(member, wires):
    """What the client makes of ``m``: ``y + s``, s the server's, for it knows ``B = (y + s) - m``."""
    client, half = member.party, member.offline
    evaluate, known = client._evaluate, {}

    def learn(batch):
        values = {}
        for index, step, inputs in visited(client.plan, values):
            if inputs:
                known[half.inference, index] = inputs[0].reshape(batch, -1)
            if step.op in ("constant", "output"):
                values[step.name] = inputs[0]
            else:
                stream = Stream(half.seed, half.inference)
                values[step.name] = stream.elements(index, BLIND, (batch, *step.shape), step.width)

    def kept(step, index, m, *args, **options):
        if (half.inference, index) not in known:
            learn(len(m))
        wires.append(m + narrowed(known[half.inference, index], step.attrs["wire"]))
        return evaluate(step, index, m, *args, **options)

    client._evaluate = kept


def keep_planes(channel, planes):
    """What both sides of an exchange open; the first word of each plane holds all of one sample's comparisons here."""
    exchange = channel.exchange

    def kept(step, mine, theirs):
        exchange(step, mine, theirs)
        planes.extend((mine ^ theirs)[:, 0])

    channel.exchange = kept


def pairs(plan, numbers, x, party, runs=60):
    """Differences of every two wires and XORs of every two planes, of two inferences on x and x / 2: (runs, bytes)."""
    rows = []
    for _ in range(runs):
        members, wires, planes, seen = connect(plan, numbers, timeout=20), [], [], {}
        if party == "server":
            keep_wires_of_server(members["server"], wires)
            record(members.server.links["client"], seen)
        else:
            keep_wires_of_client(members["client"], wires)
        keep_planes(getattr(members, party).links["client" if party == "server" else "server"], planes)
        run(plan, numbers, x, x / 2, members=members)
        first = [part.view(elements(plan.input.width)) for part in seen.get(0, ())]  # the input
        wires = [wire.ravel() for wire in wires] + first
        found = [difference(a, b).view(np.uint8) for a, b in itertools.combinations(wires, 2)]
        one, other = np.triu_indices(len(planes), 1)
        planes = np.array(planes, np.uint64)
        rows.append(np.concatenate([*found, (planes[one] ^ planes[other]).view(np.uint8)]))
    return np.stack(rows)


def difference(a, b):
    """In the narrower ring of the two."""
    width = 8 * min(a.itemsize, b.itemsize)
    return narrowed(a[: len(b)], width) - narrowed(b[: len(a)], width)


def secrets_of(party, **options):
    """(numbers, input) twice: what ``party`` must not tell apart. And the plan's two comparisons."""
    plan, both = programs(0.5, "gmw", **options)
    return plan, [(both[0], x) for x in INPUTS] if party == "server" else [(numbers, INPUTS[1]) for numbers in both]


@pytest.mark.parametrize("options", [NARROW, MIXED, WIDE], ids=["narrow", "mixed", "wide"])
@pytest.mark.parametrize("comparison", ["fss", "gmw"])
@pytest.mark.parametrize("party", ["server", "client"])
def test_two_messages_together_say_nothing(party, comparison, options):
    plan, cases = secrets_of(party, **options)
    assert_independent(*(pairs(plan.with_comparison(comparison), *case, party) for case in cases), most=7)


@pytest.mark.parametrize("party", ["server", "client"])
@pytest.mark.parametrize("fault", ["two wires", "two inferences", "two planes"])
def test_a_mask_shared_by_two_is_noticed(monkeypatch, party, fault):
    """Each message is uniform on its own here, and counting them one by one finds nothing."""
    plan, cases = secrets_of(party, **WIDE)  # two halves of a word of the stream would not be in step
    if fault != "two planes":
        plan = plan.with_comparison("fss")
    first, second = (i for i, step in enumerate(plan.steps) if step.op == "activation")
    words = Stream.words

    def shared(self, step, slot, shape):
        if fault == "two wires" and slot == BLIND == WIRE_MASK and step == second:
            step = first
        if fault == "two inferences":
            self = Stream(self.seed, min(self.inference, 1))
        made = words(self, step, slot, shape)
        if fault == "two planes" and slot == TRIPLE:
            made[:] = made[0]
        return made

    monkeypatch.setattr(Stream, "words", shared)
    assert_independent(*(views(plan, *case, party, runs=40) for case in cases))
    spread, largest = distance(*(pairs(plan, *case, party) for case in cases))
    assert spread > 20 and largest > 9, (spread, largest)


def test_the_dealer_receives_seeds_and_the_batch_size_only():
    plan, (numbers, _) = programs(0.5, "fss")
    members, seen = connect(plan, numbers, timeout=20), {}
    for channel in members.dealer.links.values():
        record(channel, seen)
    run(plan, numbers, INPUTS[1], members=members)
    assert sum(len(part) for parts in seen.values() for part in parts) == 3 * 16


@pytest.mark.parametrize("party", ["server", "client"])
def test_received_bytes_are_uniform(party):
    """Chi-square over byte values, for everything but comparison keys, which have structure (gmw has none)."""
    plan, (numbers, _) = programs(0.5, "gmw")
    seen = views(plan, numbers, INPUTS[1], party, runs=40)
    counts = np.bincount(seen.ravel(), minlength=256)
    expected = seen.size / 256
    chi = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi - 255) < 6 * (2 * 255) ** 0.5, chi


@pytest.mark.parametrize("party, secrets", [("server", "inputs"), ("client", "weights")])
def test_a_mask_used_twice_is_noticed(monkeypatch, party, secrets):
    """Seeds that are the same in every session: every mask is used again."""
    monkeypatch.setattr("autorep_fx.secure.makers.dealt.client.os.urandom", lambda n: b"c" * n)
    monkeypatch.setattr("autorep_fx.secure.makers.dealt.server.os.urandom", lambda n: b"s" * n)
    plan, both = programs(0.5, "gmw")
    cases = [(both[0], x) for x in INPUTS] if secrets == "inputs" else [(numbers, INPUTS[1]) for numbers in both]
    noisy = []
    for numbers, x in cases:
        seen = views(plan, numbers, x, party, runs=20)
        assert (seen == seen[0]).all(), "nothing is fresh"
        noisy.append(seen)
    spread, largest = distance(*noisy)
    assert spread > 100 and largest > 6


def test_a_stream_that_repeats_between_inferences_is_noticed(monkeypatch):
    """Within one session: the second inference must not use the masks of the first."""
    plan, (numbers, _) = programs(0.5, "gmw")

    def difference():
        members, seen = connect(plan, numbers, timeout=20), {}
        record(members.server.links["client"], seen)
        run(plan, numbers, INPUTS[0], INPUTS[1], members=members)
        first, second = (np.frombuffer(part.tobytes(), elements(plan.input.width)) for part in seen[0])
        return decode(second - first, plan.input.frac_bits)

    shown = INPUTS[1].ravel()
    assert not np.allclose(difference(), shown, atol=1e-3)
    words = Stream.words
    monkeypatch.setattr(Stream, "words", lambda self, *a: words(Stream(self.seed, min(self.inference, 1)), *a))
    np.testing.assert_allclose(difference(), shown, atol=1e-3)  # the server reads the input


def test_every_comparison_key_hashes_under_a_key_of_its_own():
    """The AES key in a key's header: the same for both parties, another at each step of each inference."""
    plan, (numbers, _) = programs(0.5, "fss")
    members, client, server = connect(plan, numbers, timeout=20), {}, {}
    record(members.client.links["dealer"], client)
    record(members.server.links["dealer"], server)
    run(plan, numbers, INPUTS[0], INPUTS[1], members=members)
    keys = [(step, i, key) for step, found in client.items() for i, key in enumerate(found)]
    assert len(keys) == 2 * 2  # two sites, two inferences
    for step, i, key in keys:
        np.testing.assert_array_equal(server[step][i][-len(key) :], key)
    assert len({key[40:56].tobytes() for _, _, key in keys}) == len(keys)


def test_streams_do_not_overlap():
    seed = bytes(range(16))
    parts = [
        Stream(seed, inference).words(step, slot, 64)
        for inference in (0, 1, 2)
        for step in (0, 1, 300)
        for slot in range(5)
    ]
    assert len(np.unique(np.concatenate(parts))) == 64 * len(parts)


def test_seeds_come_from_the_system():
    plan, numbers = network(1, 1.0).native
    seeds = set()
    for _ in range(3):
        members = connect(plan, numbers, timeout=20)
        run(plan, numbers, INPUTS[0], members=members)
        seeds |= {members["server"].offline.model.seed, *(member.offline.seed for member in members.values())}
    assert len(seeds) == 12
