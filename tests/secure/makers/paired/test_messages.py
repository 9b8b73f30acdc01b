"""What a party receives when two make their correlations by themselves does not depend on what it must not learn.

As tests/secure/parties/test_security.py: many sessions, ciphertexts, transfers and all, counted bit by bit.
"""

import pytest
from observed import INPUTS, assert_independent, distance, programs, views

from autorep_fx.secure.makers.paired.client import ClientHalf
from autorep_fx.secure.makers.table import PAIRED

VARIANTS = [
    pytest.param(0.5, {"useful": 9}, 60, id="both widths"),
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


def test_blindings_that_are_always_the_same_are_noticed(monkeypatch):
    made = ClientHalf.__init__

    def with_one_seed(self, *arguments):
        made(self, *arguments)
        self.seed = bytes(16)

    monkeypatch.setattr(ClientHalf, "__init__", with_one_seed)
    plan, (numbers, _) = programs(0.5, "gmw", useful=9)
    spread, largest = distance(*(views(plan, numbers, x, "server", 20, maker=PAIRED) for x in INPUTS))
    assert abs(spread) > 8 or largest > 6, (spread, largest)
