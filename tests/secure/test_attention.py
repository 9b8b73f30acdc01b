"""Normalisation by the sample and attention, private: against torch, and what is declared against what is counted."""

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import Attends
from torch import nn

import autorep_fx as ar
from autorep_fx.models import vit
from autorep_fx.secure.host.threads import run
from autorep_fx.secure.makers.paired.table import MAKING
from autorep_fx.secure.makers.table import PAIRED
from autorep_fx.secure.plan.simulate import expected, simulate

#: Of the outputs' spread: what is asked of compile, and what the largest error of all outputs may be.
PRECISION, LARGEST = 0.004, 0.05


class Fn(nn.Module):
    def __init__(self, function, *shapes):
        super().__init__()
        self.function = function
        self.held = nn.ParameterList(nn.Parameter(torch.randn(shape)) for shape in shapes)

    def forward(self, x):
        return self.function(x, *self.held)


def compiled(model, x, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ar.compile(ar.transform(model.eval(), example_inputs=x[:2]), x, **options)


def check(model, x, **options):
    held(compiled(model, x, precision=PRECISION, **options), model, x)


def held(program, model, x, **options):
    """A run that is near the model, and what it was declared to cost."""
    found, cost = program.run(x[:3], **options), program.cost(batch=3, **options)
    near(found.output, model, x[:3])
    assert found.stats.online.bytes_sent == cost.online
    assert found.stats.online.rounds == cost.rounds
    return found, cost


def near(found, model, x):
    with torch.no_grad():
        wanted = model(x)
    errors = (found - wanted) / wanted.std()
    assert errors.square().mean().sqrt() < 2 * PRECISION and errors.abs().max() < LARGEST


def affine(norm):
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    if getattr(norm, "bias", None) is not None:
        nn.init.normal_(norm.bias)
    return norm


def tracked():
    norm = nn.InstanceNorm2d(4, affine=True, track_running_stats=True)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    nn.init.normal_(norm.running_mean)
    return affine(norm)


def by_hand(x):
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt(centred.square().mean(-1, keepdim=True) + 1e-5)


def response(x):
    norm = x.square().sum((2, 3), keepdim=True).sqrt()
    return x + 0.5 * x * (norm / (norm.mean(1, keepdim=True) + 1e-6))


NORMS = {
    "layer norm": lambda: affine(nn.LayerNorm(8)),
    "layer norm of two axes": lambda: affine(nn.LayerNorm((8, 8))),
    "layer norm, a function": lambda: Fn(lambda x, w, b: F.layer_norm(x, (8,), w, b), (8,), (8,)),
    "layer norm over channels": lambda: Fn(
        lambda x, w: F.layer_norm(x.permute(0, 2, 3, 1), (4,), w).permute(0, 3, 1, 2), (4,)
    ),
    "group norm": lambda: affine(nn.GroupNorm(2, 4)),
    "instance norm": lambda: affine(nn.InstanceNorm2d(4, affine=True)),
    "instance norm, tracked": tracked,
    "root mean square norm": lambda: affine(nn.RMSNorm(8)),
    "by hand": lambda: Fn(by_hand),
    "by its deviation": lambda: Fn(lambda x: (x - x.mean(-1, True)) / (x.std(-1, keepdim=True) + 1e-3)),
    "by its variance": lambda: Fn(lambda x: x * torch.rsqrt(x.var(-1, correction=0, keepdim=True) + 1e-5)),
    "unit length": lambda: Fn(lambda x: F.normalize(x, dim=1) + 0),
    "global response norm": lambda: Fn(response),
    "local response norm": lambda: nn.LocalResponseNorm(3, alpha=0.5, k=2),
}


@pytest.mark.parametrize("make", NORMS.values(), ids=NORMS)
def test_what_normalises_by_the_sample_is_private(make):
    torch.manual_seed(1)
    x = torch.randn(32, 4, 8, 8) * (0.5 + torch.rand(32, 4, 1, 1)) + torch.randn(32, 4, 1, 1)
    check(nn.Sequential(make(), nn.Conv2d(4, 3, 3)), x)


def test_a_large_mean_takes_no_precision_from_a_small_deviation():
    torch.manual_seed(2)
    x = 0.1 * torch.randn(32, 6, 16) + 20
    check(nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 5)), x)


def test_deviations_of_four_octaves_are_normalised_alike():
    torch.manual_seed(3)
    x = torch.randn(64, 6, 16) * 2.0 ** torch.randint(-2, 3, (64, 6, 1))
    check(nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 5)), x)


@pytest.fixture(scope="module")
def block():
    """A block of a transformer: its program, itself, and inputs."""
    torch.manual_seed(4)
    x = torch.randn(32, 6, 8)
    model = Attends()
    return compiled(model, x, precision=PRECISION), model, x


@pytest.mark.parametrize("comparison", ["fss", "gmw"])
def test_a_block_of_a_transformer_is_private(block, comparison):
    program, model, x = block
    held(program, model, x, comparison=comparison)


def test_a_block_of_a_transformer_is_private_without_a_dealer(block):
    program, model, x = block
    found, cost = held(program, model, x, dealer=False)
    assert found.stats.offline.bytes_sent == cost.offline


ATTENTION = {
    "scores alone": lambda x: x @ x.transpose(1, 2),
    "einsum of heads": lambda x: torch.einsum(
        "nthd,nshd->nhts", x.reshape(-1, 6, 2, 4), x.reshape(-1, 6, 2, 4) + 1
    ).flatten(1),
    "a product of channels": lambda x: torch.einsum("ntd,nte->nde", x, x),
    "a product that is summed": lambda x: torch.einsum("ntd,nse->nt", x, x + 1),
    "bmm": lambda x: torch.bmm(x, x.transpose(1, 2)),
    "softmax by its dim": lambda x: (x @ x.transpose(1, 2) / 4).softmax(-1) @ x,
    "a mask": lambda x: F.scaled_dot_product_attention(x / 2, x, x, attn_mask=torch.ones(6, 6).tril() > 0),
    "a mask that is added": lambda x: F.scaled_dot_product_attention(
        x / 2, x, x, attn_mask=torch.zeros(6, 6).masked_fill(torch.ones(6, 6).triu(1) > 0, -torch.inf)
    ),
    "scores that are filled": lambda x: (
        (x @ x.transpose(1, 2) / 4).masked_fill(torch.ones(6, 6).triu(1) > 0, -1e9).softmax(-1) @ x
    ),
    "a scale of its own": lambda x: F.scaled_dot_product_attention(x, x, x, scale=0.2),
}


@pytest.mark.parametrize("function", ATTENTION.values(), ids=ATTENTION)
def test_products_of_two_private_matrices_are_private(function):
    torch.manual_seed(5)
    check(Fn(lambda x: function(x) + 0), torch.randn(32, 6, 8))


@pytest.mark.parametrize("seen", [None, torch.ones(6, 6).tril() > 0], ids=["all", "masked"])
def test_attention_to_few_tokens_takes_the_largest_score_of_each_row_off(seen):
    torch.manual_seed(12)
    x, model = torch.randn(32, 6, 8), Fn(lambda x: F.scaled_dot_product_attention(4 * x, x, x, attn_mask=seen) + 0)
    program = compiled(model, x, precision=PRECISION)
    assert "max_pool2d" in {step.op for step in program.steps}
    held(program, model, x)


def test_a_table_of_positions_and_a_token_of_the_class_are_the_server_s():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.token, self.table = nn.Parameter(torch.randn(1, 1, 8)), nn.Parameter(torch.randn(1, 7, 8))
            self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 3)

        def forward(self, x):
            x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.table
            return self.head(self.norm(F.scaled_dot_product_attention(x / 2, x, x))[:, 0])

    torch.manual_seed(6)
    check(Tokens(), torch.randn(32, 6, 8))


def test_a_run_is_the_fixed_point_model_but_for_its_roundings():
    torch.manual_seed(7)
    x = torch.randn(32, 6, 8)
    program = compiled(Attends(), x)
    exact = [simulate(program.plan(), program.numbers, x[:4].double().numpy(), rng=np.random.default_rng(seed))
             for seed in range(2)]  # fmt: skip
    found = program.run(x[:4]).output.numpy()
    apart = np.abs(exact[0] - exact[1]).max()
    assert np.abs(found - exact[0]).max() < 4 * apart


def test_a_vision_transformer_is_private_with_a_budget_on_its_gelus():
    torch.manual_seed(11)
    x = torch.randn(32, 1, 8, 8)
    gm = ar.transform(vit(8, 4, 8, 1, 2, 2, 1).eval(), calibration=x, relu_budget=12)
    assert [(site.kept, site.total) for site in ar.sites(gm).values()] == [(12, 128)]
    program = compiled(gm, x, precision=0.1, max_error=1.0)
    exact = [simulate(program.plan(), program.numbers, x[:4].double().numpy(), rng=np.random.default_rng(seed))
             for seed in range(2)]  # fmt: skip
    found = program.run(x[:4]).output
    assert np.abs(found.numpy() - exact[0]).max() < 4 * np.abs(exact[0] - exact[1]).max()
    with torch.no_grad():
        assert (found - gm(x[:4])).square().mean().sqrt() < 2 * 0.1 * gm(x).std()


WITHOUT = ["einsum of heads", "a product that is summed", "softmax by its dim"]


@pytest.mark.parametrize("function", [ATTENTION[name] for name in WITHOUT], ids=WITHOUT)
def test_products_of_two_private_matrices_are_private_without_a_dealer(function):
    torch.manual_seed(5)
    x, model = torch.randn(32, 6, 8), Fn(lambda x: function(x) + 0)
    program = compiled(model, x, precision=PRECISION)
    plan, values = program.plan().with_comparison("gmw"), x[:3].double().numpy()
    found = run(plan, program.numbers, values, maker=PAIRED)[0].output
    near(torch.from_numpy(found).float(), model, x[:3])
    bound = expected(plan, program.numbers, values, nearest=True)
    assert (np.abs(found - bound.output) <= bound.bound).all()


def test_an_operation_that_two_do_not_make_is_an_error_that_names_it(monkeypatch):
    torch.manual_seed(8)
    program = compiled(Fn(lambda x: x @ x.transpose(1, 2) + 0), torch.randn(8, 4, 4))
    monkeypatch.delitem(MAKING, "matmul")
    with pytest.raises(ValueError, match="'matmul' is a matmul, and nobody .*dealer=True"):
        program.run(torch.randn(1, 4, 4), dealer=False)


def test_a_root_of_what_is_negative_is_an_error_that_names_it():
    with pytest.raises(ar.CompileError, match="root of values down to -"):
        compiled(Fn(lambda x, w: x.sqrt() @ w, (4, 2)), torch.randn(8, 3, 4))


def test_a_product_of_two_private_matrices_is_checked_where_it_fits_rings_of_32_bits():
    torch.manual_seed(10)
    x = torch.randn(16, 4, 4) / 2
    model = Fn(lambda x, w: torch.einsum("ntd,nsd->nts", x, x).relu() @ w, (4, 2))
    program = compiled(model, x, checked=True, precision=None)
    assert "matmul" in {step.op for step in program.plan().steps}
    near(program.run(x[:2]).output, model, x[:2])


def test_a_norm_of_rows_whose_deviations_lie_many_octaves_apart_has_room():
    """As those of a class token beside patches, before anything is trained: its root's result had none in 64 bits."""

    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm, self.out = nn.Linear(8, 16), nn.LayerNorm(16), nn.Linear(16, 4)
            self.one = nn.Parameter(0.02 * torch.randn(1, 1, 16))

        def forward(self, x):
            x = torch.cat([self.one.expand(len(x), -1, -1), self.first(x)], 1)
            return self.out(self.norm(x))

    torch.manual_seed(0)
    model, x = Tokens(), 3 * torch.randn(16, 3, 8)
    check(model, x)
