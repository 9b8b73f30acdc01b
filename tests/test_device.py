"""``device=``: models and data go where it says, from wherever they are, to the numbers that the CPU has."""

import pytest
import torch
from other_device import OTHER, Elsewhere, back, other_device
from torch import nn

import autorep_fx as ar
from autorep_fx.graph.devices import device_of

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA")


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.PReLU(6),
        nn.Flatten(), nn.Linear(24, 8), nn.GELU(), nn.Linear(8, 3),
    ).eval()  # fmt: skip


def data(count=64):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 1, 4, 4, generator=generator), torch.arange(count) % 3


def batches():
    return list(zip(*(part.split(16) for part in data())))


def transformed(**told):
    return ar.transform(network(), calibration=data(), progress=False, **told)


def finetuned(**told):
    gm, teacher = ar.transform(network(), calibration=data(), relu_budget=30, progress=False), network()
    ar.finetune(gm, batches(), batches(), teacher=teacher, epochs=2, feature_weight=0.1, progress=False, **told)
    assert device_of(teacher) == torch.device("cpu")
    return gm


def searched(**told):
    gm, teacher = ar.transform(network()), network()
    ar.search(gm, batches(), batches(), teacher=teacher, epochs=3, lr=0.01, progress=False, **told)
    return gm


RUNS = [
    (transformed, {}),
    (transformed, {"relu_budget": 30}),
    (transformed, {"relu_budget": 30, "degree": 3, "fit": "gaussian", "granularity": "channel"}),
    (transformed, {"relu_budget": 30, "reconstruct": True}),
    (transformed, {"offline_mb": 0.04}),
    (finetuned, {}),
    (searched, {"relu_budget": 30}),
    (searched, {"relu_budget": 30, "penalty": 1.0, "granularity": "channel", "initial": "uniform"}),
    (searched, {"relu_budget": 30, "method": "snl"}),
    (searched, {"offline_mb": 0.04}),
]
NAMED = pytest.mark.parametrize(
    "run, told", RUNS, ids=["-".join([run.__name__, *map(str, told.values())]) for run, told in RUNS]
)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@NAMED
def test_the_cpu_by_name_is_the_same_bit_for_bit(run, told):
    assert same(run(**told).state_dict(), run(device="cpu", **told).state_dict())


@NAMED
def test_elsewhere_nothing_is_left_on_the_cpu_and_the_numbers_are_the_same(run, told):
    here = run(**told).state_dict()
    with other_device() as device:
        there = run(device=device, **told).state_dict()
        assert all(type(value) is Elsewhere and value.device == OTHER for value in there.values())
    assert same(here, back(there))


@CUDA
@NAMED
def test_on_cuda_everything_is_there_and_the_numbers_are_near(run, told):
    gm, there = run(**told), run(device="cuda", **told)
    assert all(value.device.type == "cuda" for value in there.state_dict().values())
    assert ar.relu_count(there) == ar.relu_count(gm) or "offline_mb" in told
    x = data()[0]
    with torch.no_grad():
        one, other = gm(x), there.eval()(x.cuda()).cpu()
    if run is transformed:  # training goes another way after some roundings
        assert torch.allclose(one, other, atol=0.05 * float(one.abs().max()))
    assert torch.isfinite(other).all()


@pytest.mark.filterwarnings("ignore:.*is a no-op")  # it would be, if nothing were behind that device
def test_a_run_goes_on_elsewhere_from_a_checkpoint_of_here(tmp_path):
    told = {"relu_budget": 30, "checkpoint_dir": tmp_path}
    whole = searched(relu_budget=30).state_dict()

    def stop(found):
        if found["epoch"] == 2:
            raise StopIteration

    with pytest.raises(StopIteration):
        searched(on_epoch=stop, **told)
    with other_device() as device:
        there = searched(device=device, resume=True, **told).state_dict()
    assert same(whole, back(there))


def test_the_model_stays_where_it_is_and_the_result_is_there():
    model = network()
    with other_device() as device:
        gm = ar.transform(model, example_inputs=data()[0], device=device)
        assert device_of(model) == torch.device("cpu") and device_of(gm) == OTHER
        ar.finetune(gm, batches(), epochs=1, progress=False)  # where the network is
        assert device_of(gm) == OTHER
        ar.finetune(gm, batches(), epochs=1, device="cpu", progress=False)
        assert device_of(gm) == torch.device("cpu")


@pytest.mark.parametrize("entry", [ar.transform, ar.finetune, ar.search])
def test_a_device_that_there_is_not_is_an_error_before_anything_moves(entry):
    told = {"relu_budget": 3} if entry is ar.search else {}
    loaders = () if entry is ar.transform else (batches(),)
    gm = network() if entry is ar.transform else ar.transform(network())
    for name in ("hyperspace", "cuda:77"):
        with pytest.raises(ValueError, match=f"device='{name}' is not to be had here: .*leave it out"):
            entry(gm, *loaders, device=name, **told)
        with pytest.raises(ValueError, match="device must be a text such as cpu or cuda:1"):
            entry(gm, *loaders, device="the big one", **told)
    assert device_of(gm) == torch.device("cpu")
