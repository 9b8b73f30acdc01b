"""A client that deviates gets nothing: every message, every way to be wrong. docs/security.md has the theorem."""

import dataclasses
import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from deviating import U64, DeviatingClient, adds, messages, single, spread
from native_runs import compiled
from networks import Fn, images, replace
from torch import nn

from autorep_fx.errors import CheckFailed, PartyError
from autorep_fx.secure.correlations.stream import Stream
from autorep_fx.secure.cost.cost import plan_cost
from autorep_fx.secure.host.threads import connect, run
from autorep_fx.secure.makers.dealt import checked_client, own
from autorep_fx.secure.makers.dealt.blinded_weights import pack_folded
from autorep_fx.secure.makers.dealt.map_check import MapCheck
from autorep_fx.secure.makers.table import PAIRED
from autorep_fx.secure.parties import check
from autorep_fx.secure.plan import linear
from autorep_fx.secure.plan.simulate import expected


class Several(nn.Module):
    """Two outputs, and branches that wait for one another."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 2, 3), nn.Conv2d(6, 2, 1)

    def forward(self, x):
        y = torch.cat([F.relu(self.a(x)), F.relu6(self.b(x))], 1)
        return F.relu(self.c(y)).mean((2, 3)), y.mean((2, 3))


#: Every operation that runs with comparison keys, and the part of each site that is replaced.
NETWORKS = {
    "maps": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, groups=4), nn.ReLU()), 0.0),
    "a map alone": (lambda: nn.Conv2d(3, 4, 3, stride=2, padding=2), 0.0),
    "no map": (lambda: Fn(lambda x, c: F.relu(x[:, :1]) + x.mean(1, keepdim=True)), 0.0),
    "squares": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, (1, 2), dilation=2, padding=1)),
        1.0,
    ),
    "hybrid": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=2), nn.ReLU6(), nn.Flatten(),
                              nn.Linear(64, 3)),
        0.5,
    ),
    "slopes": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.2), nn.BatchNorm2d(4), nn.PReLU()), 0.3),
    "pooled": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2)), 0.0),
    "splines": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Conv2d(4, 2, 3), nn.Hardswish()), 0.3),
    "gates": (lambda: Fn(lambda x, c: F.conv2d(x, c) * F.silu(x.mean((2, 3), keepdim=True)), (3, 3, 1, 1)), 0.0),
    "matrix product": (
        lambda: Fn(lambda x, c: F.conv2d(x, c).flatten(2) @ F.relu(x).flatten(2).transpose(1, 2) / 64, (3, 3, 1, 1)),
        0.0,
    ),
    "several outputs": (Several, 0.0),
}  # fmt: skip


@pytest.fixture(scope="module")
def programs():
    """By name, as they are asked for: (plan, numbers), checked."""
    found = {}

    def of(name):
        if name not in found:
            torch.manual_seed(0)
            build, fraction = NETWORKS[name]
            program = compiled(build(), images(8, size=8), lambda gm: replace(gm, fraction), checked=True, clamp=False,
                               max_error=float("inf"))  # fmt: skip
            found[name] = program.native
        return found[name]

    return of


@pytest.fixture(scope="module")
def x():
    return images(2, size=8).double().numpy()


def refused(plan, numbers, change, x, match="did not pass the check", kind=CheckFailed, **options):
    with pytest.raises(kind, match=match):
        DeviatingClient(plan, numbers, change, **options).ask(x)


# --- honest runs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_a_checked_run_computes_what_an_unchecked_one_does_and_costs_what_is_declared(programs, name, x):
    plan, numbers = programs(name)
    model, cost = expected(plan, numbers, x), plan_cost(plan, batch=len(x))
    for found in run(plan, numbers, x, x):
        assert np.all(np.abs(found.output - model.output) <= model.bound)
        assert found.online["client"].depth == cost.rounds
        assert {party: count.total_bytes for party, count in found.online.items()} == cost.online
        assert {p: c.total_bytes for p, c in found.offline.items() if c.total_bytes} == cost.offline
        assert max(c.depth for c in found.offline.values()) == cost.offline_rounds
    unchecked = dataclasses.replace(plan, checked=False)
    assert cost.rounds == plan_cost(unchecked, batch=len(x)).rounds + 2, "one round trip more"
    assert np.all(np.abs(run(unchecked, numbers, x)[0].output - model.output) <= model.bound)


def test_honest_runs_are_never_refused(programs, x):
    plan, numbers = programs("hybrid")
    assert len(run(plan, numbers, *[x] * 50)) == 50


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_honest_runs_are_never_refused_in_thousands(programs, name, x):
    plan, numbers = programs(name)
    for _ in range(5):
        assert len(run(plan, numbers, *[x] * 50)) == 50


# --- errors in messages -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_an_error_in_any_message_is_refused(programs, name, x):
    plan, numbers = programs(name)
    for i, (kind, step) in enumerate(messages(plan)):
        for error in (single(0), single(31, at=7 * i), single(15, at=i), spread(0), spread(31)):
            refused(plan, numbers, adds(kind, step, error), x)


@pytest.mark.slow
def test_of_two_hundred_runs_with_errors_none_passes(programs, x):
    plan, numbers = programs("hybrid")
    said, rng = messages(plan), np.random.default_rng(0)
    for _ in range(200):
        kind, step = said[rng.integers(len(said))]
        error = (single(int(rng.integers(32)), int(rng.integers(2**16))), spread(int(rng.integers(32))))[
            rng.integers(2)
        ]
        refused(plan, numbers, adds(kind, step, error), x)


def test_errors_of_every_message_at_once_are_refused(programs, x):
    rng = np.random.default_rng(1)
    plan, numbers = programs("splines")

    def change(kind, step, array):
        return array if kind in ("input", "check") else rng.integers(0, 2**64, array.shape, U64)

    refused(plan, numbers, change, x)


def test_a_high_half_that_is_wrong_is_refused(programs, x):
    """Of values in rings of 32 bits it changes nothing; without it an error of 2**31 would pass half of the time."""
    plan, numbers = programs("hybrid")
    for kind, step in messages(plan):
        refused(plan, numbers, adds(kind, step, single(40)), x)


def test_errors_in_two_inferences_that_are_prepared_together_do_not_cancel(programs):
    plan, numbers = programs("hybrid")
    name = next(step.name for step in plan.steps if step.op == "map")
    for signs in ([1, -1, 0], [0, 0, 1], [0, 0, 0]):
        left = list(signs)

        def change(kind, step, array, left=left):
            return array + U64(left.pop(0) % 2**64) if (kind, step and step.name) == ("h", name) else array

        client = DeviatingClient(plan, numbers, change)
        if any(signs):
            with pytest.raises(CheckFailed):
                prepared_together(client.members, 3)
        else:
            assert [len({each.inference for each in found}) for found in prepared_together(client.members, 3)] == [3, 3]


def prepared_together(members, count):
    """What client and server prepare at once, by role; the first error of the server's."""
    found, errors = {}, []

    def main(role, member):
        try:
            member.setup()
            if role == "dealer":
                for _ in range(count):
                    member.offline.serve(2)
            else:
                found[role] = member.offline.prepare_several(2, count)
        except PartyError as error:
            errors.append(error)
            member.party.close()

    threads = [threading.Thread(target=main, args=item, daemon=True) for item in members.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return found["client"], found["server"]


# --- what a client has and uses otherwise -----------------------------------------------------------------------------


def test_the_input_is_the_clients_own_choice_and_nothing_else_is(programs, x):
    """Another blinding of the input is another input; used where h is made, it is refused."""
    plan, numbers = programs("hybrid")
    exponent = plan.input.frac_bits

    def change(kind, step, array):
        return array + np.uint32(1 << (exponent - 2)) if kind == "input" else array

    (output,) = DeviatingClient(plan, numbers, change).ask(x)
    model = expected(plan, numbers, x + 0.25)
    assert np.all(np.abs(output - model.output) <= model.bound)


def test_a_blinding_that_is_used_inconsistently_is_refused(programs, x, monkeypatch):
    """Those of the input, of activations, and of maps in front of others; that of a map that goes to a wire alone is in
    no message, and the client does not have it."""
    found = set()
    for plan, numbers in map(programs, ("maps", "hybrid")):
        model = expected(plan, numbers, x)
        for wrong in plan.steps[:-1]:
            if wrong.op not in ("input", "map") and not wrong.answered:
                continue

            def held(of, index, batch, stream, wrong=wrong, real=own.held):
                buffer, mine = real(of, index, batch, stream)
                assert ("blinding" in mine) == (of.steps[index].op != "output" and holds(of, of.steps[index]))
                if of.steps[index].name == wrong.name and "blinding" in mine:
                    mine["blinding"] = mine["blinding"] + U64(1)
                return buffer, mine

            with monkeypatch.context() as patch:
                patch.setattr(checked_client, "held", held)
                try:
                    (output,) = DeviatingClient(plan, numbers, lambda kind, step, array: array).ask(x)
                    assert np.all(np.abs(output - model.output) <= model.bound)
                    assert not enters_a_map(plan, wrong.name)
                except CheckFailed:
                    found.add(wrong.op)
    assert found == {"input", "map", "activation"}


def holds(plan, step):
    """Whether the client has what a step leaves blinded: to say it, or to put it into a map."""
    return step.op != "map" or enters_a_map(plan, step.name)


def enters_a_map(plan, name):
    """Whether what a step leaves blinded is read by a map, by itself or by way of public linear steps."""
    readers = [step for step in plan.steps if name in step.inputs]
    return any(s.op == "map" or s.op in ("local", "constant") and enters_a_map(plan, s.name) for s in readers)


def test_shares_and_keys_that_are_used_otherwise_are_refused(programs, x, monkeypatch):
    for name in ("hybrid", "splines", "gates"):
        plan, numbers = programs(name)
        masked = [step for step in plan.steps if step.answered]
        for wrong in masked:

            def say(self, index, step, m, shares, blinding, server, wrong=wrong, real=check.Said.say):
                if step.name == wrong.name:
                    key = "root" if "root" in shares else "alpha"
                    shares[key] = shares[key] + U64(1 << 7)
                real(self, index, step, m, shares, blinding, server)

            with monkeypatch.context() as patch:
                patch.setattr(check.Said, "say", say)
                refused(plan, numbers, lambda kind, step, array: array, x)


def test_another_wire_than_the_server_sent_is_refused(programs, x, monkeypatch):
    plan, numbers = programs("hybrid")

    def say(self, index, step, m, *rest, real=check.Said.say):
        real(self, index, step, m + np.uint32(1 << step.attrs["shift"]), *rest)

    monkeypatch.setattr(check.Said, "say", say)
    refused(plan, numbers, lambda kind, step, array: array, x)


# --- replayed, reordered, too long, too late --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["h", "answer", "opening"])
def test_a_message_of_an_inference_before_is_refused(programs, x, kind):
    plan, numbers = programs("splines")
    seen = {}

    def change(found, step, array):
        return seen.setdefault(step.name, array) if found == kind else array

    client = DeviatingClient(plan, numbers, change)
    with pytest.raises(CheckFailed):
        client.ask(x, x)
    assert seen


def test_messages_in_another_order_are_refused(programs, x):
    plan, numbers = programs("several outputs")
    kept = []

    def change(kind, step, array):
        if kind != "h":
            return array
        kept.append(array)
        return kept[0][:, : array.shape[1], : array.shape[2], : array.shape[3]] if len(kept) == 2 else array

    refused(plan, numbers, change, x)  # one map's h for another's
    answers = []

    def swapped(kind, step, array):
        if kind != "answer":
            return array
        answers.append(array)
        return [] if len(answers) == 1 else array  # the first one is left out

    refused(plan, numbers, swapped, x, match="sent a message for", kind=PartyError)


@pytest.mark.parametrize("kind", ["input", "h", "answer", "opening", "check"])
def test_a_message_of_another_length_is_refused(programs, x, kind):
    plan, numbers = programs("splines")
    for change in (lambda a: a[..., :-1], lambda a: np.concatenate([a, a]), lambda a: a.astype(np.uint32)):
        if kind == "input" and change(np.zeros(1, np.uint32)).size == 1:
            continue
        refused(plan, numbers, lambda found, step, array, change=change: change(array) if found == kind else array, x,
                match="bytes where|did not pass the check", kind=PartyError)  # fmt: skip


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("what", ["wrong", "none", "wrong, then right", "another message"])
def test_whatever_is_no_right_answer_to_a_challenge_fails_it(programs, x, which, what):
    """Offline, where one is about all h, and online."""
    plan, numbers = programs("hybrid")
    count = iter(range(10))

    def change(kind, step, array):
        if kind != "check" or next(count) != which:
            return array
        wrong = array + U64(1)
        return {"wrong": wrong, "none": [], "wrong, then right": [wrong, array], "another message": array[:0]}[what]

    refused(plan, numbers, change, x, timeout=0.5)


def test_a_second_answer_spoils_what_comes_next(programs, x):
    plan, numbers = programs("hybrid")
    client = DeviatingClient(plan, numbers, lambda kind, step, array: [array, array] if kind == "check" else array)
    with pytest.raises(PartyError):
        client.ask(x, x)


@pytest.mark.parametrize("name", ["hybrid", "several outputs"])
def test_no_challenge_is_drawn_before_the_last_message_was_read(programs, x, monkeypatch, name):
    """A client that waits for it before it says its last word waits for ever; branches count, too."""
    plan, numbers = programs(name)
    last = [step.name for step in plan.steps if step.answered][-1]
    monkeypatch.setattr(check, "challenge", None)  # that of the maps is another module's

    def change(kind, step, array):
        return [] if (kind, step and step.name) == ("answer", last) else array

    refused(plan, numbers, change, x, match="sent nothing for", kind=PartyError, timeout=0.5)


def test_who_knows_the_challenge_passes(programs, x, monkeypatch):
    """What rests on it: errors whose combination is zero are not seen, so it has to be new for each check."""
    plan, numbers = programs("hybrid")
    monkeypatch.setattr(check.os, "urandom", lambda n: bytes(n))
    index, step = next((i, s) for i, s in enumerate(plan.steps) if s.answered)

    def cancelling(shape):
        chi = Stream(bytes(16), 0).words(index, 0, int(np.prod(shape)))
        e = np.zeros(chi.size, U64)
        first, second = np.flatnonzero(chi & U64(1))[:2]
        e[first] = U64(1 << 20)
        e[second] = -int(e[first]) * int(chi[first]) * pow(int(chi[second]), -1, 2**64) % 2**64
        assert (e.astype(np.uint32) != 0).sum() == 2
        return e.reshape(shape)

    (output,) = DeviatingClient(plan, numbers, adds("answer", step.name, cancelling)).ask(x)
    model = expected(plan, numbers, x)
    assert not np.all(np.abs(output - model.output) <= model.bound), "it was answered, by something else"


# --- the probability --------------------------------------------------------------------------------------------------


class Guessing:
    """The best client there is: it adds errors to one message, and guesses the key that its answer depends on."""

    def __init__(self, rng, size, key, bits):
        self.values, local = rng.integers(0, 2**64, (2, size), U64)
        self.tags, self.local, self.key = key * self.values + local, local, key
        self.guess = rng.integers(0, 2**bits, 1, U64)

    def passes(self, error):
        heard = check.Heard(self.key)
        heard.hear(0, self.values + error)
        heard._local[0, 0] = self.local
        try:
            heard.check(_Answers(lambda seed: check.sums_of(seed, {(0, 0): self.tags + self.guess * error})[0]))
        except CheckFailed:
            return False
        return True


class _Answers:
    """A client's end of a challenge."""

    def __init__(self, answer):
        self.answer = answer

    def gone(self):
        return False

    def send(self, step, seed):
        self.seed = seed.tobytes()

    def allow_a_message(self):
        pass

    def receive(self, step, into):
        into[...] = self.answer(self.seed)


def share_of_passes(tries, bits, error):
    rng, passed = np.random.default_rng(bits), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own, "KEY_BITS", bits)
        for i in range(tries):
            key = own.check_key(Stream(i.to_bytes(16, "little"), 1))
            passed += Guessing(rng, 8, key, bits).passes(error(i))
    return passed


def test_of_ten_thousand_errors_none_passes():
    rng = np.random.default_rng(2)

    def error(i):
        if i % 3 == 0:
            return single(i % 32, at=i)((1, 8)).ravel()
        if i % 3 == 1:
            return spread(i % 32)((1, 8)).ravel() + single(i % 32, at=i)((1, 8)).ravel()
        return rng.integers(1, 2**32, 8, U64)

    assert share_of_passes(10_000, 32, error) == 0


def test_of_wrong_maps_as_many_pass_with_short_keys_as_the_bound_says_and_no_more(programs):
    """Two sums of products, of which both have to be right: docs/security.md."""
    plan, _ = programs("a map alone")
    step, bits, tries = next(step for step in plan.steps if step.op == "map"), 4, 3000
    folded = pack_folded(plan, [np.ones(step.attrs["weight_shape"], np.uint32)])
    rng, passed = np.random.default_rng(3), 0
    for _ in range(tries):
        error = {step.name: single(63 - bits, at=int(rng.integers(step.size)))((1, *step.shape))}
        off = MapCheck(plan, folded, rng.bytes(16)).of_sent(error, 1)
        key, guess = rng.integers(0, 2**bits, 2, U64)
        passed += np.array_equal(key * off, guess * off)
    terms = sum((n / 2 + 1) ** 2 * 2.0**-n for n in range(2, bits + 2))
    wanted = (1 + terms / 4) * 2.0**-bits
    assert abs(passed / tries - wanted) < 5 * (wanted / tries) ** 0.5, passed


@pytest.mark.parametrize("name", ["maps", "a map alone", "squares", "hybrid", "slopes"])
def test_what_a_check_weighs_blindings_by_is_the_transposed_map(programs, name):
    """Of every kind of map: with groups, strides, dilations and padding, and one that has a public part."""
    plan, rng = programs(name)[0].lifted, np.random.default_rng(4)
    shapes = {step.name: step.shape for step in plan.steps}
    for step in (step for step in plan.steps if step.op == "map"):
        weight = rng.integers(-(2**31), 2**31, linear.weight_shape(step)).view(U64)
        packed = linear.pack(step, weight, public=True, bits=32), linear.pack_folded(step, weight, bits=32)
        x = rng.integers(0, 2**64, (1, *shapes[step.inputs[0]]), U64)
        outer, inner = (rng.integers(0, 2**64, (2, size), U64) for size in linear.factors_of(step))
        y = (outer[:, :, None] * inner[:, None]).reshape(2, *step.shape)
        found = linear.transposed_of_product(step, packed[1], outer, inner, x.shape[1:])
        assert np.array_equal(
            (found * x).reshape(2, -1).sum(1), (y * linear.apply(step, packed[0], x)).reshape(2, -1).sum(1)
        )


@pytest.mark.parametrize("bits, tries", [(4, 4000), (8, 12_000)])
def test_with_short_keys_as_many_pass_as_the_bound_says_and_no_more(bits, tries):
    for bit, wanted in ((63 - bits, (1 + bits / 4) * 2**-bits), (31, 2**-bits), (0, 2**-bits)):
        found = share_of_passes(tries, bits, lambda i, bit=bit: single(bit, at=i)((1, 8)).ravel())
        assert abs(found / tries - wanted) < 5 * (wanted / tries) ** 0.5, (bit, found)


@pytest.mark.slow
def test_with_short_keys_as_many_runs_pass_as_the_bound_says(programs, x, monkeypatch):
    monkeypatch.setattr(own, "KEY_BITS", 4)
    plan, numbers = programs("hybrid")
    for kind, step in messages(plan)[::3]:
        passed = 0
        for _ in range(200):
            try:
                DeviatingClient(plan, numbers, adds(kind, step, single(31))).ask(x)
                passed += 1
            except CheckFailed:
                pass
        assert abs(passed - 200 / 16) < 5 * (200 / 16) ** 0.5, (kind, step, passed)


def test_every_inference_has_a_key_of_its_own(programs, x, monkeypatch):
    plan, numbers = programs("squares")
    keys, real = [], check.Heard.__init__

    def init(self, key):
        keys.append(int(key[0]))
        real(self, key)

    monkeypatch.setattr(check.Heard, "__init__", init)
    run(plan, numbers, *[x] * 4)
    assert len({*keys}) == 4 and max(keys) < 2**32


def test_a_party_that_has_no_tags_takes_no_checked_plan(programs, x):
    plan, numbers = programs("squares")
    with pytest.raises(ValueError, match="a checked program needs a dealer"):
        connect(plan, numbers, maker=PAIRED)
