"""Models that take another path in training: one graph computes both, with the same random numbers."""

import copy
import pickle
from collections import namedtuple

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import TraceError
from autorep_fx.graph.modes import EvalPath, ModePart, ModeSelect


class Block(nn.Module):
    """Drops itself, sample by sample."""

    def __init__(self, p=0.3):
        super().__init__()
        self.conv, self.norm, self.p = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), p

    def forward(self, x):
        y = F.relu(self.norm(self.conv(x)))
        if self.p and self.training:
            y = y / (1 - self.p) * torch.bernoulli(torch.full((len(y), 1, 1, 1), 1 - self.p))
        return x + F.relu(y)


Outputs = namedtuple("Outputs", ["logits", "aux"])


class Auxiliary(nn.Module):
    """A second head that only training has, with dropout before that of the first."""

    def __init__(self):
        super().__init__()
        self.stem, self.body = nn.Conv2d(4, 6, 3), nn.Conv2d(6, 6, 3)
        self.aux = nn.Sequential(nn.Flatten(), nn.Linear(216, 8), nn.ReLU(), nn.Dropout(0.4), nn.Linear(8, 3))
        self.drop, self.fc = nn.Dropout(0.2), nn.Linear(6, 3)

    def forward(self, x):
        x = F.relu(self.stem(x))
        aux = self.aux(x) if self.training else None
        x = F.relu(self.body(x)).mean((2, 3))
        x = self.fc(self.drop(x))
        return Outputs(x, aux) if self.training else x


class Scaled(nn.Module):
    """A parameter, constants and a buffer that only one mode reads."""

    def __init__(self):
        super().__init__()
        self.conv, self.scale = nn.Conv2d(4, 4, 1), nn.Parameter(torch.rand(4, 1, 1))
        self.register_buffer("shift", torch.rand(4, 1, 1))

    def forward(self, x):
        x = F.relu(self.conv(x))
        if self.training:
            return F.relu6(x * self.scale + torch.tensor(2.0)) + torch.tensor(3.0)
        return x - self.shift + torch.tensor(3.0)


MODELS = {
    "stochastic depth": (lambda: nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), Block(), Block(0.5)), 5),
    "auxiliary head": (Auxiliary, 2),
    "parameters of one mode": (Scaled, 1),
}


def x_of(n=3):
    return torch.randn(n, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def step(model, x):
    """Outputs, gradients and state of one training step."""
    torch.manual_seed(7)
    outputs = model(x)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    sum(o.sum() for o in outputs).backward()
    found = dict(enumerate(outputs))
    found.update((name, p.grad) for name, p in model.named_parameters() if p.grad is not None)
    return found | {name: b for name, b in model.named_buffers() if "running" in name}


@pytest.mark.parametrize("twin", [lambda gm: gm, copy.deepcopy, lambda gm: pickle.loads(pickle.dumps(gm))])
@pytest.mark.parametrize("name", MODELS)
def test_both_modes_bit_for_bit(name, twin):
    build, sites = MODELS[name]
    model = build().train()
    gm = ar.transform(model)
    assert len(ar.sites(gm)) == sites
    assert {*model.state_dict()} <= {*gm.state_dict()}
    gm = twin(gm)
    mine, theirs = step(gm, x_of()), step(model, x_of())
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert torch.equal(gm.eval()(x_of(5)), model.eval()(x_of(5)))
    type_of = type(gm.train()(x_of()))
    assert type_of is type(model.train()(x_of()))


@pytest.mark.parametrize("name", MODELS)
def test_nothing_is_left_of_training_in_a_private_run(name):
    model = MODELS[name][0]().eval()
    gm = ar.transform(model, example_inputs=x_of())
    program = ar.compile(gm, x_of(8), max_error=1)
    assert not [step for step in program.steps if "mode" in step.name]
    result = program.run(x_of()).output
    torch.testing.assert_close(result, model(x_of()).double(), rtol=0, atol=0.01, check_dtype=False)
    EvalPath()(gm)
    assert not [m for m in gm.modules() if isinstance(m, (ModePart, ModeSelect))]


def _depth(x, p, training):
    if not training or p == 0:
        return x
    return x * x.new_empty((x.shape[0], 1, 1, 1)).bernoulli_(1 - p) / (1 - p)


torch.fx.wrap("_depth")


def test_a_function_kept_whole_for_its_flag_is_opened_in_a_private_run():
    class Dropping(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1)

        def forward(self, x):
            return x + _depth(F.relu(self.conv(x)), 0.3, self.training)

    model = Dropping().eval()
    program = ar.compile(ar.transform(model, example_inputs=x_of()), x_of(8))
    assert [step.op for step in program.steps] == ["conv2d", "hybrid", "add"]


def test_it_saves_loads_searches_and_fits(tmp_path):
    model = MODELS["stochastic depth"][0]()
    gm = ar.transform(model, calibration=x_of(64), relu_budget=300)
    ar.save(gm, tmp_path / "model.safetensors")
    again = ar.load(model, tmp_path / "model.safetensors")
    assert ar.relu_count(again) == 300
    for mode in (True, False):
        results = []
        for each in (gm, again):
            torch.manual_seed(3)
            results.append(each.train(mode)(x_of()))
        assert torch.equal(*results)


def test_a_part_in_another_mode_is_refused():
    model = nn.Sequential(nn.Conv2d(4, 4, 1), Block()).train()
    model[1].eval()
    with pytest.raises(TraceError, match="module '1' is in eval mode.*whole model"):
        ar.transform(model)


def test_a_part_follows_the_module_that_it_is_of():
    gm = ar.transform(nn.Sequential(nn.Conv2d(4, 4, 1), Block()).train())
    model = nn.Sequential(nn.Conv2d(4, 4, 1), Block()).train()
    model.load_state_dict(gm.state_dict(), strict=False)
    for each in (gm, model):
        each.get_submodule("1").eval()
    assert torch.equal(gm(x_of()), model(x_of()))
