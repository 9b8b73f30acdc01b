"""What a party receives, recorded over many runs, and whether it depends on a secret: helpers of the tests here."""

import numpy as np
import torch
from native_runs import compiled, make_plan
from networks import images, replace
from torch import nn

import autorep_fx as ar
from autorep_fx.secure.host.threads import connect, run
from autorep_fx.secure.link.message import HELLO, READY, REQUEST
from autorep_fx.secure.makers.table import DEALT
from autorep_fx.secure.plan.input_range import InputRange
from autorep_fx.secure.planner.fold_squares import unit_squares

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


class Attends(nn.Module):
    """Products of two private matrices, of rows of an image: scores, and what they weigh."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(16, 4), nn.Linear(16, 4), nn.Linear(12, 3)

    def forward(self, x):
        x = x.flatten(2)
        scores = self.first(x) @ self.second(x).transpose(1, 2)
        return self.last((scores @ self.second(x)).flatten(1))


def attends(seed):
    torch.manual_seed(seed)
    return compiled(Attends(), images(2, size=4))


def programs(fraction, comparison, degree=2, **options):
    """Two networks that differ in every private number and in nothing public. options: of ``Planning``."""
    return alike([network(seed, fraction, degree) for seed in (1, 2)], comparison, **options)


def alike(both, comparison, **options):
    """The plan and the numbers of two programs that differ in private numbers alone."""
    one, other = both
    reach = {name: np.maximum(one.reach[name], other.reach[name]) for name in one.reach}
    within = InputRange.given(-8, 8, one.public.input_shape[0])
    found = [make_plan(*unit_squares(p, reach), within, **options) for p in both]
    plan = found[0][0].with_comparison(comparison)
    assert plan.digest() == found[1][0].with_comparison(comparison).digest()
    return plan, [numbers for _, numbers in found]


def views(plan, numbers, x, party, runs=RUNS, deviate=lambda members: None, maker=DEALT):
    """What ``party`` receives in each of so many sessions: (runs, bytes), the client's without the output."""
    rows = []
    for _ in range(runs):
        members = connect(plan, numbers, timeout=20, maker=maker)
        deviate(members)
        seen = {}
        for channel in getattr(members, party).links.values():
            record(channel, seen)
        run(plan, numbers, x, members=members)
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
