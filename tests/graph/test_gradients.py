"""What forward() switches around a part of itself: gradients stop in the graph where they do in the model, and a
precision that a graph cannot hold is refused."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import TraceError, TransformWarning
from autorep_fx.graph.gradients import detached
from autorep_fx.secure.program.plaintext import execute


class Frozen(nn.Module):
    """A body without gradients; its parts leave it in several ways, and a buffer is written there."""

    def __init__(self, off=torch.no_grad):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.more, self.head, self.off = nn.Conv2d(4, 4, 1), nn.Linear(8, 3), off
        self.register_buffer("seen", torch.zeros(4))
        self.weight = nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x):
        x = self.stem(x)
        with self.off():
            a, b = self.body(x).chunk(2, dim=2)
            n, scale = x.size(0), self.weight * 2
            self.seen.mul_(0.9).add_(a.mean((0, 2, 3)), alpha=0.1)
            self.weight.clamp_(max=1.5)
        y = F.relu(self.more(a) * self.weight + b * scale)
        return self.head(y.reshape(n, 8, -1).mean(-1) + x.mean((1, 2, 3))[:, None])

    def stem(self, x):
        return x * 1.5


def x_of(n=6):
    return torch.randn(n, 3, 8, 10, generator=torch.Generator().manual_seed(n))


def trained(model, x):
    """Outputs, gradients and buffers of two training steps."""
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        output = model(x)
        output.square().sum().backward()
        optimizer.step()
    found = {"output": output.detach()} | dict(model.named_buffers())
    return found | {f"{name}.grad": p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("off", [torch.no_grad, lambda: torch.set_grad_enabled(False)])
@pytest.mark.parametrize(
    "twin",
    [lambda gm: gm, copy.deepcopy, lambda gm: pickle.loads(pickle.dumps(gm)), ar.transform],
    ids=["itself", "copied", "pickled", "transformed"],
)
def test_gradients_stop_where_they_do_in_the_model(off, twin):
    model = Frozen(off).train()
    gm = twin(ar.transform(copy.deepcopy(model)))
    theirs = trained(model, x_of())
    mine = trained(gm, x_of())
    assert "body.0.weight.grad" not in theirs and "more.weight.grad" in theirs
    assert {*theirs} <= {*mine}
    assert all(name in theirs for name in mine if name.endswith(".grad"))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode])
def test_whoever_transforms_with_gradients_switched_off_gets_the_same(around):
    model = Frozen().train()
    with around():
        gm = ar.transform(model)
    theirs, mine = trained(model, x_of()), trained(gm, x_of())
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert all(name in theirs for name in mine if name.endswith(".grad"))


def test_sites_without_gradients_count_in_a_budget_and_run_between_two_parties():
    model = Frozen().eval()
    gm = ar.transform(model, calibration=x_of(64), relu_budget=120)
    kept = {name: site.kept for name, site in ar.sites(gm).items()}
    assert 0 < kept["body.2"] < 120
    program = ar.compile(ar.transform(model, example_inputs=x_of()), x_of(32), max_error=1)
    assert not any("detach" in step.name for step in program.steps)


class Answers(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.out = nn.Linear(12, 8), nn.Linear(8, 3)

    @torch.no_grad()
    def forward(self, x):
        return self.out(F.relu(self.fc(x))).sigmoid()


class Last(Answers):
    def forward(self, x):
        x = self.out(F.relu(self.fc(x)))
        with torch.no_grad():
            return x.sigmoid(), x


def test_a_forward_that_is_for_answers_alone_can_be_trained():
    gm = ar.transform(Answers().train())
    gm(torch.randn(4, 12)).sum().backward()
    assert gm.fc.weight.grad is not None and not any(node.target is detached for node in gm.graph.nodes)


@pytest.mark.parametrize("kind", [Answers, Last])
def test_what_is_done_last_is_still_the_clients(kind):
    model, x = kind().eval(), torch.randn(64, 12)
    gm = ar.transform(model, example_inputs=x)
    assert len(ar.sites(gm)) == 1
    program = ar.compile(gm, x)
    assert [step.op for step in program.steps] == ["linear", "hybrid", "linear"]
    assert execute(program, x).shape == (64, 3)


class Cast(nn.Module):
    def __init__(self, context):
        super().__init__()
        self.block, self.context = nn.Sequential(nn.Linear(12, 8), nn.ReLU()), context

    def forward(self, x):
        with self.context():
            x = self.block(x)
        return x.float() * 2


def test_autocast_in_forward_is_refused_by_the_name_of_the_module():
    model = nn.Sequential(nn.Linear(12, 12), Cast(lambda: torch.autocast("cpu", torch.bfloat16)))
    with pytest.raises(TraceError, match=r"module '1' \(Cast\) computes under torch.autocast.*call the model under it"):
        ar.transform(model)
    x, plain = torch.randn(4, 12), nn.Sequential(nn.Linear(12, 12), Cast(lambda: torch.autocast("cpu", enabled=False)))
    with torch.autocast("cpu", torch.bfloat16):  # what the message says
        gm = ar.transform(plain)
    assert torch.equal(gm(x), plain(x))


def test_what_a_graph_leaves_out_of_autocast_is_said_by_the_name_of_the_module():
    off = nn.Sequential(nn.Linear(12, 12), Cast(lambda: torch.autocast("cpu", enabled=False)))
    elsewhere = Cast(lambda: torch.autocast("xla", torch.bfloat16))
    for model, message in (
        (off, r"module '1' \(Cast\) switches torch.autocast off .*bfloat16, too. Give mixed=False"),
        (elsewhere, r"the model itself \(Cast\) switches torch.autocast for 'xla', where the model is not"),
    ):
        with pytest.warns(TransformWarning, match=message) as told:
            gm = ar.transform(model)
        assert len({str(each.message) for each in told}) == 1
        x = torch.randn(4, 12)
        assert torch.equal(gm(x), model(x))
