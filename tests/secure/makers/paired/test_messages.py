"""What a party receives when two make their correlations by themselves does not depend on what it must not learn.

As tests/secure/parties/test_security.py: many sessions, ciphertexts, transfers and all, counted bit by bit.
"""

import numpy as np
import pytest
from ideal_transfers import against
from observed import INPUTS, alike, assert_independent, attends, distance, programs, views

from autorep_fx.secure.makers.paired import maps
from autorep_fx.secure.makers.paired.client import ClientHalf
from autorep_fx.secure.makers.paired.making import Piece
from autorep_fx.secure.makers.paired.operations import matmul
from autorep_fx.secure.makers.table import PAIRED
from autorep_fx.secure.plan.plan import Step

VARIANTS = [
    pytest.param(0.5, {"useful": 9}, 24, id="both widths"),
    pytest.param(0.5, {"useful": 9}, 120, id="both widths, many runs", marks=pytest.mark.slow),
    pytest.param(0.0, {"widths": (32,)}, 120, id="32 bits", marks=pytest.mark.slow),
    pytest.param(0.5, {"widths": (64,)}, 120, id="64 bits", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("fraction, options, runs", VARIANTS)
def test_the_server_sees_nothing_of_the_input(fraction, options, runs):
    plan, (numbers, _) = programs(fraction, "gmw", **options)
    assert_independent(*(views(plan, numbers, x, "server", runs, maker=PAIRED) for x in INPUTS))


@pytest.mark.parametrize("fraction, options, runs", VARIANTS)
def test_the_client_sees_nothing_of_the_weights(fraction, options, runs):
    plan, both = programs(fraction, "gmw", **options)
    assert_independent(*(views(plan, numbers, INPUTS[1], "client", runs, maker=PAIRED) for numbers in both))


@pytest.mark.slow
@pytest.mark.parametrize("width", [32, 64])
def test_a_run_with_products_of_two_private_matrices_shows_neither_party_more(width):
    plan, (numbers, other) = alike([attends(1), attends(2)], "gmw", widths=(width,), useful=7)
    assert_independent(*(views(plan, numbers, x, "server", 60, maker=PAIRED) for x in INPUTS))
    assert_independent(*(views(plan, each, INPUTS[1], "client", 60, maker=PAIRED) for each in (numbers, other)))


def test_blindings_that_are_always_the_same_are_noticed(monkeypatch):
    made = ClientHalf.__init__

    def with_one_seed(self, *arguments):
        made(self, *arguments)
        self.seed = bytes(16)

    monkeypatch.setattr(ClientHalf, "__init__", with_one_seed)
    plan, (numbers, _) = programs(0.5, "gmw", useful=9)
    spread, largest = distance(*(views(plan, numbers, x, "server", 20, maker=PAIRED) for x in INPUTS))
    assert abs(spread) > 8 or largest > 6, (spread, largest)


def heard(protocol, into):
    """The same protocol, and a copy of all that its party receives."""
    came = None
    while True:
        try:
            turn = protocol.send(came)
        except StopIteration as end:
            return end.value
        came = yield turn
        into += [array.copy() for array in came]


def views_of_a_product(party, width, mask, runs=60, same=None):
    """What a party receives where two private matrices are multiplied and the other's half of the masks is ``mask``.

    same: the client's key of all runs.
    """
    attrs = {"first": (3, 4), "second": (4, 5), "wire": width}
    step = Step("p", "matmul", ("x", "y"), (3, 5), 9, width, attrs)
    halves = [np.full((1, step.wire_size), 1, f"u{width // 8}")] * 2
    halves[1 - party] = np.full_like(halves[0], mask)
    rows = []
    for _ in range(runs):
        key, seen = same or maps.ClientKey([width]), []
        keys = maps.PublicKey.of(key.public, [width]), key
        sides = [matmul.make(step, Piece(0, 1), halves[i], None, i, keys[i]) for i in range(2)]
        sides[party] = heard(sides[party], seen)
        against(*sides)
        rows.append(np.concatenate(seen).view(np.uint8))
    return np.stack(rows)


@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("party", [0, 1], ids=["server", "client"])
def test_neither_sees_anything_of_the_other_s_masks_of_a_product_of_matrices(party, width):
    """Masks that are all 0, and all -1: both are uniform in a run, and nothing of that is needed here."""
    assert_independent(*(views_of_a_product(party, width, mask) for mask in (0, 2**width - 1)))


def test_a_secret_of_zeros_and_an_answer_without_coins_are_noticed(monkeypatch):
    bare = maps.ClientKey([32])
    bare.secret[32][:] = 0
    server = distance(*(views_of_a_product(0, 32, mask, 40, bare) for mask in (0, 2**32 - 1)))
    monkeypatch.setattr(maps.server, "fresh", lambda: np.arange(2, dtype=np.uint64))
    key = maps.ClientKey([32])
    client = distance(*(views_of_a_product(1, 32, mask, 40, key) for mask in (0, 2**32 - 1)))
    for spread, largest in (server, client):
        assert abs(spread) > 8 or largest > 6, (spread, largest)
