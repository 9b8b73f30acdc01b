"""Every spelling becomes one module, every call a site of its own, and only what depends on the input is one."""

import copy
import operator

import pytest
import torch
import torch.nn.functional as F
from architectures import ARCHITECTURES, SharedActivation, build, images
from torch import nn
from torch.nn.utils import parametrize, weight_norm

import autorep_fx as ar
from autorep_fx.errors import TraceError
from autorep_fx.graph import expressions
from autorep_fx.graph.activations import Activation
from autorep_fx.graph.canonicalize import Canonicalize, site_nodes
from autorep_fx.graph.trace import trace


def _canonical(model):
    gm = Canonicalize()(trace(model))
    gm.graph.lint()
    return gm


def _sites(gm):
    return [node.target for node in site_nodes(gm)]


class _Of(nn.Module):
    """The function given, of the input and a module of its own."""

    def __init__(self, function, **modules):
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.function(self, x)


@pytest.mark.parametrize("kind,count", ARCHITECTURES)
def test_a_second_run_changes_nothing(kind, count):
    gm = _canonical(build(kind))
    code, sites = gm.code, _sites(gm)
    assert len(sites) == len(set(sites)) == count
    Canonicalize()(gm)
    assert gm.code == code and _sites(gm) == sites


@pytest.mark.parametrize(
    "spelled,kind,spelling",
    [
        (lambda self, x: F.relu(x), "relu", "relu"),
        (lambda self, x: F.relu(x, True), "relu", "relu"),
        (lambda self, x: x.relu_(), "relu", "relu"),
        (lambda self, x: nn.ReLU()(x), "relu", "relu"),
        (lambda self, x: x.clamp(min=0), "relu", "clamp"),
        (lambda self, x: torch.clamp_min(x, 0.0), "relu", "clamp"),
        (lambda self, x: torch.maximum(x, torch.zeros_like(x)), "relu", "maximum"),
        (lambda self, x: F.threshold(x, 0, 0), "relu", "threshold"),
        (lambda self, x: x.clip(0, 6), "relu6", "clamp"),
        (lambda self, x: F.hardtanh(x, 0.0, 6.0), "relu6", "hardtanh"),
        (lambda self, x: F.leaky_relu(x, 0.2), "leaky_relu", "leaky_relu"),
        (lambda self, x: F.gelu(x, approximate="tanh"), "gelu", "gelu"),
        (lambda self, x: F.hardtanh(x, 0.0, float("inf")), "relu", "hardtanh"),
        (lambda self, x: x.clamp(-1, 2), "hardtanh", "clamp"),
        (lambda self, x: x.sigmoid() + x.mean(1, True), "sigmoid", "sigmoid"),
        (lambda self, x: nn.Hardsigmoid()(x), "hardsigmoid", "hardsigmoid"),
        (lambda self, x: torch.tanh(x) * x.mean(1, True), "tanh", "tanh"),
        (lambda self, x: F.elu(x, 0.5), "elu", "elu"),
        (lambda self, x: F.celu(x), "celu", "celu"),
        (lambda self, x: torch.selu(x), "selu", "selu"),
        (lambda self, x: F.mish(x), "mish", "mish"),
        (lambda self, x: F.softplus(x, 2.0), "softplus", "softplus"),
        (lambda self, x: x * torch.sigmoid(x), "silu", "expression"),
        (lambda self, x: x.sigmoid().mul(x), "silu", "expression"),
        (lambda self, x: x * F.relu6(x + 3) / 6, "hardswish", "expression"),
        (lambda self, x: x * (F.relu6(x + 3.0) / 6.0), "hardswish", "expression"),
        (lambda self, x: x * F.hardsigmoid(x), "hardswish", "expression"),
        (lambda self, x: nn.ReLU6()(x + 3) / 6, "hardsigmoid", "expression"),
        (lambda self, x: x * torch.tanh(F.softplus(x)), "mish", "expression"),
        (lambda self, x: 0.5 * x * (1 + torch.erf(x / 2**0.5)), "gelu", "expression"),
        (lambda self, x: 0.5 * x * (1 + torch.tanh(0.7978845608 * (x + 0.044715 * x**3))), "gelu", "expression"),
        (lambda self, x: torch.where(x > 0, x, 0.0), "relu", "expression"),
        (lambda self, x: torch.where(x > 0, x, 0.1 * x), "leaky_relu", "expression"),
        (lambda self, x: (x + x.abs()) / 2, "relu", "expression"),
        (lambda self, x: torch.maximum(torch.tensor(0.0), x), "relu", "expression"),
        (lambda self, x: torch.max(x, 0.2 * x), "leaky_relu", "expression"),
        (lambda self, x: x * F.relu6(x + 3, inplace=True) / 6, "hardswish", "expression"),
        (lambda self, x: x * F.relu6(x + 3, True).div_(6), "hardswish", "expression"),
        (lambda self, x: nn.ReLU6(inplace=True)(x + 3.0) / 6.0 * x, "hardswish", "expression"),
        (lambda self, x: (x * 1).mul_(torch.sigmoid(x)), "silu", "expression"),
        (lambda self, x: _Swish.apply(x), "silu", "expression"),
        (lambda self, x: x * _Sigmoid.apply(x), "silu", "expression"),
        (lambda self, x: torch.log(1 + torch.exp(x)).where(x < 20, x), "softplus", "expression"),
    ],
)
def test_spellings(spelled, kind, spelling):
    net = _Of(spelled)
    gm = _canonical(net)
    (site,) = (gm.get_submodule(name) for name in _sites(gm))
    assert isinstance(site, Activation) and (site.kind, site.spelling) == (kind, spelling)
    x = torch.linspace(-8, 8, 33).reshape(3, 11)
    assert torch.equal(gm(x.clone()), net(x.clone()))


@pytest.mark.parametrize(
    "function",
    [
        lambda self, x: x.clamp(min=1),
        lambda self, x: x * torch.exp(x),
        lambda self, x: x * x.sign(),
        lambda self, x: torch.where(x > 40, 4 * x, x + x.abs()) / 2,
        lambda self, x: torch.where(x < -1e5, -x, x + x.abs()) / 2,
        lambda self, x: (x + x.abs()).minimum(torch.tensor(100.0)) / 2,
    ],
)
def test_what_only_looks_like_one(function):
    assert _sites(_canonical(_Of(function))) == []


class _Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, grad):
        return 3 * grad


class _Sigmoid(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.sigmoid(x)

    @staticmethod
    def backward(ctx, grad):
        return grad


class _Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x * 1

    @staticmethod
    def backward(ctx, grad):
        return -ctx.factor * grad, None


class _WithDefault(torch.autograd.Function):
    @staticmethod
    def forward(x, factor=2.0):
        return x * torch.sigmoid(x)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.factor = inputs[1]

    @staticmethod
    def backward(ctx, grad):
        return ctx.factor * grad, None


_swish, _reversed, _with_default = _Swish.apply, _Reversed.apply, _WithDefault.apply  # as modules of functions do


@pytest.mark.parametrize("function", [
    lambda self, x: _Swish.apply(x), lambda self, x: F.relu(_Reversed.apply(x, 2.0)), lambda self, x: _swish(x),
    lambda self, x: F.relu(_reversed(x, 2.0)), lambda self, x: _with_default(x),
])  # fmt: skip
def test_a_gradient_of_its_own_stays(function):
    net = nn.Sequential(_Of(function), _Of(function))
    gm = copy.deepcopy(_canonical(net))
    x, y = (torch.linspace(-6, 6, 25).requires_grad_() for _ in range(2))
    net(x).sum().backward()
    gm(y).sum().backward()
    assert torch.equal(x.grad, y.grad) and len(_sites(gm)) == 2


def test_what_a_function_reads_is_not_overwritten_by_it():
    net, x = _Of(lambda self, x: (lambda h: _swish(h) + h)(x * 2)), torch.linspace(-6, 6, 25)
    assert torch.equal(_canonical(net)(x), net(x)) and len(_sites(_canonical(net))) == 1


def test_an_expression_with_other_readers_stays():
    gm = _canonical(_Of(lambda self, x: (lambda s: x * s + s)(torch.sigmoid(x))))
    assert [gm.get_submodule(name).kind for name in _sites(gm)] == ["sigmoid"]


def test_an_expression_of_what_is_overwritten_stays():
    net = _Of(lambda self, x: (lambda y, s: y.add_(1) * s)(x * 1, torch.sigmoid(x * 1)))
    gm = _canonical(net)
    x = torch.linspace(-8, 8, 33)
    assert torch.equal(gm(x.clone()), net(x.clone()))


def test_a_clip_far_from_zero_is_not_lost():
    gm = _canonical(_Of(lambda self, x: torch.clamp(F.relu(x), max=50)))
    assert [gm.get_submodule(name).spelling for name in _sites(gm)] == ["relu"]
    assert gm(torch.tensor([[-3.0, 49.0, 1e6]])).tolist() == [[0.0, 49.0, 50.0]]


@pytest.mark.parametrize(
    ("function", "kinds"),
    [
        (lambda self, x: (lambda y: y.mul_(y.sigmoid()) + y)(x * 1), ["silu"]),  # the last y is what was written
        (lambda self, x: (lambda y: F.relu6(y, True) * y)(x + 3), ["relu6"]),
    ],
)
def test_expressions_that_write_in_place(function, kinds):
    net = _Of(function)
    gm = _canonical(net)
    assert [gm.get_submodule(name).kind for name in _sites(gm)] == kinds
    x = torch.linspace(-8, 8, 33)
    assert torch.equal(gm(x.clone()), net(x.clone()))


def test_an_expression_keeps_its_gradient():
    net = _Of(lambda self, x: x * F.relu6(x + 3) / 6)
    gm = _canonical(net)
    x, y = (torch.linspace(-6, 6, 25).requires_grad_() for _ in range(2))
    net(x).sum().backward()
    gm(y).sum().backward()
    assert torch.equal(x.grad, y.grad)


def test_a_module_called_at_several_places_becomes_several_sites():
    gm = ar.transform(build(SharedActivation), example_inputs=images())
    assert list(ar.sites(gm)) == ["act", "act_1", "act_2"]
    assert len({id(site) for site in ar.sites(gm).values()}) == 3
    ar.sites(gm)["act"].set_keep(torch.zeros(8, 16, 16, dtype=torch.bool))
    assert [site.kept for site in ar.sites(gm).values()] == [0, 2048, 2048]


# --- what does not depend on the input -------------------------------------------------------------------------------


class _Weighted(nn.Module):
    """ReLUs of a parameter, of a buffer and of what is computed from them; one module also sees the input."""

    def __init__(self):
        super().__init__()
        self.weight, self.act = nn.Parameter(torch.tensor([-0.5, 0.8])), nn.ReLU()
        self.register_buffer("floor", torch.tensor([-1.0, 0.1]))

    def forward(self, x):
        x = x * F.relu(self.weight) + self.act(self.weight * 2)[0] + self.floor.clamp(min=0)
        return self.act(x)


def test_an_activation_of_parameters_is_no_site():
    net, x = _Weighted(), torch.randn(5, 2)
    gm = _canonical(net)
    assert len(_sites(gm)) == 1 and _sites(gm) != ["act"] and type(gm.act) is nn.ReLU
    assert F.relu in [node.target for node in gm.graph.nodes]
    for model in (net, gm):
        model(x).square().sum().backward()
    assert torch.equal(gm(x), net(x)) and torch.equal(gm.weight.grad, net.weight.grad)
    hybrid = ar.transform(net, calibration=x.repeat(20, 1), relu_budget=1)
    assert ar.relu_count(hybrid) == 1 and list(ar.sites(ar.transform(hybrid))) == _sites(gm)


# --- what an activation does besides ---------------------------------------------------------------------------------


class _Positive(nn.Module):
    def forward(self, weight):
        return weight.abs()


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize(
    "attach,text",
    [
        (lambda m: m.register_forward_hook(lambda module, args, output: output * 2), "a forward hook"),
        (lambda m: m.register_full_backward_hook(lambda module, into, out: None), "a backward hook"),
        (lambda m: weight_norm(m, dim=None), "WeightNorm.*remove_weight_norm"),
        (lambda m: parametrize.register_parametrization(m, "weight", _Positive()), "remove_parametrizations"),
    ],
)
def test_an_activation_that_does_more_is_refused(attach, text):
    net = nn.Sequential(nn.Linear(4, 4), nn.PReLU(4))
    attach(net[1])
    with pytest.raises(TraceError, match=f"module '1' .*PReLU.*{text}"):
        _canonical(net)


# --- in-place writes -------------------------------------------------------------------------------------------------


class _LiveView(nn.Module):
    def forward(self, x):
        y = x * 2
        flat = y.view(y.shape[0], -1)
        flat.relu_()
        return y.sum()


def test_an_in_place_activation_under_a_live_view_is_refused():
    with pytest.raises(TraceError, match="inplace=False"):
        _canonical(_LiveView())


def test_readers_of_an_overwritten_tensor_read_the_site():
    def function(self, x):
        y = x * 2
        z = y + 1
        y.relu_()
        return operator.add(y, z)

    net, x = _Of(function), torch.randn(3, 4)
    assert torch.equal(_canonical(net)(x), net(x))


def test_no_module_is_made_for_arithmetic_that_is_no_activation(monkeypatch):
    made = []
    monkeypatch.setattr(
        expressions, "_extract", lambda *args, found=expressions._extract: made.append(1) or found(*args)
    )

    class Scaled(nn.Module):
        def forward(self, x):
            for i in range(20):
                x = torch.relu(torch.add(torch.mul(x, 0.5 + i), 0.25))
            return x * torch.sigmoid(x)

    gm = ar.transform(Scaled(), example_inputs=torch.randn(2, 4))
    assert [site.activation.kind for site in ar.sites(gm).values()] == ["relu"] * 20 + ["silu"] and len(made) == 1
