"""What a party receives does not depend on what it must not learn; and these tests notice when a mask is used twice.

For two values of a secret, many runs; every bit of everything received is counted. If the messages are independent of
the secret, a bit is one equally often under both, so each bit's z is standard normal and the sum of their squares is
chi-square: its limit here is eight standard deviations, and the largest of n bits' |z| stays below 6.

Two messages under one mask are uniform each, and their difference is not. So the same is counted for the differences of
all wires that a party holds under masks that it does not know, in two inferences of one session, and for the XORs of
all bit planes that are opened. A wire there is what the party can make of its messages: with what it added taken off.
"""

import itertools

import numpy as np
import pytest
import torch
from native_runs import compiled
from networks import images, replace
from torch import nn

import autorep_fx as ar
from autorep_fx.secure.host.threads import connect, run
from autorep_fx.secure.link.message import HELLO, READY, REQUEST
from autorep_fx.secure.parties.correlations import BLIND, TRIPLE, WIRE_MASK, Stream
from autorep_fx.secure.parties.party import walk
from autorep_fx.secure.plan.input_range import InputRange
from autorep_fx.secure.plan.planner import make_plan
from autorep_fx.secure.ring import decode, elements, narrowed

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


def network(seed, fraction, degree=2):
    torch.manual_seed(seed)
    x = images(2, size=4)
    model = nn.Sequential(
        nn.Conv2d(3, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 2, 3), nn.ReLU6(), nn.Flatten(), nn.Linear(8, 3)
    )

    def replaced(gm):
        for site in ar.sites(replace(gm, fraction, degree)).values():
            site.set_coeffs(site.coeffs if degree == 2 else 0.3 + site.coeffs.abs())  # slopes that can be divided by
        return gm

    return compiled(model, x, replaced)


def programs(fraction, comparison, degree=2, **options):
    """Two networks that differ in every private number and in nothing public. options: of make_plan."""
    one, other = network(1, fraction, degree), network(2, fraction, degree)
    reach = {name: np.maximum(one.reach[name], other.reach[name]) for name in one.reach}
    within = InputRange.given(-8, 8, one.public.input_shape[0])
    found = [make_plan(p, reach, within, **options) for p in (one, other)]
    plan = found[0][0].with_comparison(comparison)
    assert plan.digest() == found[1][0].with_comparison(comparison).digest()
    return plan, [numbers for _, numbers in found]


def views(plan, numbers, x, party, runs=RUNS, deviate=lambda trio: None):
    """What ``party`` receives in each of so many sessions: (runs, bytes), the client's without the output."""
    rows = []
    for _ in range(runs):
        trio = connect(plan, numbers, timeout=20)
        deviate(trio)
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
    mean = (a + b) / (a + b - 1)  # of z**2, given how many of all are ones
    return (float((z**2).sum()) / mean - n) / (2 * n) ** 0.5, float(np.abs(z).max())


def assert_independent(one, other, most=6):
    spread, largest = distance(one, other)
    # Bits of one comparison key are not all independent of one another, so the spread gets room; a leak gives hundreds.
    assert abs(spread) < 8 and largest < most, (spread, largest)


INPUTS = [np.zeros((1, 3, 4, 4)), 2 * images(1, size=4, seed=7).double().numpy()]


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


def keep_wires_of_server(server, wires):
    """What the server computes on: ``y - B``, B the client's, before and after every activation."""
    activate = server._activate

    def kept(index, step, masked, shares, waiting):
        activate(index, step, masked, shares, waiting)
        stream = Stream(server.seed, server.inference)
        wires.append(masked - stream.elements(index, WIRE_MASK, masked.shape, step.attrs["wire"]))
        if step.op == "activation":
            wires.append(waiting[-1][2])  # the client's part is added to it in place

    server._activate = kept


def keep_wires_of_client(client, wires):
    """What the client makes of ``m``: ``y + s``, s the server's, for it knows ``B = (y + s) - m``."""
    evaluate, known = client._evaluate, {}

    def learn(batch):
        def visit(index, step, inputs):
            if inputs:
                known[client.inference, index] = inputs[0].reshape(batch, -1)
            if step.op in ("constant", "output"):
                return inputs[0]
            return Stream(client.seed, client.inference).elements(index, BLIND, (batch, *step.shape), step.width)

        walk(client.plan, visit)

    def kept(step, index, m, *args, **options):
        if (client.inference, index) not in known:
            learn(len(m))
        wires.append(m + narrowed(known[client.inference, index], step.attrs["wire"]))
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
        trio, wires, planes, seen = connect(plan, numbers, timeout=20), [], [], {}
        if party == "server":
            keep_wires_of_server(trio.server, wires)
            record(trio.server.links["client"], seen)
        else:
            keep_wires_of_client(trio.client, wires)
        keep_planes(getattr(trio, party).links["client" if party == "server" else "server"], planes)
        run(plan, numbers, x, x / 2, trio=trio)
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


class DeviatingClient:
    """Adds what it likes to its shares: ``added`` (N, ...), ring elements, by the name of an activation or a map."""

    def __init__(self, plan, numbers, added):
        self.trio = connect(plan, numbers, timeout=20)
        self.plan, self.numbers, client = plan, numbers, self.trio.client
        evaluate, server = client._evaluate, client.links["server"]
        send = server.send

        def deviating(step, *args, **options):
            share = evaluate(step, *args, **options)
            return share + added.get(step.name, share.dtype.type(0))

        def sent(index, *arrays):
            if index < len(plan.steps) and plan.steps[index].op == "map":  # h, offline
                arrays = (arrays[0] + added.get(plan.steps[index].name, arrays[0].dtype.type(0)),)
            send(index, *arrays)

        client._evaluate, server.send = deviating, sent

    def ask(self, x):
        return run(self.plan, self.numbers, x, trio=self.trio)[0].output


def ring(values):
    return np.rint(values).astype(np.int64).view(np.uint64)


def wide(program):
    """Its plan on wires of 64 bits, where there is the most room for what a client adds."""
    return make_plan(program, program.reach, InputRange.of_plan(program.base_plan), widths=(64,))


def by_role(plan):
    """The two activations and the two layers behind them, of ``network``."""
    activations = [step for step in plan.steps if step.op == "activation"]
    return *activations, *[step for step in plan.steps if step.op == "map"][1:]


def test_what_a_deviating_client_learns():
    """With one query of a batch: every weight after the last activation, exactly. docs/security.md says so."""
    plan, numbers = wide(network(1, 0))
    _, last, _, linear = by_role(plan)
    n, large = last.size, 44  # bits: a weight has 16, the ring has room for 61, and what is rounded is far below
    raised = np.concatenate([np.zeros((1, n)), 2.0**large * np.eye(n)])
    output = DeviatingClient(plan, numbers, {last.name: ring(raised)}).ask(np.repeat(INPUTS[1], n + 1, axis=0))
    output = np.ldexp(output, plan.output.frac_bits + plan.output.attrs["shift"] - large)
    found = np.rint(output[1:] - output[0]).astype(np.int64).T
    np.testing.assert_array_equal(found, numbers[linear.name].weight.view(np.int64))


def test_a_deviating_client_learns_the_layer_before_too():
    """It lets one unit of the last activation through at a time, and raises one entry of the activation before."""
    program = network(1, 0)
    plan, numbers = wide(program)
    first, last, conv, _ = by_role(plan)
    weight, linear = (program.secrets(program.steps[i])["weight"] for i in (2, -1))
    m, n = last.size, first.size
    through = np.where(np.eye(m, dtype=bool), 3.0, -8.0)[:, None]  # ReLU6: at 3 a unit passes what moves it, at -8 not
    through = np.broadcast_to(through, (m, n + 1, m)).reshape(-1, *conv.shape) * 2.0**conv.frac_bits
    raised = np.tile(np.concatenate([np.zeros((1, n)), np.eye(n)]), (m, 1)) * 2.0**first.frac_bits
    client = DeviatingClient(plan, numbers, {conv.name: ring(through), first.name: ring(raised)})
    output = client.ask(np.repeat(INPUTS[1], m * (n + 1), axis=0)).reshape(m, n + 1, -1)
    moved = output[:, 1:] - output[:, :1]  # of unit i by entry j: linear[:, i] times conv's matrix[i, j]
    known = linear.numpy().T
    found = np.einsum("ijk,ik->ij", moved, known) / (known**2).sum(1, keepdims=True)
    true = torch.nn.functional.conv2d(torch.eye(n, dtype=torch.float64).reshape(n, *first.shape), weight)
    # Both activations are rounded anew in each sample, to 2**-13 and 2**-16: 1e-4 in ``found``. The weights reach 0.2.
    np.testing.assert_allclose(found, true.reshape(n, m).T.numpy(), rtol=0, atol=1e-3)


@pytest.mark.parametrize("comparison", ["fss", "gmw"])
def test_what_a_deviating_server_receives_says_nothing(comparison):
    """It sends zeros in place of all that the protocol says; the answers are under masks that it does not choose."""

    def deviate(trio):
        channel = trio.server.links["client"]
        send, exchange = channel.send, channel.exchange
        channel.send = lambda step, *arrays: send(step, *(a if step == HELLO else np.zeros_like(a) for a in arrays))
        channel.exchange = lambda step, mine, theirs: exchange(step, np.zeros_like(mine), theirs)

    plan, (numbers, _) = programs(0.5, comparison)
    assert_independent(*(views(plan, numbers, x, "server", deviate=deviate) for x in INPUTS))


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
    plan, numbers = network(1, 1.0).native
    seeds = set()
    for _ in range(3):
        trio = connect(plan, numbers, timeout=20)
        run(plan, numbers, INPUTS[0], trio=trio)
        seeds |= {trio.client.seed, trio.server.seed}
    assert len(seeds) == 6
