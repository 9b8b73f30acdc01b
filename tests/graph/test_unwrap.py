"""What people put around a model is taken off, or refused with advice that fits."""

import copy

import pytest
import torch
from torch import fx, nn
from torch.nn.utils import weight_norm

from autorep_fx.errors import TraceError
from autorep_fx.graph.trace import trace
from autorep_fx.graph.unwrap import private_copy, unwrap


def _net():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)).eval()


IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile, lambda m: nn.DataParallel(torch.compile(m))])
def test_wrappers_are_taken_off(wrap):
    net = _net()
    gm = trace(wrap(net))
    assert type(gm).__name__ == "Sequential" and gm.state_dict().keys() == net.state_dict().keys()
    assert torch.equal(gm(IMAGES), net(IMAGES))
    inside = nn.Sequential(wrap(net), nn.ReLU()).eval()
    gm = trace(inside)
    assert [n.target for n in gm.graph.nodes if n.op == "call_module"] == ["0.0", "0.1", "0.2", "0.3", "1"]
    assert torch.equal(gm(IMAGES), net(IMAGES).relu())


def test_distributed_data_parallel_is_taken_off(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        net = _net()
        assert torch.equal(trace(nn.parallel.DistributedDataParallel(net))(IMAGES), net(IMAGES))
    finally:
        torch.distributed.destroy_process_group()


class _OwnCall(nn.Linear):
    def __call__(self, x):
        return super().__call__(x) * 2


def _hooked_wrapper():
    wrapper = nn.DataParallel(_net())
    wrapper.register_forward_hook(lambda module, args, output: output * 2)
    return wrapper


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "make,text",
    [
        (lambda: torch.jit.script(_net()), "the model itself .* torch.jit module; give the module it was made of"),
        (lambda: torch.jit.trace(_net(), IMAGES), "torch.jit module"),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), torch.jit.script(nn.ReLU())), "module '1' .* torch.jit module"),
        (lambda: torch.export.export(_net(), (IMAGES,)), "the torch.nn.Module that it was exported from"),
        (lambda: torch.export.export(_net(), (IMAGES,)).module(), "graph of ATen operations .* that it was made from"),
        (lambda: nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU()), "module '0' .* run the model once before"),
        (lambda: _OwnCall(4, 2), "__call__ of its own"),
        (_hooked_wrapper, r"\(DataParallel\) has a forward hook"),
        (lambda: len, "must be a torch.nn.Module, got builtin_function_or_method"),
        (lambda: nn.ReLU, r"got the class ReLU; give ReLU\(\.\.\.\)"),
        (lambda: _net().state_dict(), r"got OrderedDict; load them into the model, model.load_state_dict"),
    ],
)
def test_what_cannot_be_traced_is_refused_with_fitting_advice(make, text):
    with pytest.raises(TraceError, match=text):
        unwrap(make())


def test_hooks_of_the_whole_process_are_refused():
    handle = nn.modules.module.register_module_forward_pre_hook(lambda module, args: None)
    try:
        with pytest.raises(TraceError, match="a forward pre-hook for all modules"):
            trace(_net())
    finally:
        handle.remove()


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_a_copy_is_made_of_what_deepcopy_refuses():
    net = nn.Sequential(weight_norm(nn.Linear(4, 3)), nn.ReLU())
    x = torch.randn(2, 4)
    net(x).sum().backward()
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(net)
    twin = private_copy(net)
    with torch.no_grad():
        twin[0].weight_g.mul_(2)
    assert torch.equal(twin(x) > 0, net(x) > 0) and not torch.equal(twin(x), net(x))


class Renormed(nn.Module):
    """Writes into the weights of one of its layers."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x):
        return self.second(self.first(x).relu()) + self.second.weight.mul_(0.5).sum()


def test_a_copy_shares_weights_that_are_only_read():
    gm = fx.symbolic_trace(Renormed())
    before = gm.second.weight.clone()
    twin = private_copy(gm, weights=False)
    assert twin.first.weight.data_ptr() == gm.first.weight.data_ptr() and twin.first.weight is not gm.first.weight
    with torch.no_grad():
        twin(torch.randn(2, 3))
    assert torch.equal(gm.second.weight, before) and not torch.equal(twin.second.weight, before)
    assert private_copy(gm).first.weight.data_ptr() != gm.first.weight.data_ptr()
