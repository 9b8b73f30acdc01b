"""What is refused says what would do instead, and that does."""

import copy

import pytest
import torch
import torch.nn.functional as F
from networks import Fn, images
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import CompileError
from autorep_fx.graph.canonicalize import _MODULE_SPELLINGS
from autorep_fx.secure.compile import compile
from autorep_fx.secure.lower.refused import REASONS
from autorep_fx.secure.lower.table import TABLE
from autorep_fx.secure.program.outputs import assemble
from autorep_fx.secure.program.plaintext import execute

pytestmark = pytest.mark.filterwarnings("ignore::autorep_fx.errors.TransformWarning")


def fn(function):
    return Fn(lambda x, c: function(x))


class Layers(nn.Module):
    """A function of the input and of layers, which may be the weights of others."""

    def __init__(self, function, *layers):
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, x):
        return self.function(x, *self.layers)


class Doubles(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad


def _wrapped(x):
    return x * 2 if x.sum() > -1e9 else x


torch.fx.wrap("_wrapped")

N = torch.Generator().manual_seed(0)
EMBEDDING = nn.Embedding(3, 5)
WORDS = nn.Linear(3, 5, bias=False)
WORDS.weight = nn.Parameter(EMBEDDING.weight.detach().T)
CELL, BILINEAR = nn.RNNCell(8, 5), nn.Bilinear(8, 8, 4)
ATTENTION = nn.MultiheadAttention(8, 2, batch_first=True)
COSINES, SINES = torch.fft.rfft(torch.eye(8)).real, torch.fft.rfft(torch.eye(8)).imag
PLACES, MOVED = torch.tensor([3, 0, 0, 7]), torch.eye(8)[[3, 0, 0, 7]].T


def _steps(x, mine, state):
    h = torch.zeros(len(x), 5)
    for i in range(3):
        h = torch.tanh(mine(x[:, i, 0]) + state(h))
    return h * 2  # the tanh is not the last thing, which would be the client's


def _rows():
    mine, state = nn.Linear(8, 5), nn.Linear(5, 5)
    for layer, name in ((mine, "ih"), (state, "hh")):
        layer.weight, layer.bias = getattr(CELL, f"weight_{name}"), getattr(CELL, f"bias_{name}")
    return mine, state


#: name -> (what is refused, what the error says, what it advises; whether both are the same function)
SAME = {
    "where": (fn(lambda x: torch.where(x > 0, x, x.mean(1, True) * 0)), "relu(x) is x where", fn(F.relu)),
    "at least": (fn(lambda x: x.clamp(min=0.5)), "a + relu(x - a)", fn(lambda x: 0.5 + F.relu(x - 0.5))),
    "at most": (fn(lambda x: torch.clamp(x, max=0.5)), "a - relu(a - x)", fn(lambda x: 0.5 - F.relu(0.5 - x))),
    "cube": (fn(lambda x: x**3), "x * x.square()", fn(lambda x: x * x.square())),
    "running sum": (
        fn(lambda x: x.cumsum(-1)), "x @ torch.ones(n, n).triu()", fn(lambda x: x @ torch.ones(8, 8).triu().to(x)),
    ),
    "product": (fn(lambda x: x[:, :2].prod(1)), "x[:, 0] * x[:, 1]", fn(lambda x: x[:, 0] * x[:, 1])),
    "recurrent": (
        Layers(lambda x, cell: cell(x[:, 2, 0], cell(x[:, 1, 0], cell(x[:, 0, 0], torch.zeros(len(x), 5)))) * 2, CELL),
        "nn.Linear, sigmoid and tanh", Layers(_steps, *_rows()),
    ),
    "Fourier": (
        fn(lambda x: torch.view_as_real(torch.fft.rfft(x))), "a matrix of cosines and one of sines",
        fn(lambda x: torch.stack([x @ COSINES.to(x), x @ SINES.to(x)], -1)),
    ),
    "gather": (
        fn(lambda x: x.gather(3, PLACES.expand(len(x), 3, 8, 4))), "x[:, places]", fn(lambda x: x[..., PLACES]),
    ),
    "take along": (
        fn(lambda x: torch.take_along_dim(x, PLACES.expand(len(x), 3, 8, 4), 3)), "a matrix of zeros and ones",
        fn(lambda x: x @ MOVED.to(x)),
    ),
    "lower triangle": (fn(torch.tril), "a product with a matrix of zeros and ones",
                       fn(lambda x: x * torch.ones(8, 8).tril())),
    "no number": (fn(lambda x: x.nan_to_num() + 1), "leave it out", fn(lambda x: x + 1)),
    "gated": (
        fn(lambda x: F.glu(x[:, :2], 1)), "a, b = x.chunk(2, 1)",
        fn(lambda x: (lambda a, b: a * torch.sigmoid(b))(*(x[:, :2].chunk(2, 1)[i] for i in (0, 1)))),
    ),
    "softshrink": (nn.Softshrink(0.3), "relu(x - a) - relu(-x - a)", fn(lambda x: F.relu(x - 0.3) - F.relu(-x - 0.3))),
    "tanhshrink": (nn.Tanhshrink(), "x - torch.tanh(x)", fn(lambda x: x - torch.tanh(x))),
    "logsigmoid": (fn(lambda x: F.logsigmoid(x) * 2), "-F.softplus(-x)", fn(lambda x: -F.softplus(-x) * 2)),
    "rrelu": (nn.RReLU(0.1, 0.3), "leaky_relu(x, (lower + upper) / 2)", nn.LeakyReLU(0.2)),
    "attribute": (fn(lambda x: x[:, :, 0, 0].T.T + 0.0), "x.transpose(-2, -1)", fn(lambda x: x[:, :, 0, 0] + 0.0)),
    "own gradient": (fn(lambda x: Doubles.apply(x)), "what its forward does into forward()", fn(lambda x: x * 2)),
    "wrapped": (fn(lambda x: _wrapped(x)), "leave that off", fn(lambda x: x * 2)),
    "written": (
        fn(lambda x: torch.zeros(len(x), 3, 8, 8).copy_(x) * 2), "use what it writes by itself", fn(lambda x: x * 2),
    ),
}  # fmt: skip

#: The same where what is advised is another function: a network that is trained with it, or a result for the client.
OTHER = {
    "response norm": (nn.CrossMapLRN2d(2), "nn.LocalResponseNorm", nn.LocalResponseNorm(2)),
    "logarithm of a softmax inside": (
        fn(lambda x: x.log_softmax(1) + 1), "the last thing", nn.Sequential(nn.Conv2d(3, 4, 3), nn.LogSoftmax(1)),
    ),
    "padding": (
        Layers(lambda x, a: a(*[x[:, 0]] * 3, key_padding_mask=x[:, 1, 0] > 0)[0], ATTENTION), "give attn_mask",
        Layers(lambda x, a: a(*[x[:, 0]] * 3, attn_mask=torch.ones(8, 8).triu(1) > 0)[0], ATTENTION),
    ),
    "deviation and mean": (
        fn(lambda x: torch.var_mean(x, 1)[0]), "x.var(1, keepdim=True)", fn(lambda x: x.var(1, keepdim=True)),
    ),
    "distance": (
        fn(lambda x: F.pairwise_distance(x[:, 0], x[:, 1])), "x.norm(dim=1)",
        fn(lambda x: (x[:, 0] - x[:, 1]).norm(dim=1)),
    ),
    "exponential": (fn(lambda x: x.exp()), "train with softplus", nn.Softplus()),
    "sine": (fn(torch.sin), "train with tanh", fn(lambda x: x.tanh() + x)),
    "hardshrink": (nn.Hardshrink(0.3), "relu(x - a) - relu(-x - a)", fn(lambda x: F.relu(x - 0.3) - F.relu(-x - 0.3))),
    "softsign": (nn.Softsign(), "train with tanh", fn(lambda x: x.tanh() + x)),
    "step": (fn(lambda x: (x > 0).float()), "hardsigmoid(x) goes from 0 to 1", nn.Hardsigmoid()),
    "rounding": (fn(lambda x: torch.round(x * 3)), "leave it out", fn(lambda x: x * 3)),
    "class": (fn(lambda x: x.mean((2, 3)).argmax(1)), "return the scores", fn(lambda x: x.mean((2, 3)))),
    "best": (fn(lambda x: x.mean((2, 3)).topk(2)[1]), ".topk(k)", fn(lambda x: x.mean((2, 3)))),
    "long memory": (
        Layers(lambda x, lstm: lstm(x.flatten(2).transpose(1, 2))[0], nn.LSTM(3, 4, batch_first=True)),
        "use Conv1d along the time", nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 4, 3)),
    ),
    "bilinear": (
        Layers(lambda x, b: b(x[:, 0], x[:, 1]), BILINEAR), "self.a(x) * self.b(y)",
        Layers(lambda x, a, b: a(x[:, 0]) * b(x[:, 1]), nn.Linear(8, 4), nn.Linear(8, 4)),
    ),
    "sampling": (
        fn(lambda x: F.grid_sample(x, torch.zeros(len(x), 4, 4, 2))), "use F.interpolate",
        fn(lambda x: F.interpolate(x, (4, 4), mode="bilinear")),
    ),
    "random": (
        fn(lambda x: x + torch.randn_like(x)), "behind 'if self.training'", Layers(lambda x, d: d(x) + 0, nn.Dropout()),
    ),
}  # fmt: skip


class Weighed(nn.Module):
    """What is behind it is no tail of the client's: it has a weight."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return x * self.weight


def tried(refused, said, advised):
    x = images(16)
    with pytest.raises(CompileError) as error:
        compile(ar.transform(nn.Sequential(refused, Weighed()).eval(), example_inputs=x), x)
    assert said in str(error.value), error.value
    assert "replace it by supported layers" not in str(error.value)
    program = compile(ar.transform(advised.eval(), example_inputs=x), x, max_error=1)
    return assemble(program.public.form, execute(program, x), torch.float64), x


@pytest.mark.parametrize("name", SAME)
def test_what_is_advised_is_the_same_and_compiles(name):
    refused, said, advised = (nn.Sequential(each) if isinstance(each, nn.Module) else each for each in SAME[name])
    found, x = tried(refused, said, advised)
    torch.testing.assert_close(found, copy.deepcopy(refused)(x).double(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", OTHER)
def test_what_is_advised_compiles(name):
    tried(*(nn.Sequential(each) if isinstance(each, nn.Module) else each for each in OTHER[name]))


def test_a_row_is_looked_up_by_a_product():
    """What is looked up is no input of this package, which are numbers with fractions."""
    words = torch.randint(0, 3, (16, 4), generator=N)
    x = F.one_hot(words, 3).float()
    program = compile(ar.transform(nn.Sequential(WORDS).eval(), example_inputs=x), x)
    torch.testing.assert_close(execute(program, x), EMBEDDING(words).double().detach())
    assert "F.one_hot(x, n).float()" in REASONS["call_module", nn.Embedding]


_NO_LAYERS = ("Container", "DataParallel", "Module", "ModuleDict", "ModuleList", "ParameterDict", "ParameterList",
              "RNNBase", "RNNCellBase", "Sequential", "Transformer", "TransformerDecoder", "TransformerDecoderLayer",
              "TransformerEncoder", "TransformerEncoderLayer")  # fmt: skip


def test_every_layer_of_torch_is_supported_or_has_a_reason():
    known = {kind for op, kind in (*TABLE, *REASONS) if op == "call_module"} | {*_MODULE_SPELLINGS}
    layers = [
        name for name in dir(nn) if isinstance(getattr(nn, name), type) and issubclass(getattr(nn, name), nn.Module)
    ]
    unknown = [name for name in layers if getattr(nn, name) not in known and name not in _NO_LAYERS]
    assert [name for name in unknown if "Loss" not in name and not name.startswith("Lazy")] == []
