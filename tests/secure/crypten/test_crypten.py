import dataclasses
import multiprocessing
import os
import pickle
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch
from declared_cost import online
from error_bound import error_bound
from faults import Fault
from networks import Attends, Everything, images, lower, replace
from observed import attends
from torch import nn

import autorep_fx as ar
from autorep_fx import kernels as extension
from autorep_fx.errors import MissingDependency, PartyError
from autorep_fx.secure.compile import compile
from autorep_fx.secure.crypten import compat, launch, party
from autorep_fx.secure.crypten.simulate import execute as simulate
from autorep_fx.secure.crypten.simulate import simulated
from autorep_fx.secure.program.program import Step

try:
    compat.load_crypten()
except MissingDependency as missing:
    pytest.skip(str(missing), allow_module_level=True)


def _everything(fraction: float, x: torch.Tensor, degree: int = 2):
    torch.manual_seed(0)
    return compile(replace(ar.transform(Everything().eval(), example_inputs=x), fraction, degree), x)


def _check_cost(program, result, batch, kernels):
    declared = online(program.crypten.public, batch, kernels).values()
    stats = result.stats.online
    assert stats.rounds == sum(cost.rounds for cost in declared)
    assert stats.message_bytes == {"party0": sum(c.server for c in declared), "party1": sum(c.client for c in declared)}
    if result.stats.counted == "wire" and kernels == "fused":
        assert stats.bytes_sent == stats.message_bytes  # no framing
    elif result.stats.counted == "wire":
        # gloo sends each tensor in pieces, each with a header and an announcement of its own: up to 700 bytes a tensor
        # here, and a round opens at most three tensors.
        for party, sent in stats.bytes_sent.items():
            assert 0 < sent - stats.message_bytes[party] < 3 * 700 * stats.rounds


both_kernels = pytest.mark.parametrize(
    "kernels", [pytest.param("fused", marks=pytest.mark.skipif(not extension.available(), reason="not built")), "torch"]
)


@both_kernels
@pytest.mark.parametrize("fraction, degree", [(0.5, 1), (0.5, 2), (1.0, 3), (0.5, 4)])
def test_every_operation_within_the_rigorous_bound(fraction, degree, kernels, forked):
    x = images(3, seed=2)  # another batch size than compiled for
    program = _everything(fraction, images(), degree)
    taken = {part for step in program.crypten.steps if step.op == "hybrid" for part in ("kept", "square", "direct")
             if len(step.attrs[part])}  # fmt: skip
    assert taken == {"direct"} | ({"kept"} if fraction < 1 else set()) | ({"square"} if degree == 2 else set())
    result = program.run(x, backend="crypten", kernels=kernels, timeout=60)
    error = error_bound(program.crypten, x)
    assert result.output.shape == (3, 5) and result.output.dtype == x.dtype
    # float32 of the output adds half a unit in its last place.
    slack = error.output.abs() * 2.0**-24
    assert ((result.output.double() - error.output).abs() <= error.total + slack).all()
    assert ((result.output.double() - error.output - error.rounding).abs() <= 6 * error.std + slack).all()
    _check_cost(program, result, 3, kernels)
    stats = result.stats
    assert 0 < stats.offline.seconds < stats.online.seconds < 60 and stats.setup.seconds > 0
    assert stats.offline.rounds == 0 and set(stats.offline.bytes_sent.values()) == {0}


@both_kernels
@pytest.mark.filterwarnings("ignore:no activation was found")
def test_products_of_two_private_matrices_within_the_rigorous_bound(kernels, forked):
    program, x = attends(1), images(3, size=4, seed=2)
    result = program.run(x, backend="crypten", kernels=kernels, timeout=60)
    error = error_bound(program.crypten, x)
    assert ((result.output.double() - error.output).abs() <= error.total + error.output.abs() * 2.0**-24).all()
    _check_cost(program, result, 3, kernels)


@pytest.fixture(scope="module")
def block():
    torch.manual_seed(4)
    x, model = torch.randn(32, 6, 8), Attends().eval()
    return compile(ar.transform(model, example_inputs=x), x), model, x


@both_kernels
def test_a_block_of_a_transformer_runs(block, kernels, forked):
    program, model, x = block
    result = program.run(x[:3], backend="crypten", kernels=kernels, timeout=60)
    cuts = [simulated(program.frac_bits, torch.Generator().manual_seed(seed)) for seed in range(2)]
    drawn = [simulate(program.crypten, x[:3], rounded=True, cut=cut) for cut in cuts]
    assert (result.output - drawn[0]).abs().max() < 4 * (drawn[0] - drawn[1]).abs().max()
    with torch.no_grad():
        wanted = model(x[:3])
    assert (result.output - wanted).abs().max() < 0.03 * wanted.std()
    _check_cost(program, result, 3, kernels)


def _of_octaves(low):
    """How far a layer norm is off whose inputs lie between ``2**low`` and 4, of the outputs' deviation."""
    torch.manual_seed(5)
    x = torch.randn(64, 6, 16) * 2.0 ** torch.randint(low, 3, (64, 6, 1))
    model = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 5)).eval()
    program = compile(ar.transform(model, example_inputs=x), x)
    found = simulate(program.crypten, x[:16], rounded=True, cut=simulated(16, torch.Generator().manual_seed(0)))
    wanted = model(x[:16]).detach()
    return ((found - wanted) / wanted.std()).square().mean().sqrt()


@pytest.mark.filterwarnings("ignore:no activation was found")
def test_a_root_of_many_octaves_is_as_precise_at_either_end_or_an_error_that_names_it():
    assert _of_octaves(-2) < 0.02
    with pytest.raises(ar.CompileError, match=r"'_0\.root\.rsqrt' has no spline on CrypTen.*backend='native'"):
        _of_octaves(-5)


@both_kernels
def test_a_trained_network_within_six_standard_deviations(trained_digits, kernels, forked):
    model, train, test = trained_digits
    x = test.normalized(slice(8))
    gm = ar.transform(model, calibration=train.normalized(slice(256)), relu_budget=400)
    program = compile(gm, x[:1])
    result = program.run(x, backend="crypten", kernels=kernels, timeout=120)
    error = error_bound(program.crypten, x)
    distance = result.output.double() - error.output - error.rounding
    assert (distance.abs() <= 6 * error.std + error.output.abs() * 2.0**-24).all()
    assert distance.abs().max() > 0, (
        "the private run has rounding errors; without any, plaintext was compared with itself"
    )
    assert torch.equal(result.output.argmax(1), gm.eval()(x).argmax(1))
    _check_cost(program, result, 8, kernels)
    kept_all = compile(ar.transform(model, example_inputs=x), x)
    sent, more = (sum(c.server for c in online(p.crypten.public, 8, kernels).values()) for p in (program, kept_all))
    assert sent < more


@both_kernels
def test_with_a_dealer(kernels, request):
    if kernels == "torch":  # the others start as they do without this file
        request.getfixturevalue("forked")
    x = images(2, seed=2)
    program = _everything(0.5, x)
    result = program.run(x, backend="crypten", provider="TTP", kernels=kernels, timeout=60)
    error = error_bound(program.crypten, x)
    assert ((result.output.double() - error.output - error.rounding).abs() <= 6 * error.std + 1e-6).all()
    _check_cost(program, result, 2, kernels)
    offline = result.stats.offline
    assert offline.rounds > 0 and set(offline.bytes_sent) == {"party0", "party1", "dealer"}
    # The dealer sends party 0 one word for each product; party 1 has everything from its seed.
    sent, words = offline.bytes_sent["dealer"], offline.message_bytes["dealer"]
    assert words > 0 and 0 <= sent - words < 1500 * offline.rounds
    assert offline.bytes_sent["party1"] == 0


def _faulty(rank: int, what: str):
    program, _ = lower(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), torch.zeros(1, 4))
    first = program.steps[0]
    fault = Step("faulty", "scale", (first.name,), first.shape, {"factor": Fault(rank, what)})
    rest = [dataclasses.replace(s, inputs=tuple("faulty" if i == first.name else i for i in s.inputs))
            for s in program.steps[1:]]  # fmt: skip
    public = dataclasses.replace(program.public, steps=(first, fault, *rest))
    return dataclasses.replace(program, public=public)


def _impatient(self, wanted, deadline, collect=launch._Parties.collect):
    """The time is up as soon as the party hangs, and its peer has had a second to wait for it."""
    assert self.timeout - 5 < deadline - time.monotonic() <= self.timeout
    while self._where(0) != "step 'faulty'":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return collect(self, wanted, time.monotonic() + 1)


@pytest.mark.parametrize("rank, what, timeout, message", [
    (1, "die", 60, r"party 1 \(client\) failed at step 'faulty': died with exit code 7"),
    (0, "hang", 30, r"no answer within timeout=30 s; party 0 \(server\) is at step 'faulty'"),
    (0, "raise", 60, r"party 0 \(server\) failed at step 'faulty': ArithmeticError: no such number"),
])  # fmt: skip
def test_a_party_that_fails(rank, what, timeout, message, tmp_path, monkeypatch, forked):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    program, start = _faulty(rank, what), time.monotonic()
    if what == "hang":
        monkeypatch.setattr(launch._Parties, "collect", _impatient)
    with pytest.raises(PartyError, match=message):
        program.run(torch.ones(1, 4), backend="crypten", timeout=timeout)
    assert time.monotonic() - start < min(timeout + 8, 40)
    assert multiprocessing.active_children() == [], "every process is reaped"
    assert list(Path(tmp_path).iterdir()) == [], "temporary files are removed"


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    pids = []

    def interrupted(parties, *_):
        pids.extend(process.pid for process in parties.processes.values())
        assert len(pids) == 2 and list(tmp_path.iterdir())
        raise KeyboardInterrupt

    monkeypatch.setattr(launch._Parties, "collect", interrupted)
    program, _ = lower(nn.Linear(4, 2), torch.zeros(1, 4))
    with pytest.raises(KeyboardInterrupt):
        program.run(torch.zeros(1, 4), backend="crypten")
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert list(tmp_path.iterdir()) == []


def test_nobody_is_told_more_than_its_part(tmp_path):
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(64, 32), nn.ReLU()), torch.randn(2, 64)
    program, _ = lower(model, x)
    jobs = launch._jobs(program.crypten, x, str(tmp_path), "TTP", "fused", 1)
    server, client, dealer = map(pickle.dumps, jobs)
    weights = next(v for k, v in program.server.items() if k.endswith("weight"))
    rounded = (weights * 2**16).round() / 2**16
    secret, private = rounded.numpy().tobytes(), x.double().numpy().tobytes()
    assert secret in server and private not in server
    assert secret not in client and private in client
    assert secret not in dealer and private not in dealer and len(dealer) < 1000
    assert not any(secret[i : i + 64] in client for i in range(0, len(secret), 64))


def test_a_party_does_not_start_from_torch_s_constant_seed():
    seeds = []
    for _ in range(2):
        with torch.random.fork_rng():
            torch.manual_seed(torch.default_generator.initial_seed())  # as in a new process
            party.seed_from_system()
            seeds.append(torch.initial_seed())
    assert seeds[0] != seeds[1] and torch.default_generator.initial_seed() not in seeds


def test_wrong_names_are_refused_before_anything_starts():
    program, _ = lower(nn.Linear(4, 2), torch.zeros(1, 4))
    for options, message in (
        ({"provider": "HE"}, "provider must be one of 'TFP', 'TTP', got 'HE'"),
        ({"kernels": "cuda"}, "kernels must be one of 'fused', 'torch', got 'cuda'"),
        ({"timeout": 0}, "timeout must be above 0"),
        ({"threads": 0}, "threads at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            program.run(torch.zeros(1, 4), backend="crypten", **options)


def test_a_missing_crypten_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "crypten", None)
    program, _ = lower(nn.Linear(4, 2), torch.zeros(1, 4))
    with pytest.raises(MissingDependency, match="pip install --no-deps crypten==0.4.1"):
        program.run(torch.zeros(1, 4), backend="crypten")
