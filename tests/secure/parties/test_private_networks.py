"""Whole networks: random ones against the fixed-point model, well-known ones against plaintext."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from architectures import ARCHITECTURES, build
from architectures import images as architecture_images
from hypothesis import given, settings
from hypothesis import strategies as st
from native_runs import compiled, hold, planned
from networks import Everything, images, replace
from torch import nn

import autorep_fx as ar
from autorep_fx.models import resnet_cifar, wide_resnet
from autorep_fx.secure.host.threads import connect, run
from autorep_fx.secure.plan.simulate import expected, simulate


class Random(nn.Module):
    """Layers drawn by hypothesis, on 8x8 images; every layer may add an earlier value of its shape."""

    def __init__(self, layers):
        super().__init__()
        self.plan, self.layers = [], nn.ModuleList()
        channels, seen = 3, [3]
        for kind, width, shortcut in layers:
            width = channels if kind in ("depthwise", "norm") else width
            self.layers.append(_layer(kind, channels, width))
            if kind in ("conv", "dilated", "pointwise"):
                channels = width
            elif kind == "cat":
                channels *= 2
            earlier = [i for i, c in enumerate(seen) if c == channels] if shortcut else []
            self.plan.append((kind, earlier[-1] if earlier else None))
            seen.append(channels)
        self.fc = nn.Linear(channels, 3)

    def forward(self, x):
        seen = [x]
        for (kind, shortcut), layer in zip(self.plan, self.layers):
            y = torch.cat([x, x * 0.5], 1) if kind == "cat" else layer(x)
            if shortcut is not None:
                y = y + seen[shortcut]
            seen.append(y)
            x = y
        return self.fc(x.mean((2, 3)))


def _layer(kind, channels, width):
    return {
        "conv": lambda: nn.Conv2d(channels, width, 3, padding=1),
        "dilated": lambda: nn.Conv2d(channels, width, 3, padding=2, dilation=2, bias=False),
        "pointwise": lambda: nn.Conv2d(channels, width, 1),
        "depthwise": lambda: nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
        "norm": lambda: nn.BatchNorm2d(channels),
        "pool": lambda: nn.AvgPool2d(3, 1, 1),
        "max": lambda: nn.MaxPool2d(3, 1, 1),
        "relu": nn.ReLU,
        "relu6": nn.ReLU6,
        "leaky": lambda: nn.LeakyReLU(0.2),
        "cat": nn.Identity,
    }[kind]()


LINEAR = ["conv", "dilated", "pointwise", "depthwise", "norm", "pool", "cat"]
LAYER = st.tuples(st.sampled_from(LINEAR + ["relu"] * 4 + ["relu6", "leaky", "max"]), st.integers(1, 5), st.booleans())


@settings(max_examples=40, deadline=None)
@given(st.lists(LAYER, min_size=1, max_size=7), st.sampled_from([0.0, 0.5, 1.0]), st.integers(1, 2),
       st.sampled_from(["fss", "gmw"]), st.integers(1, 2))  # fmt: skip
def test_random_networks(layers, fraction, degree, comparison, batch):
    torch.manual_seed(len(layers))
    x = images(batch)
    # Outputs of a random network may hardly differ from sample to sample: nothing to measure an error in.
    program = compiled(Random(layers), x, lambda gm: replace(gm, fraction, degree), max_error=float("inf"))
    run = hold(program, x, comparison=comparison)
    np.testing.assert_allclose(run.output, run.exact, rtol=0, atol=0.02 + 0.01 * np.abs(run.exact).max())


@pytest.mark.parametrize("comparison", ["fss", "gmw"])
@pytest.mark.parametrize("kind", [kind for kind, _ in ARCHITECTURES if kind.__name__ != "ReturnsTuple"])
def test_architectures(kind, comparison):
    x = architecture_images()
    gm = ar.transform(build(kind).eval(), example_inputs=x)
    for site in ar.sites(gm).values():
        if site.activation.kind in ("silu", "gelu", "hardswish", "prelu"):
            site.set_keep(torch.zeros_like(site.keep))
    run = hold(ar.compile(gm, x), x, comparison=comparison)
    np.testing.assert_allclose(run.output, run.exact, rtol=0, atol=0.02 + 0.01 * np.abs(run.exact).max())


class Dense(nn.Module):
    """Concatenation, max pooling, depthwise convolution and ReLU6."""

    def __init__(self):
        super().__init__()
        self.stem, self.pool = nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(3, 2, 1)
        self.depthwise, self.pointwise = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 8, 1)
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        x = self.pool(F.relu6(self.stem(x)))
        y = F.relu6(self.pointwise(F.relu6(self.depthwise(x))))
        return self.fc(torch.cat([x, y], 1).mean((2, 3)))


@pytest.mark.parametrize("fraction", [0.0, 0.9])
@pytest.mark.parametrize("build, size", [
    (Dense, 16), (Everything, 8), (lambda: resnet_cifar(14), 16), (lambda: wide_resnet(widen=1), 16),
])  # fmt: skip
def test_networks(build, size, fraction):
    x = images(2, size=size)
    run = hold(compiled(build(), x, lambda gm: replace(gm, fraction)), x)
    np.testing.assert_allclose(run.output, run.exact, rtol=0, atol=0.01 + 0.01 * np.abs(run.exact).max())


def test_what_a_run_returns_is_distributed_like_the_simulation():
    """Errors of 40 runs and of 40 simulations around the same mean: same spread, no bias."""
    x = images(1, size=8)
    program = compiled(
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.ReLU(), nn.Conv2d(6, 3, 3)), x
    )
    plan, numbers = planned(program, x)
    values = x.double().numpy()
    runs = np.stack([r.output for r in run(plan, numbers, *[values] * 40)])
    rng = np.random.default_rng(0)
    drawn = np.stack([simulate(plan, numbers, values, rng) for _ in range(40)])
    spread = drawn.std(0).mean()
    assert 0.7 < runs.std(0).mean() / spread < 1.4
    assert np.abs(runs.mean(0) - drawn.mean(0)).max() < 6 * spread * (2 / 40) ** 0.5


def test_one_plan_many_batches_and_inferences():
    x = images(3)
    program = compiled(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)), x)
    plan, numbers = planned(program, x)
    batches = [x[:1].double().numpy(), x.double().numpy(), x[1:].double().numpy()]
    for result, values in zip(run(plan, numbers, *batches), batches):
        model = expected(plan, numbers, values)
        assert np.all(np.abs(result.output - model.output) <= model.bound)


def test_shares_are_taken_once():
    x = images(1)
    program = compiled(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), x)
    plan, numbers = planned(program, x)
    members, prepared = connect(plan, numbers, timeout=5), {}

    def keep(member):
        prepare = member.offline.prepare

        def kept(batch):
            prepared[member.party] = prepare(batch)
            return prepared[member.party]

        member.offline.prepare = kept

    keep(members["client"])
    keep(members["server"])
    run(plan, numbers, x.double().numpy(), members=members)
    for party, args in ((members.client, [x.double().numpy()]), (members.server, [])):
        with pytest.raises(ar.errors.PartyError, match=f"the {party.name} prepared for inference 1 was used already"):
            party.infer(prepared[party], *args)


def test_worst_case_ranges_hold_for_any_input():
    x = images(2)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU6(), nn.MaxPool2d(2), nn.Conv2d(4, 2, 1)
    )
    gm = ar.transform(model.eval(), example_inputs=x)
    largest = float(x.abs().max())
    program = ar.compile(gm, x, ranges="worst", margin_bits=0)
    loud = largest * torch.where(torch.randn(2, 3, 8, 8) > 0, 1.0, -1.0)
    run = hold_program(program, loud)
    np.testing.assert_allclose(run.output, run.exact, rtol=0, atol=0.02)


def hold_program(program, x):
    """As :func:`hold`, with the program's own ranges."""
    plan, numbers = program.native
    result = run(plan, numbers, x.double().numpy())[0]
    model = expected(plan, numbers, x.double().numpy())
    assert np.all(np.abs(result.output - model.output) <= model.bound)
    from autorep_fx.secure.program.plaintext import execute

    result.exact = execute(program, x).numpy()
    return result


@pytest.mark.slow
@pytest.mark.parametrize("budget", [None, 300])
def test_a_trained_network_answers_as_in_the_clear(trained_digits, budget):
    """360 test images: the classes of the float network, logits within the bound, and as close as simulated runs."""
    model, train, test = trained_digits
    if budget:
        model = ar.transform(model, calibration=train.normalized(slice(512)), relu_budget=budget)
    program = ar.compile(model, train.normalized(slice(256)))
    x = test.normalized()
    plan, numbers = program.native
    with torch.no_grad():
        logits = model.eval()(x).double().numpy()
    values = x.double().numpy()
    model_of_run = expected(plan, numbers, values)
    simulated = np.abs(simulate(plan, numbers, values, np.random.default_rng(0)) - logits).max()
    for comparison in ("fss", "gmw"):
        output = run(plan.with_comparison(comparison), numbers, values)[0].output
        assert (output.argmax(1) == logits.argmax(1)).mean() >= 0.995
        assert np.all(np.abs(output - model_of_run.output) <= model_of_run.bound)
        assert np.abs(output - logits).max() < 2 * simulated


@pytest.mark.parametrize("comparison", ["fss", "gmw"])
def test_without_the_extension(monkeypatch, comparison):
    """NumPy in place of every kernel: slow, and the same protocol."""
    from autorep_fx.secure.plan import ring

    x = images(1, size=4)
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2), nn.ReLU6())
    program = compiled(model, x, lambda gm: replace(gm, 0.5))
    monkeypatch.setattr("autorep_fx.kernels.available", lambda: False)
    ring.kernel.cache_clear()
    try:
        assert ring.kernel().__name__ == "autorep_fx.kernels.reference"
        run_ = hold(program, x, comparison=comparison)
    finally:
        monkeypatch.undo()
        ring.kernel.cache_clear()
    np.testing.assert_allclose(run_.output, run_.exact, rtol=0, atol=0.01)
