"""Softmaxes replaced by squares of their scores, over their sum."""

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import CalibrationError, FormatError, TransformWarning
from autorep_fx.hybrid.softmax import SoftmaxSquares
from autorep_fx.models import vit


class Attends(nn.Module):
    """Two heads; ``how`` makes values of queries, keys and values."""

    def __init__(self, how, heads=2):
        super().__init__()
        self.qkv, self.heads, self.how, self.act = nn.Linear(8, 24), heads, how, nn.ReLU()

    def forward(self, x):
        n, t, _ = x.shape
        qkv = self.qkv(x)
        if self.heads is not None:
            qkv = qkv.reshape(n, t, 3, self.heads, 8 // self.heads).permute(2, 0, 3, 1, 4)
            return self.act(self.how(*qkv.unbind(0)))
        return self.act(self.how(*qkv.chunk(3, -1)))


def fused(q, k, v):
    return F.scaled_dot_product_attention(q, k, v)


def scaled(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, scale=0.5)


def by_hand(q, k, v):
    return torch.softmax(q @ k.transpose(-2, -1) / 2, dim=-1) @ v


def by_method(q, k, v):
    return (k @ q.transpose(-2, -1) / 2).softmax(-2).transpose(-2, -1) @ v


def causal(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def filled(q, k, v):
    hidden = torch.ones(6, 6, dtype=torch.bool).triu(1)
    return (q @ k.transpose(-2, -1)).masked_fill(hidden, -100.0).softmax(-1) @ v


def dropped(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, dropout_p=0.1)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def tokens(n=32):
    return torch.randn(n, 6, 8)


def squares(model, x, **options):
    return ar.transform(model.eval(), calibration=x, softmax="squares", **options)


@pytest.mark.parametrize("how", [fused, scaled, by_hand, by_method])
@pytest.mark.parametrize("heads", [1, 2, None])
def test_every_spelling_becomes_squares_that_are_near_it(how, heads):
    model, x = Attends(how, heads), tokens()
    gm = squares(model, x)
    (found,) = [m for m in gm.modules() if isinstance(m, SoftmaxSquares)]
    assert found.slope.shape == ((heads, 1, 1) if heads else (1,))
    calls = [str(node.target) for node in gm.graph.nodes if node.op != "get_attr"]
    assert not any("softmax" in call or "scaled_dot" in call for call in calls)
    with torch.no_grad():
        error = (gm(x) - model(x)).std() / model(x).std()
    assert error < 0.2, error


def test_what_is_fitted_is_the_least_squares_fit_to_a_softmax():
    model, x = Attends(by_hand), tokens(64)
    gm = squares(model, x)
    (own,) = [m for m in gm.modules() if isinstance(m, SoftmaxSquares)]
    with torch.no_grad():
        q, k, _ = model.qkv(x).reshape(64, 6, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        s = (q @ k.transpose(-2, -1) / 2).double()
        d, y = s - s.mean(-1, keepdim=True), 6 * s.softmax(-1)
        for head in range(2):
            a, b, e = (float(getattr(own, name)[head]) for name in ("slope", "offset", "floor"))
            row = d[:, head].flatten()
            wanted = torch.linalg.lstsq(torch.stack([row**0, row, row**2], 1), y[:, head].flatten()).solution
            wanted[0] = max(wanted[0], b * b + 0.02)  # positive everywhere
            found = torch.tensor([b * b + e * e, 2 * a * b, a * a])
            torch.testing.assert_close(found, wanted.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("how", [causal, filled, dropped])
def test_a_softmax_that_squares_would_not_be_like_is_kept_and_named(how):
    model, x = Attends(how), tokens()
    with pytest.warns(TransformWarning, match="leaves 1 as they are: '(softmax|scaled_dot)"):
        gm = squares(model, x)
    if how is not dropped:
        torch.testing.assert_close(gm(x), model(x))


def test_multi_head_attention_keeps_its_softmax_and_says_so():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x):
            return F.relu(self.attention(x, x, x, need_weights=False)[0])

    with pytest.warns(TransformWarning, match="inside nn.MultiheadAttention"):
        squares(Net(), tokens())


def test_a_softmax_that_the_client_does_stays():
    model, x = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4), nn.Softmax(-1)), torch.randn(32, 8)
    gm = squares(model, x)
    torch.testing.assert_close(gm(x), model(x))


def test_it_needs_calibration():
    with pytest.raises(CalibrationError, match="softmax='squares' needs calibration"):
        ar.transform(Attends(fused), softmax="squares")


def test_training_moves_all_three_and_weights_stay_positive():
    x = tokens()
    gm = squares(Attends(fused), x).train()
    (found,) = [m for m in gm.modules() if isinstance(m, SoftmaxSquares)]
    gm(x).square().sum().backward()
    assert all(bool(p.grad.any()) for p in found.parameters())
    with torch.no_grad():
        for p in found.parameters():
            p.mul_(-3.0)
    assert torch.isfinite(gm.eval()(x)).all()


def test_it_is_saved_and_loaded_and_a_damaged_list_is_an_error(tmp_path):
    model, x = vit(8, 4, 8, 2, 2, 3, 1).eval(), torch.randn(16, 1, 8, 8)
    gm = squares(model, x, relu_budget=64).eval()
    ar.save(gm, path := tmp_path / "m.safetensors")
    assert torch.equal(ar.load(model, path).eval()(x), gm(x))
    with safe_open(path, "pt") as file:
        header, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}
    assert header["version"] == "3"
    for damage, said in (('{"nowhere_squares": 2}', "no softmax for 'nowhere_squares'"), ("[1]", "damaged"),
                         ('{"a": -1}', "damaged"), ("{", "damaged")):  # fmt: skip
        changed = {name: value for name, value in header.items() if name != "digest"} | {"softmaxes": damage}
        save_file(tensors, path, metadata=ar.hybrid.serialize.sealed(changed, tensors))
        with pytest.raises(FormatError, match=said):
            ar.load(model, path)


@pytest.mark.parametrize("dealer", [True, False])
def test_two_parties_compute_it_without_an_exponential(dealer):
    x = tokens()
    gm = squares(Attends(fused), x).eval()
    program = ar.compile(gm, x, dealer=dealer)
    assert "exp" not in {step.attrs.get("kind") for step in program.native[0].steps}
    found, cost = program.run(x[:3], dealer=dealer), program.cost(batch=3, dealer=dealer)
    with torch.no_grad():
        error = (found.output - gm(x[:3])).abs().max() / gm(x).std()
    assert error < 0.05, error
    assert found.stats.online.bytes_sent == cost.online and found.stats.online.rounds == cost.rounds


def test_they_are_of_the_type_of_the_weights():
    model, x = Attends(fused).double(), tokens().double()
    gm = squares(model, x)
    (found,) = [m for m in gm.modules() if isinstance(m, SoftmaxSquares)]
    assert {p.dtype for p in found.parameters()} == {torch.float64} and gm(x).dtype == torch.float64


def test_a_softmax_that_names_no_axis_is_kept():
    def how(q, k, v):
        return F.softmax(q @ k.transpose(-2, -1)) @ v

    with pytest.warns(TransformWarning, match="names no axis"):
        squares(Attends(how, None), tokens())


def test_a_softmax_of_two_scores_is_kept_for_no_square_is_like_it():
    model, x = Attends(fused), torch.randn(64, 2, 8)
    with pytest.warns(TransformWarning, match="not bent as a square"):
        gm = squares(model, x)
    torch.testing.assert_close(gm(x), model(x))
