"""Whole inferences without a dealer: within the bound of the fixed-point model, at the declared cost, and used once."""

import itertools
import threading
from collections import defaultdict

import numpy as np
import pytest
import torch
from native_runs import compiled, hold, planned
from networks import Everything, images, replace
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import PartyError
from autorep_fx.secure.cost.cost import plan_cost
from autorep_fx.secure.host.threads import connect, run
from autorep_fx.secure.makers.paired import maps
from autorep_fx.secure.makers.paired.half import Extension
from autorep_fx.secure.makers.paired.maker import Paired
from autorep_fx.secure.makers.paired.maps import groups
from autorep_fx.secure.makers.paired.ot import SoftSpoken
from autorep_fx.secure.makers.paired.transfers import Sent, domain
from autorep_fx.secure.makers.table import PAIRED, PAIRED_SMALL
from autorep_fx.secure.plan.simulate import expected, simulate
from autorep_fx.secure.rates import Rates


def small(activation=nn.ReLU):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), activation(), nn.Conv2d(6, 6, 3, stride=2, groups=3), activation(),
        nn.MaxPool2d(2, 1), nn.Flatten(), nn.Linear(24, 4),
    )  # fmt: skip


def gated():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.gate, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x):
            x = torch.relu(self.conv(x))
            x = x * torch.sigmoid(self.gate(x.mean((2, 3))))[:, :, None, None]
            return self.fc(x.mean((2, 3)))

    torch.manual_seed(0)
    return Gated()


def attends():
    """Scores of two private matrices, normalised by themselves, and what they weigh."""

    class Attends(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.fc = nn.Linear(64, 24), nn.Linear(24, 3)

        def forward(self, x):
            q, k, v = self.qkv(x.flatten(2)).reshape(-1, 3, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
            return self.fc(((q @ k.transpose(2, 3)).softmax(-1) @ v).flatten(1))

    torch.manual_seed(0)
    return Attends()


#: Sites are cut, and few transfers are made and held at once.
IN_PIECES = Paired("in pieces", Extension(SoftSpoken(), 2**14, 2**16))

NETWORKS = {
    "relu": (small, 0.0, 2),
    "squares": (small, 0.6, 2),
    "lines": (small, 0.6, 1),
    "relu6": (lambda: small(nn.ReLU6), 0.0, 2),
    "leaky": (lambda: small(lambda: nn.LeakyReLU(0.2)), 0.3, 2),
    "prelu": (lambda: small(lambda: nn.PReLU(6)), 0.3, 2),
    "silu": (lambda: small(nn.SiLU), 0.0, 2),
    "gate": (gated, 0.0, 2),
    "attention": (attends, 0.0, 2),
    "everything": (Everything, 0.5, 2),
}


def program_of(name):
    model, fraction, degree = NETWORKS[name]
    return compiled(model(), images(), (lambda gm: replace(gm, fraction, degree)) if fraction else None)


@pytest.mark.parametrize("widths", [(32, 64), (64,)])
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_within_the_bound_and_messages_as_declared(name, widths):
    held_and_declared(name, PAIRED, widths=widths)


def test_transfers_by_ferret_are_as_good():
    held_and_declared("everything", PAIRED_SMALL)


def held_and_declared(name, maker, **options):
    x = images(3)
    result = hold(program_of(name), x, comparison="gmw", maker=maker, **options)
    cost = plan_cost(result.plan, batch=3, rates=Rates(), maker=maker)
    for phase in ("offline", "online"):
        assert getattr(cost, phase) == {p: c.total_bytes for p, c in getattr(result, phase).items() if c.total_bytes}
    assert cost.rounds == max(count.depth for count in result.online.values())
    assert cost.offline_rounds == max(count.depth for count in result.offline.values())


@pytest.mark.parametrize("name", ["gate", "everything", "silu"])
def test_no_string_is_hashed_under_a_number_of_another(monkeypatch, name):
    """Of one delta no (domain, number) comes twice: not for another transfer, and not for another use of the same."""
    used = defaultdict(list)

    def seen(real, use):
        def call(self, *arguments):
            found = real(self, *arguments)
            numbers = self.index, self.index + len(self)
            used[self.delta.tobytes(), domain(self.space, arguments[use])].append(numbers)
            return found

        return call

    for method, use in (("bits", 0), ("strings", 2)):
        monkeypatch.setattr(Sent, method, seen(getattr(Sent, method), use))
    plan, numbers = planned(program_of(name), images())
    x = images().double().numpy()
    run(plan.with_comparison("gmw"), numbers, x, x, maker=IN_PIECES)
    assert len({delta for delta, _ in used}) == 2
    for parts in used.values():
        parts.sort()
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(parts))


def test_the_error_of_many_runs_is_that_of_the_model():
    """Its mean and its spread, by output: what compile reports of a run's precision is about what happens."""
    plan, numbers = planned(program_of("relu"), images())
    plan, x = plan.with_comparison("gmw"), np.repeat(images(1).double().numpy(), 300, 0)
    middle = expected(plan, numbers, x, nearest=True).output
    drawn = simulate(plan, numbers, x, np.random.default_rng(0), nearest=True) - middle
    found = run(plan, numbers, x, maker=PAIRED)[0].output - middle
    spread = np.hypot(drawn.std(0), found.std(0)) / len(x) ** 0.5
    assert (np.abs(drawn.mean(0) - found.mean(0)) < 5 * spread).all()
    assert (np.abs(np.log(found.std(0) / drawn.std(0))) < 0.25).all()


def test_correlations_in_parts_are_the_same_protocol(monkeypatch):
    monkeypatch.setattr(groups, "HELD", 2**16)
    plan, numbers = planned(program_of("everything"), images())
    plan, x = plan.with_comparison("gmw"), images().double().numpy()
    found = maps.in_groups(plan, 2)
    assert len(found) > 2 and max(part.size for group in found for part in group) == 1
    result = run(plan, numbers, x, maker=IN_PIECES)[0]
    model = expected(plan, numbers, x, nearest=True)
    assert (np.abs(result.output - model.output) <= model.bound).all()
    cost = plan_cost(plan, batch=2, rates=Rates(), maker=IN_PIECES)
    assert cost.offline == {party: count.total_bytes for party, count in result.offline.items()}
    assert cost.offline_rounds == max(count.depth for count in result.offline.values())


def test_several_prepared_together_are_inferences_of_their_own():
    plan, numbers = planned(program_of("squares"), images())
    plan, x = plan.with_comparison("gmw"), images(3).double().numpy()
    members = connect(plan, numbers, maker=PAIRED)
    both = _both(
        *(lambda m=member: (m.setup(), m.offline.prepare_several(1, 3))[1] for member in members.values()),
    )
    client, server = both
    assert [p.inference for p in client] == [p.inference for p in server] == [1, 2, 3]
    for i in (2, 0, 1):
        output, _ = _both(
            lambda i=i: members["client"].party.infer(client[i], x[i : i + 1]),
            lambda i=i: members["server"].party.infer(server[i]),
        )
        model = expected(plan, numbers, x[i : i + 1], nearest=True)
        assert (np.abs(output - model.output) <= model.bound).all()
    with pytest.raises(PartyError, match="used already"):
        members["client"].party.infer(client[0], x[:1])


def test_a_session_answers_without_a_dealer_and_says_what_it_cost():
    model = small().eval()
    x = images()
    program = ar.compile(ar.transform(model, example_inputs=x), x)
    with program.session(dealer=False) as session:
        assert {*session._session.processes} == {"client", "server"}
        result = session.run(x)
        assert torch.allclose(result.output, model(x), atol=0.02)
        assert result.stats.offline.bytes_sent == program.cost(batch=2, dealer=False).offline
        assert session.setup.bytes_sent == program.cost(batch=2, dealer=False).setup
        assert {*result.stats.memory} == {"client", "server"}
    with pytest.raises(ValueError, match="comparison='fss' needs a dealer"):
        program.run(x, comparison="fss", dealer=False)
    with pytest.raises(ValueError, match="dealer=False is for backend='native'"):
        program.run(x, backend="crypten", dealer=False)


def _both(*calls):
    """Results of calls that wait for one another, each in a thread of its own."""
    results = [None] * len(calls)

    def keep(i, call):
        results[i] = call()

    threads = [threading.Thread(target=keep, args=(i, call)) for i, call in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results
