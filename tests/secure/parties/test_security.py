"""What a party receives does not depend on what it must not learn; and these tests notice when a mask is used twice.

For two values of a secret, many runs; every bit of everything received is counted. If the messages are independent of
the secret, a bit is one equally often under both, so each bit's z is standard normal and the sum of their squares is
chi-square: its limit here is six standard deviations, and the largest of n bits' |z| stays below 6.
"""

import numpy as np
import pytest
import torch
from native_runs import compiled
from networks import images, replace
from torch import nn

from autorep_fx.secure.host.threads import connect, run
from autorep_fx.secure.link.message import HELLO, READY, REQUEST
from autorep_fx.secure.parties.correlations import Stream
from autorep_fx.secure.plan.input_range import InputRange
from autorep_fx.secure.plan.planner import make_plan

RUNS = 120


def record(channel, into):
    """Keep a copy of everything that ``channel`` receives, by step."""
    receive = channel.receive

    def recorded(step, *arrays):
        receive(step, *arrays)
        if step not in (HELLO, READY, REQUEST):
            into.setdefault(step, []).append(
                np.concatenate([np.ascontiguousarray(a).view(np.uint8).ravel() for a in arrays])
            )

    channel.receive = recorded


def network(seed, fraction):
    torch.manual_seed(seed)
    x = images(2, size=4)
    model = nn.Sequential(
        nn.Conv2d(3, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 2, 3), nn.ReLU6(), nn.Flatten(), nn.Linear(8, 3)
    )
    return compiled(model, x, lambda gm: replace(gm, fraction))


def programs(fraction, comparison):
    """Two networks that differ in every private number and in nothing public."""
    one, other = network(1, fraction), network(2, fraction)
    reach = {name: np.maximum(one.reach[name], other.reach[name]) for name in one.reach}
    within = InputRange.given(-8, 8, one.public.input_shape[0])
    found = [make_plan(p, reach, within) for p in (one, other)]
    plan = found[0][0].with_comparison(comparison)
    assert plan.digest() == found[1][0].with_comparison(comparison).digest()
    return plan, [numbers for _, numbers in found]


def views(plan, numbers, x, party, runs=RUNS):
    """What ``party`` receives in each of so many sessions: (runs, bytes), the client's without the output."""
    rows = []
    for _ in range(runs):
        trio = connect(plan, numbers, timeout=20)
        seen = {}
        for channel in getattr(trio, party).links.values():
            record(channel, seen)
        run(plan, numbers, x, trio=trio)
        if party == "client":
            seen.pop(len(plan.steps) - 1)
        rows.append(np.concatenate([part for step in sorted(seen) for part in seen[step]]))
    return np.stack(rows)


def distance(one, other):
    """(sum of z**2 - n) / sqrt(2 n), and the largest |z|, over all bits that are not constant."""
    ones = [np.unpackbits(v, axis=1).sum(0, dtype=np.int64) for v in (one, other)]
    a, b = len(one), len(other)
    share = (ones[0] + ones[1]) / (a + b)
    varies = (share > 0) & (share < 1)
    z = (ones[0] / a - ones[1] / b)[varies] / np.sqrt(share * (1 - share) * (1 / a + 1 / b))[varies]
    n = len(z)
    assert n > 1000
    return (float((z**2).sum()) - n) / (2 * n) ** 0.5, float(np.abs(z).max())


def assert_independent(one, other):
    spread, largest = distance(one, other)
    # Bits of one comparison key are not all independent of one another, so the spread gets room; a leak gives hundreds.
    assert abs(spread) < 8 and largest < 6, (spread, largest)


INPUTS = [np.zeros((1, 3, 4, 4)), 2 * images(1, size=4, seed=7).double().numpy()]


@pytest.mark.parametrize("comparison", ["fss", "gmw"])
def test_the_server_sees_nothing_of_the_input(comparison):
    plan, (numbers, _) = programs(0.5, comparison)
    assert_independent(*(views(plan, numbers, x, "server") for x in INPUTS))


@pytest.mark.parametrize("comparison", ["fss", "gmw"])
def test_the_client_sees_nothing_of_the_weights(comparison):
    plan, both = programs(0.5, comparison)
    assert_independent(*(views(plan, numbers, INPUTS[1], "client") for numbers in both))


def test_the_dealer_receives_seeds_and_the_batch_size_only():
    plan, (numbers, _) = programs(0.5, "fss")
    trio, seen = connect(plan, numbers, timeout=20), {}
    for channel in trio.dealer.links.values():
        record(channel, seen)
    run(plan, numbers, INPUTS[1], trio=trio)
    assert sum(len(part) for parts in seen.values() for part in parts) == 2 * 16


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
    monkeypatch.setattr("autorep_fx.secure.parties.client.os.urandom", lambda n: b"c" * n)
    monkeypatch.setattr("autorep_fx.secure.parties.server.os.urandom", lambda n: b"s" * n)
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
        trio, seen = connect(plan, numbers, timeout=20), {}
        record(trio.server.links["client"], seen)
        run(plan, numbers, INPUTS[0], INPUTS[1], trio=trio)
        first, second = (np.frombuffer(part.tobytes(), np.uint64) for part in seen[0])
        return (second - first).view(np.int64) / 2.0**plan.input.frac_bits

    shown = INPUTS[1].ravel()
    assert not np.allclose(difference(), shown, atol=1e-3)
    words = Stream.words
    monkeypatch.setattr(Stream, "words", lambda self, *a: words(Stream(self.seed, min(self.inference, 1)), *a))
    np.testing.assert_allclose(difference(), shown, atol=1e-3)  # the server reads the input


def test_every_comparison_key_hashes_under_a_key_of_its_own():
    """The AES key in a key's header: the same for both parties, another at each step of each inference."""
    plan, (numbers, _) = programs(0.5, "fss")
    trio, client, server = connect(plan, numbers, timeout=20), {}, {}
    record(trio.client.links["dealer"], client)
    record(trio.server.links["dealer"], server)
    run(plan, numbers, INPUTS[0], INPUTS[1], trio=trio)
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
    plan, (numbers, _) = programs(1.0, "fss")
    seeds = set()
    for _ in range(3):
        trio = connect(plan, numbers, timeout=20)
        run(plan, numbers, INPUTS[0], trio=trio)
        seeds |= {trio.client.seed, trio.server.seed}
    assert len(seeds) == 6
