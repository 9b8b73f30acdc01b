"""The graph computes what the model computes, in both modes; what it could not hold is refused by name."""

import copy
import pickle
import random
import types

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from architectures import SharedActivation, build, images
from torch import nn
from torch.nn.utils import parametrizations, parametrize, spectral_norm, weight_norm

import autorep_fx as ar
from autorep_fx.errors import TraceError
from autorep_fx.graph.trace import trace
from autorep_fx.models import resnet_cifar


def _targets(gm):
    return [n.target for n in gm.graph.nodes if n.op == "call_module"]


# --- modes -----------------------------------------------------------------------------------------------------------


def test_training_mode_is_the_models_module_by_module():
    model = build(SharedActivation).train()
    model.conv1.eval()
    gm = trace(model)
    assert gm.training and not gm.conv1.training and gm.conv2.training
    assert not trace(model.eval()).training


class _DataDependent(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return F.relu(x)
        return x


def test_untraceable_models_say_where():
    with pytest.raises(TraceError, match=r"test_trace.py:\d+.*if x.sum\(\) > 0"):
        trace(_DataDependent())
    with pytest.raises(TraceError, match="torch.nn.Module"):
        trace(lambda x: x)


# --- what is read when the graph runs --------------------------------------------------------------------------------


class _OwnStatistics(nn.Module):
    """Reads, changes and computes with buffers as a hand-written normalisation does."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, x):
        self.steps.add_(1)
        self.mean.mul_(0.9).add_(x.mean(0).detach(), alpha=0.1)
        return (x - self.mean * 2) / self.steps


def test_buffers_are_read_and_written_when_the_graph_runs():
    net = _OwnStatistics()
    gm = trace(net)
    assert net.steps == 0 and gm.steps == 0
    for _ in range(3):
        x = torch.randn(5, 4)
        assert torch.equal(gm(x), net(x))
    assert torch.equal(gm.mean, net.mean) and gm.steps == 3


def test_postponed_annotations_pickle():
    gm = trace(resnet_cifar(8))  # its forward() has string annotations
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(pickle.loads(pickle.dumps(gm.eval()))(x), gm(x))


# --- modules by other ways than their path ----------------------------------------------------------------------------


class _Slices(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU(), nn.Dropout()), nn.Linear(4, 4))

    def forward(self, x):
        early = self.features[:2](x)
        return nn.Softmax(dim=1)(self.features[1:](early) + self.features[:-1][:1](x))


def test_slices_of_a_sequential_and_modules_made_in_forward():
    net = _Slices()
    gm = trace(net)
    assert [t for t in _targets(gm) if "training" not in t] == [
        "features.0", "features.1.0", "features.1.1", "features.1.0", "features.1.1", "features.2", "features.0",
    ]  # fmt: skip
    x = torch.randn(3, 4)
    for training in (True, False):
        torch.manual_seed(1)
        expected = net.train(training)(x)
        torch.manual_seed(1)
        assert torch.equal(gm.train(training)(x), expected)
    assert gm.state_dict().keys() == net.state_dict().keys()


class _PlainList(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(4, 4)]

    def forward(self, x):
        return self.layers[0](x)


def test_a_layer_that_is_no_submodule_is_named():
    with pytest.raises(TraceError, match="calls a Linear that is none of the model's submodules.*ModuleList"):
        trace(_PlainList())


NAMES = ("output", "input", "x", "relu", "add", "torch", "placeholder", "print", "operator", "training_flag", "root")
RESERVED = ("graph", "code", "meta", "self", "recompile", "_graph")


class _Named(nn.Module):
    """Two layers under a name that fx uses for something else, one of them called twice, the other last."""

    def __init__(self, name, nested):
        super().__init__()
        self.block = nn.ModuleDict() if nested else None
        home = self.block if nested else self
        home.add_module(name, nn.Linear(4, 4))
        home.add_module(f"{name}_1", nn.Linear(4, 4))
        self.name = name

    def forward(self, x):
        home = self if self.block is None else self.block
        layer = home._modules[self.name]
        y = F.relu(layer(x))
        return home._modules[f"{self.name}_1"](layer(y) + torch.relu(x))


@pytest.mark.parametrize("nested", [False, True])
def test_names_that_fx_uses_too(nested):
    x = torch.randn(3, 4)
    for name in NAMES + (RESERVED if nested else ()):
        net = _Named(name, nested)
        gm = trace(net)
        assert torch.equal(gm(x), net(x)), name
        assert torch.equal(trace(copy.deepcopy(gm))(x), net(x)), name


def test_names_that_a_graph_module_needs_are_refused():
    for name in RESERVED:
        with pytest.raises(TraceError, match=f"attribute '{name}'.*rename it"):
            trace(_Named(name, nested=False))


@pytest.mark.parametrize("name", ["in", "global", "lambda", "None"])
@pytest.mark.parametrize("nested", [False, True])
def test_names_that_are_keywords_of_python_are_refused_by_name(name, nested):
    with pytest.raises(TraceError, match=f"'(block.)?{name}', and '{name}' is a keyword of Python.*'{name}_'"):
        trace(_Named(name, nested))
    assert trace(_Named(f"{name}_", nested))


class _Keys(nn.Module):
    def forward(self, x):
        return {"class": F.relu(x), "global": {"in": x + 1}}


def test_keys_of_an_output_may_be_keywords_of_python():
    gm, x = ar.transform(_Keys().eval()), torch.randn(20, 4)
    assert torch.equal(pickle.loads(pickle.dumps(gm))(x)["global"]["in"], x + 1)
    result = ar.compile(gm, x).run(x[:2]).output
    torch.testing.assert_close(result, _Keys()(x[:2]), rtol=0, atol=0.01)


def _scaled(x, **options):
    return x * options["lambda"]


torch.fx.wrap("_scaled")


class _Argument(nn.Module):
    def forward(self, x):
        return _scaled(x, **{"lambda": 2})


def test_arguments_whose_names_are_keywords_are_refused():
    with pytest.raises(TraceError, match="_scaled.* an argument called 'lambda'"):
        trace(_Argument())


# --- hooks -----------------------------------------------------------------------------------------------------------


def _block():
    torch.manual_seed(0)
    return nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Flatten(), nn.Linear(144, 2)).eval()


def _double(module, args, output):
    return output * 2


def _patch(module):
    module.forward = types.MethodType(lambda self, x: type(self).forward(self, x) * 2, module)


@pytest.mark.parametrize("path", ["", "0"])
@pytest.mark.parametrize(
    "attach",
    [
        _patch,
        lambda m: m.register_forward_hook(_double),
        lambda m: m.register_forward_pre_hook(lambda module, args, kwargs: (args, kwargs), with_kwargs=True),
        lambda m: m.register_full_backward_hook(lambda module, into, out: None),
    ],
)
def test_what_a_graph_would_drop_is_refused(path, attach):
    model = _block()
    attach(model.get_submodule(path))
    where = f"module '{path}'" if path else "the model itself"
    with pytest.raises(TraceError, match=rf"{where} \(Sequential\) has a .*(hook|patched)"):
        trace(model)


def test_hooks_of_a_transformed_model_are_refused_too():
    gm = trace(_block())
    gm.register_forward_hook(_double)
    with pytest.raises(TraceError, match="has a forward hook"):
        trace(gm)


def test_hooks_of_layers_kept_whole_are_kept():
    model, seen = _block(), []
    model[0][0].register_forward_hook(_double)
    model[2].register_forward_pre_hook(lambda module, args: seen.append(args[0].shape))
    gm = trace(model)
    assert seen == []
    assert torch.equal(gm(images()[:, :, :8, :8]), model(images()[:, :, :8, :8])) and len(seen) == 2


def test_a_forward_patched_on_a_layer_is_refused():
    model = _block()  # it may hold on to the layers of the original
    _patch(model[0][0])
    with pytest.raises(TraceError, match=r"module '0.0' \(Conv2d\) has a forward\(\) patched"):
        trace(model)


class _Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3))

    def forward(self, x):
        return F.relu(F.linear(x, self.weight))


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("inside", [False, True], ids=["alone", "inside"])
@pytest.mark.parametrize("kind", [lambda: nn.Linear(3, 4), _Scale])
@pytest.mark.parametrize(
    "recompute", [weight_norm, spectral_norm, parametrizations.weight_norm, parametrizations.spectral_norm]
)
def test_recomputed_weights_are_recomputed_or_refused(recompute, kind, inside):
    layer = recompute(kind())
    model = nn.Sequential(layer, nn.ReLU()) if inside else layer
    if isinstance(layer, _Scale) and not parametrize.is_parametrized(layer):
        with pytest.raises(TraceError, match="recomputes its weight.*torch.nn.utils.remove_"):
            trace(model)
        return
    gm, x = trace(model), torch.randn(5, 3)
    assert not isinstance(layer, _Scale) or any(n.target is F.relu for n in gm.graph.nodes), "the block was not opened"
    for training in (True, False):  # spectral_norm goes on with its power iteration in train mode
        for net in (model, gm):
            net.train(training)
            optimizer = torch.optim.SGD(net.parameters(), 0.1)
            net(x).square().sum().backward()
            optimizer.step()
        assert torch.equal(model(x), gm(x))


# --- random numbers --------------------------------------------------------------------------------------------------


class _Draws(nn.Module):
    def __init__(self, draw):
        super().__init__()
        self.draw = draw

    def forward(self, x):
        return F.relu(x) + float(self.draw() > 0.5)


class _Holds(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.first, self.block = nn.Sequential(nn.ReLU()), block

    def forward(self, x):
        return self.block(self.first(x))


@pytest.mark.parametrize(
    "draw,source",
    [
        (random.random, "random"),
        (lambda: np.random.rand(), "numpy.random"),
        (lambda: torch.rand(()), "torch"),
        (lambda: nn.Linear(1, 1).weight.sum(), "torch"),
    ],
)
def test_random_numbers_of_the_process_are_refused(draw, source):
    for _ in range(4):  # however they fall
        with pytest.raises(TraceError, match=rf"itself \(_Draws\) draws random numbers from {source} in forward"):
            trace(_Draws(draw))
        with pytest.raises(TraceError, match=r"module 'block' \(_Draws\) draws"):
            trace(_Holds(_Draws(draw)))
        draw()


def test_tracing_leaves_the_generators_as_they_were():
    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    net = _block()
    before = states()
    trace(net)
    for draw in (random.random, lambda: np.random.rand(), lambda: torch.rand(())):
        with pytest.raises(TraceError):
            trace(_Draws(draw))
    assert states() == before
