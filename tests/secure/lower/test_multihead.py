"""nn.MultiheadAttention and the transformers of torch.nn: the program computes what the model computes."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import CompileError
from autorep_fx.secure.lower.lowered import lowered
from autorep_fx.secure.program.plaintext import execute

X = torch.randn(4, 6, 8, generator=torch.Generator().manual_seed(1))
CAUSAL = torch.ones(6, 6).triu(1) > 0
PADDED = torch.tensor([[False] * 4 + [True] * 2])


class Attending(nn.Module):
    """A function of the input and layers, and something behind it that the client cannot do."""

    def __init__(self, function, *layers):
        super().__init__()
        self.function, self.layers, self.last = function, nn.ModuleList(layers), nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return self.function(x, *self.layers) * self.last


def attention(**options):
    layer = nn.MultiheadAttention(8, 2, **options)
    if layer.in_proj_bias is not None:
        nn.init.normal_(layer.in_proj_bias)
        nn.init.normal_(layer.out_proj.bias)
    return layer


def same(x, attend, **options):
    return attend(x, x, x, **options)[0]


def in_front(x, inner):
    return inner(x.transpose(0, 1)).transpose(0, 1)


def weighed(x, attend):
    y, weights = attend(x, x, x)
    return weights @ y


def function(x, attend):
    x = x.transpose(0, 1)
    y, _ = F.multi_head_attention_forward(
        x, x, x, 8, 2, attend.in_proj_weight, attend.in_proj_bias, None, None, False, 0.0, attend.out_proj.weight,
        attend.out_proj.bias, training=False, need_weights=False,
    )  # fmt: skip
    return y.transpose(0, 1)


class Pooled(nn.Module):
    """Learnt queries."""

    def __init__(self, before):
        super().__init__()
        self.attend, self.queries = attention(batch_first=not before), nn.Parameter(torch.randn(3, 8))
        self.before = before

    def forward(self, x):
        if self.before:
            queries = self.queries.unsqueeze(1).expand(-1, x.shape[0], -1)
            x = x.transpose(0, 1)
            return 2 * self.attend(queries, x, x, need_weights=False)[0].transpose(0, 1) + self.queries
        return 2 * self.attend(self.queries.expand(x.shape[0], -1, -1), x, x)[0] + self.queries


ATTENTION = {
    "batch first": lambda: Attending(same, attention(batch_first=True)),
    "no weights": lambda: Attending(lambda x, a: same(x, a, need_weights=False), attention(batch_first=True)),
    "batch second": lambda: Attending(lambda x, a: in_front(x, lambda x: same(x, a)), attention()),
    "no bias": lambda: Attending(same, attention(batch_first=True, bias=False)),
    "weights are read": lambda: Attending(weighed, attention(batch_first=True)),
    "weights of each head": lambda: Attending(
        lambda x, a: a(x, x, x, average_attn_weights=False)[1].sum(2), attention(batch_first=True)
    ),
    "a mask": lambda: Attending(lambda x, a: same(x, a, attn_mask=CAUSAL), attention(batch_first=True)),
    "a mask that is added": lambda: Attending(
        lambda x, a: same(x, a, attn_mask=(torch.arange(36).reshape(6, 6) / 9).to(x)), attention(batch_first=True)
    ),
    "causal": lambda: Attending(
        lambda x, a: same(x, a, attn_mask=CAUSAL, is_causal=True, need_weights=False), attention(batch_first=True)
    ),
    "padding": lambda: Attending(
        lambda x, a: same(x, a, key_padding_mask=PADDED.expand(len(x), -1), need_weights=False),
        attention(batch_first=True),
    ),
    "padding and a mask": lambda: Attending(
        lambda x, a: same(x, a, key_padding_mask=PADDED.repeat(len(x), 1), attn_mask=CAUSAL),
        attention(batch_first=True),
    ),
    "padding that is added": lambda: Attending(
        lambda x, a: same(x, a, key_padding_mask=(PADDED.to(x) * -1e9).expand(len(x), -1)),
        attention(batch_first=True),
    ),
    "another key and value": lambda: Attending(
        lambda x, a: a(x, x[:, :, :5], x[:, :, 1:])[0], attention(batch_first=True, kdim=5, vdim=7)
    ),
    "one key and value": lambda: Attending(lambda x, a: a(x, y := x[:, 2:], y)[0], attention(batch_first=True)),
    "a function": lambda: Attending(function, attention()),
    "learnt queries": lambda: Pooled(False),
    "learnt queries before the batch": lambda: Pooled(True),
}


def agree(model, x=X):
    gm = ar.transform(model.eval(), example_inputs=x)
    program = lowered(gm, x)
    with torch.no_grad():
        wanted = copy.deepcopy(model).double()(x.double())
    torch.testing.assert_close(execute(program, x), wanted, rtol=0, atol=1e-8)
    return gm, program


@pytest.mark.filterwarnings("ignore:no activation was found")
@pytest.mark.parametrize("make", ATTENTION.values(), ids=ATTENTION)
def test_attention_of_several_heads(make):
    torch.manual_seed(2)
    agree(make())


def test_one_layer_makes_queries_keys_and_values_of_one_tensor():
    _, program = agree(Attending(same, attention(batch_first=True)))
    assert sum(step.op == "linear" for step in program.steps) == 2


TRANSFORMERS = {
    "layer": lambda **options: nn.TransformerEncoderLayer(8, 2, 12, **options),
    "encoder": lambda **options: nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 12, **options), 2, nn.LayerNorm(8)
    ),
}


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("make", TRANSFORMERS.values(), ids=TRANSFORMERS)
@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_an_encoder_has_sites_and_runs_privately(make, batch_first, norm_first):
    torch.manual_seed(3)
    layer = make(batch_first=batch_first, norm_first=norm_first, activation=F.gelu, dropout=0.2)
    for weight in layer.parameters():
        if weight.dim() == 1:
            nn.init.normal_(weight, 0.5)
    gm, _ = agree(Attending((lambda x, m: m(x)) if batch_first else in_front, layer))
    assert {site.shape for site in ar.sites(gm).values()} == {(6, 12)}
    assert {f"layers.0.{name}" for name, _ in layer.named_parameters()} <= {name for name, _ in gm.named_parameters()}


def test_an_encoder_is_its_own_model_and_trains():
    torch.manual_seed(4)
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), 1)
    gm = ar.transform(model.eval())
    with torch.no_grad():
        torch.testing.assert_close(gm(X), model(X))
    torch.testing.assert_close(gm(X), model(X), rtol=0, atol=0)
    gm.train()(X).sum().backward()
    assert all(weight.grad is not None for weight in gm.parameters() if weight.requires_grad)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_a_decoder_sees_what_is_encoded():
    torch.manual_seed(5)
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 12, batch_first=True), 1)
    agree(Attending(lambda x, m: m(x[:, :4], x, tgt_mask=torch.zeros(4, 4).masked_fill(CAUSAL[:4, :4], -torch.inf)),
                    decoder))  # fmt: skip


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_a_whole_transformer_runs_privately():
    torch.manual_seed(6)
    whole = nn.Transformer(8, 2, 1, 1, 12, batch_first=True)
    agree(Attending(lambda x, m: m(x, x[:, :4], tgt_mask=m.generate_square_subsequent_mask(4)), whole))


REFUSED = {
    "padding": (lambda x, a: same(x, a, key_padding_mask=x[..., 0] > 0), {"batch_first": True}, "key_padding_mask"),
    "over the batch": (same, {}, "attends over the batch.*batch_first=True"),
    "rows of their own": (same, {"batch_first": True, "add_bias_kv": True}, "leave it off"),
}


@pytest.mark.filterwarnings("ignore:no activation was found")
@pytest.mark.parametrize("name", REFUSED)
def test_what_attention_cannot_do_is_said(name):
    call, options, said = REFUSED[name]
    with pytest.raises(CompileError, match=said):
        lowered(ar.transform(Attending(call, attention(**options)).eval(), example_inputs=X), X)
