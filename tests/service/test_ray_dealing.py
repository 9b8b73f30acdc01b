"""Dealing on a cluster makes the same bytes as one process does."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import autorep_fx as ar
from autorep_fx.secure.makers.dealt.seeds import Seeds
from autorep_fx.service.ray_dealing import Cluster, dealt


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("ray", reason="the extra ray is not installed")
    found = Cluster("local", workers=2)
    yield found
    found.close()


@pytest.mark.parametrize("comparison", ["fss", "gmw"])
def test_the_same_bytes_on_two_workers(published, cluster, comparison):
    plan = ar.SecureProgram.load(published[0] / "program").native[0].with_comparison(comparison)
    name, model = plan.digest().hex(), os.urandom(16)
    seeds = Seeds(*(os.urandom(16) for _ in range(3)))
    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(lambda number: cluster.deal(plan, name, model, seeds, number, 2), range(1, 7))]
    for number, theirs in enumerate(found, 1):
        mine = dealt(plan, name, model, seeds, number, 2)
        assert [part[:2] for part in mine] == [part[:2] for part in theirs]
        for (_, _, one), (_, _, other) in zip(mine, theirs):
            assert len(one) == len(other)
            assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(one, other))
    assert len({part[2][0].tobytes() for each in found for part in each}) == sum(map(len, found)), "each is its own"


def test_a_dealer_on_a_cluster(published, provider):
    pytest.importorskip("ray", reason="the extra ray is not installed")
    started, x = provider(dealer__ray="local"), published[2]
    with started.connect(depth=2, timeout=60.0) as client:
        for i in range(3):
            assert (client.run(x[i : i + 1]).output - published[1](x[i : i + 1])).abs().max() < 2e-3
