import pytest
import torch
import torch.nn.functional as F
from networks import OfInput, images, lower
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import CompileError
from autorep_fx.secure.compile import compile


def test_every_unsupported_node_is_listed_with_a_way_out():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.scale = nn.CrossMapLRN2d(8), nn.Parameter(torch.ones(8))

        def forward(self, x):
            return torch.log_softmax(self.norm(x).cumsum(1) + x, 1) * self.scale

    with pytest.raises(CompileError) as error:
        lower(Model(), images())
    text = str(error.value)
    for part in ("'norm' (CrossMapLRN2d at 'norm')", "'cumsum' (.cumsum())", "'log_softmax' (log_softmax)"):
        assert part in text
    assert text.count("move it outside the model") == 1 and "add" not in text
    assert "train with group norm" in text and "where it is the last thing" in text


UNSUPPORTED = {
    "ceil": (nn.AvgPool2d(3, ceil_mode=True, divisor_override=2), "divisor_override with windows that are cut off"),
    "rounding": (OfInput(lambda x: x.to(torch.float16)), "rounds to torch.float16"),
    "cube": (OfInput(lambda x: x**3), "only squares"),
    "einsum of three": (OfInput(lambda x: torch.einsum("nchw,nchw,nchw->nc", x, x, x)), "more than two private"),
    "einsum over the batch": (OfInput(lambda x: torch.einsum("nchw,w->chw", x, torch.ones(8))), "sums over the batch"),
    "einsum that moves it": (OfInput(lambda x: torch.einsum("nchw,w->cnhw", x, torch.ones(8))), "moves the batch"),
    "batch as a number": (OfInput(lambda x: x / x.size(0)), "computes with 'size', the size of the batch"),
    "constant samples": (OfInput(lambda x: x + torch.arange(x.size(0))[:, None, None, None]), "depends on the batch"),
    "written into zeros": (OfInput(lambda x: torch.zeros_like(x).add_(x)), "overwritten by what depends on the input"),
    "joined samples": (
        OfInput(lambda x: torch.cat([x, torch.arange(x.size(0))[:, None, None, None].expand(-1, 3, 8, 8)], 1)),
        "depends on the batch",
    ),
    "random": (OfInput(lambda x: x + torch.rand_like(x)), "rand_like"),
    "adaptive": (nn.AdaptiveMaxPool2d(3, return_indices=True), "return_indices"),
    "batch statistics": (nn.BatchNorm2d(3, track_running_stats=False), "statistics of the batch"),
    "batch mean": (OfInput(lambda x: x - x.mean(0)), "leave axis 0 out"),
    "full mean": (OfInput(lambda x: x - x.mean()), "averages over the batch"),
    "batch permute": (OfInput(lambda x: x.permute(1, 0, 2, 3) + 0.0), "axis 0"),
    "batch reshape": (OfInput(lambda x: x.reshape(-1, 8)), "axis 0 must stay the batch"),
    "batch cat": (OfInput(lambda x: torch.cat([x, x])), "along the batch"),
    "batch slice": (OfInput(lambda x: x[0:1] + x), "selects samples"),
    "always dropout": (OfInput(lambda x: F.dropout(x, 0.5, training=True)), "dropout that is on in eval mode"),
    "in-place, read later": (OfInput(lambda x: (lambda y: y.add_(1) + y)(x * 2)), "'mul', which 'add' reads later"),
    "part of what cannot be": (
        OfInput(lambda x: F.gelu(x.flatten(1).topk(2)[0])),
        "takes a part of what 'topk' returns",
    ),
    "indices": (nn.MaxPool2d(2, return_indices=True), "return_indices"),
    "private weights": (OfInput(lambda x: F.conv2d(x, x[:, :, :3, :3])), "computed from the input"),
    "no dependence": (OfInput(lambda x: torch.zeros(2, 3)), "does not depend on the input"),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_unsupported(name):
    model, message = UNSUPPORTED[name]
    with pytest.raises(CompileError, match=message):
        lower(model, images())


class _OneAtATime(nn.Module):
    def __init__(self, batch):
        super().__init__()
        self.batch, self.fc = batch, nn.Linear(192, 2)

    def forward(self, x):
        return self.fc(x.view(self.batch, -1))


@pytest.mark.parametrize("batch,other", [(1, 2), (2, 3)])
def test_a_batch_size_written_into_the_model_names_the_node(batch, other):
    message = rf"on a batch of {batch} but not on one of {other}: node 'fc' fails .* written into node 'view' \(.view"
    with pytest.raises(CompileError, match=message):
        lower(_OneAtATime(batch), images(batch))


def _double(module, args, output):
    return output * 2


@pytest.mark.parametrize("path", ["0.0", "0.1", "0.1.activation"])
def test_a_hook_on_a_layer_names_the_node(path):
    gm = ar.transform(nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())).eval(), example_inputs=images())
    gm.get_submodule(path).register_full_backward_hook(lambda module, into, out: None)  # no gradient here
    compile(gm, images())
    gm.get_submodule(path).register_forward_hook(_double)
    with pytest.raises(CompileError, match=rf"at '{path[:3]}'\): has a forward hook \(_double\); remove it and write"):
        compile(gm, images())


def test_a_hook_on_the_model_and_one_for_all_modules():
    gm = ar.transform(nn.Sequential(nn.Conv2d(3, 4, 3)).eval())
    handle = nn.modules.module.register_module_forward_hook(_double)
    try:
        with pytest.raises(CompileError, match="has a forward hook for all modules"):
            compile(gm, images())
    finally:
        handle.remove()
    gm.register_forward_pre_hook(lambda module, args: (args[0] * 2,))
    with pytest.raises(CompileError, match="the model itself has a forward pre-hook"):
        compile(gm, images())


def test_two_tensor_inputs():
    class Model(nn.Module):
        def forward(self, x, y):
            return x + y

    with pytest.raises(ValueError, match="has 1 input, and the model takes 2 inputs"):
        compile(ar.transform(Model()), images())


def test_weights_that_leave_no_room_on_crypten_do_not_keep_a_program_from_the_native_runtime():
    model = nn.Linear(8, 2)
    nn.init.constant_(model.weight, 1e12)
    program, _ = lower(model, images())
    assert program.plan().steps
    with pytest.raises(CompileError, match="weight of step .* 1e\\+12.*below"):
        program.run(images(), backend="crypten")


@pytest.mark.parametrize("bits", [7, 25, 16.5, True, "16"])
def test_frac_bits(bits):
    with pytest.raises(ValueError, match="frac_bits must be 8 to 24"):
        lower(nn.Flatten(), images(), frac_bits=bits)


def test_wrong_example_inputs_and_model():
    gm = ar.transform(nn.Sequential(nn.Conv2d(3, 4, 3)))
    with pytest.raises(
        TypeError, match=r"GraphModule that autorep_fx.transform returns, got ReLU: give transform\(model"
    ):
        compile(nn.ReLU(), images())
    with pytest.raises(ValueError, match=r"does not run on example_inputs of shape \(2, 5, 8, 8\)"):
        compile(gm, images(channels=5))
    for bad in (images().long(), images()[:0], images() * float("nan"), "x"):
        with pytest.raises(ValueError, match="example_inputs must"):
            compile(gm, bad)


@pytest.mark.parametrize("budget", [0, 100, 256])
def test_another_size_than_the_masks_is_told_in_one_line_that_names_both(budget, capsys):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    gm = ar.transform(model, calibration=images(32), relu_budget=budget)
    text = (
        r"example_inputs \(N, 3, 12, 12\) are of another size.*'1' has masks for samples of \(4, 8, 8\).*\(4, 12, 12\)"
    )
    with pytest.raises(ValueError, match=text) as error:
        compile(gm, images(32, size=12))
    assert len(str(error.value).splitlines()) == 1 and capsys.readouterr() == ("", "")
    other = ar.transform(model, calibration=images(32, size=12), relu_budget=budget)  # what it says
    assert compile(other, images(32, size=12)) and compile(gm, images(32))


def test_what_the_model_does_not_run_on_is_told_in_one_line(capsys):
    gm = ar.transform(nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.ReLU()).eval())
    with pytest.raises(ValueError, match=r"example_inputs of shape \(2, 3, 9, 9\): node '_1' fails, mat1") as error:
        compile(gm, images(size=9))
    assert len(str(error.value).splitlines()) == 1 and capsys.readouterr() == ("", "")


def test_a_quantized_layer_is_named_with_the_model_that_can_run():
    quantized = nn.Sequential(nn.Flatten(), torch.ao.nn.quantized.dynamic.Linear(4, 2))
    with pytest.raises(CompileError, match="'_1' .*quantized numbers; compile the floating-point model"):
        compile(ar.transform(quantized.eval()), torch.zeros(2, 4))


def test_weights_that_no_batch_can_meet_are_named():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    half = ar.transform(net.half().eval())
    with pytest.raises(
        ValueError, match=r"node '_0' fails.*weights are torch.float16 .* torch.float32: give model.float"
    ):
        compile(half, images())
    with pytest.raises(ValueError, match="'0.weight' is on the meta device, without values.*load its weights"):
        compile(ar.transform(net.to("meta").eval()), images())


def test_wrong_arguments_of_run():
    program, _ = lower(nn.Conv2d(3, 4, 3), images())
    with pytest.raises(ValueError, match="backend must be one of 'native', 'crypten', got 'spu'"):
        program.run(images(), backend="spu")
    for bad, message in (
        (images(size=9), r"x has shape \(2, 3, 9, 9\); this program was compiled for \(N, 3, 8, 8\)"),
        (images()[0], r"x has shape \(3, 8, 8\), a sample without a batch; .* give x\[None\]"),
        (images()[:0], "N > 0"),
        (images().int(), "x must be a floating-point tensor, got torch.int32"),
        (images() / 0, "NaN or infinite"),
        ([1.0], r"x must be a floating-point tensor of shape .* got list; give torch.stack\(x\)"),
        (images().numpy(), r"got ndarray; give torch.from_numpy\(x\)"),
        (images().to("meta"), "x is a tensor of the meta device"),
        (images().to_sparse(), r"dense tensor, got .*sparse_coo; give x.to_dense\(\)"),
    ):
        with pytest.raises(ValueError, match=message):
            program.run(bad)
    with pytest.raises(ValueError, match="x holds values up to .* the limit is 1.07e\\+09"):
        program.run(images() * 1e12, backend="crypten")
