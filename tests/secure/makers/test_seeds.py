"""The names of the streams that masks come from: no two things share one, and all parties mean the same by it."""

import threading
from collections import Counter

import numpy as np
import pytest
from native_runs import compared, compiled
from networks import Everything, images, replace
from torch import nn

from autorep_fx.secure.correlations.stream import Stream
from autorep_fx.secure.host.threads import connect, run
from autorep_fx.secure.makers.dealt import seeds as c
from autorep_fx.secure.plan.ring import kernel

INFERENCES = 2
CLIENT = {c.BLIND: "blinding", c.T_MASK: "t", c.SHARES: "shares", c.ROOT: "roots", c.TRIPLE: "triples",
          c.OPENING: "opening"}  # fmt: skip
SERVER = {c.WIRE_MASK: "wire mask", c.SHARES: "half of u", c.ROOT: "roots", c.TRIPLE: "triples",
          c.OPENING: "opening"}  # fmt: skip
MODEL, DEALER = {c.WEIGHT_MASK: "A"}, {c.HASH_KEY: "hash key"}
KINDS = {"client": CLIENT, "server": SERVER, "model": MODEL, "dealer": DEALER}


@pytest.fixture(scope="module")
def program():
    """Hybrid sites, max pooling, ReLU6, leaky ReLU, PReLU, a spline, a product."""
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.SiLU(), nn.LeakyReLU(0.2), Everything())
    return compiled(model, images(), lambda gm: replace(gm, 0.5))


def drawn(monkeypatch, plan, numbers):
    """Every stream that a party made in some inferences: (party, seed's owner, name, words)."""
    members, calls, who = connect(plan, numbers, timeout=20), [], {}
    for role, member in members.items():

        def setup(role=role, real=member.offline.setup):
            who[threading.get_ident()] = role
            real()

        member.offline.setup = setup
    real = kernel().prg_words

    def prg_words(seed, purpose, shape, *rest):
        calls.append((threading.get_ident(), seed, purpose, int(np.prod(shape, dtype=np.int64))))
        return real(seed, purpose, shape, *rest)

    tagged, weighed = kernel().tag_words, kernel().weigh

    def tag_words(values, factor, seed, purpose):
        calls.append((threading.get_ident(), seed, purpose, values.size))
        return tagged(values, factor, seed, purpose)

    def weigh(seed, purpose, values):
        calls.append((threading.get_ident(), seed, purpose, values.shape[1]))
        return weighed(seed, purpose, values)

    for function in (prg_words, tag_words, weigh):
        monkeypatch.setattr(kernel(), function.__name__, function)
    x = images(2).double().numpy()
    run(plan, numbers, *[x] * INFERENCES, members=members)
    halves = {role: member.offline for role, member in members.items()}
    owner = {halves["server"].model.seed: "model", **{half.seed: role for role, half in halves.items()}}
    # Where the plan is checked there are challenges, too, each with a seed of its own.
    owners = {seed: owner.get(seed, f"challenge {seed.hex()}") for _, seed, _, _ in calls}
    return [(who[thread], owners[seed], purpose, size) for thread, seed, purpose, size in calls]


@pytest.mark.parametrize("comparison", ["fss", "gmw", "table"])
def test_names_are_distinct_and_mean_one_thing(monkeypatch, program, comparison):
    plan, numbers = program.native
    plan = compared(plan, comparison)
    assert comparison in {step.attrs.get("comparison") for step in plan.steps}
    calls = drawn(monkeypatch, plan, numbers)

    repeated = [call for call, n in Counter((party, owner, name) for party, owner, name, _ in calls).items() if n > 1]
    assert not repeated, "a party draws the same numbers twice"
    assert not [call for call in calls if {call[0], call[1]} == {"client", "server"}], "nobody has the other's seed"
    assert ("client", "model") not in {call[:2] for call in calls}, "the client does not learn A"
    assert {call[0] for call in calls if call[1] == "dealer"} <= {"dealer"}

    sizes, users, kinds = {}, {}, {owner: set() for owner in KINDS}
    for party, owner, name, size in calls:
        inference, step, slot = name >> 32, name >> 8 & 0xFFFFFF, name & 0xFF
        kind = KINDS[owner][slot]
        assert (inference == 0) == (kind == "A") and inference <= INFERENCES and step < len(plan.steps)
        assert sizes.setdefault((owner, name), size) == size, "two parties make something else of one stream"
        users.setdefault((owner, name), set()).add(party)
        kinds[owner].add(kind)
        op = plan.steps[step].op
        assert op in {"t": ["map"], "A": ["map"], "blinding": ["input", "map", "activation", "product"]}.get(
            kind, ["activation", "product", "output"]
        )
    # The dealer makes all that the others make; only its half of u's share is for nobody else to know.
    alone = {(owner, name & 0xFF) for (owner, name), parties in users.items() if parties == {"dealer"}}
    assert alone <= {("server", c.SHARES), ("dealer", c.HASH_KEY)}
    assert all("dealer" in parties for parties in users.values())
    common = {"roots"} if comparison == "fss" else {"triples"}
    assert kinds["client"] == {"blinding", "t", "shares", "opening"} | common
    assert kinds["model"] == {"A"} and kinds["dealer"] == ({"hash key"} if comparison == "fss" else set())
    assert kinds["server"] == {"wire mask", "opening"} | common | ({"half of u"} if comparison != "fss" else set())


def test_names_of_a_checked_run_are_distinct(monkeypatch):
    """What the client holds of a step is one stream, the local part of its tags another; so is each message's chi."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Conv2d(4, 2, 3), nn.Hardswish())
    plan, numbers = compiled(model, images(8), lambda gm: replace(gm, 0.3), checked=True).native
    calls, kinds = drawn(monkeypatch, plan, numbers), {}
    draws = Counter((party, owner, name) for party, owner, name, _ in calls if owner in ("client", "server", "dealer"))
    assert max(draws.values()) == 1, "a party draws the same numbers twice"
    assert not [call for call in calls if {call[0], call[1]} == {"client", "server"}], "nobody has the other's seed"
    for party, owner, name, _ in calls:
        kinds.setdefault(owner.partition(" ")[0], set()).add((party, name & 0xFF))
    assert kinds["client"] == {(party, slot) for party in ("client", "dealer") for slot in (c.HELD, c.ROOT)}
    slots = (c.LOCAL, c.CHECK_KEY, c.DRAWN_U, c.WIRE_MASK, c.ROOT, c.OPENING)
    assert kinds["server"] == {(party, slot) for party in ("server", "dealer") for slot in slots}
    assert kinds["challenge"] == {(party, slot) for party in ("client", "server") for slot in range(4)}
    assert len({owner for _, owner, _, _ in calls if owner not in KINDS}) == 2 * INFERENCES, "of maps, and online"


def test_slots_are_distinct():
    assert len(CLIENT) == 6 and len(SERVER) == 5
    checked = {c.LOCAL, c.CHECK_KEY, c.DRAWN_U}
    assert c.HELD not in CLIENT and len(checked) == 3 and not checked & {*SERVER}


@pytest.mark.parametrize("inference, step, slot", [
    (2**32, 0, 0), (-1, 0, 0), (0, 2**24, 0), (0, -1, 0), (0, 0, 2**8), (0, 0, -1),
])  # fmt: skip
def test_a_name_does_not_run_into_another(inference, step, slot):
    with pytest.raises(ValueError, match="stream"):
        Stream(bytes(16), inference).words(step, slot, 1)


def test_the_largest_name():
    last = Stream(bytes(range(16)), 2**32 - 1).words(2**24 - 1, 2**8 - 1, 3)
    np.testing.assert_array_equal(last, kernel().prg_words(bytes(range(16)), 2**64 - 1, 3))
