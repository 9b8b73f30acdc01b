"""What a model returns, of whatever form, and what the client does last."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from native_runs import compiled
from networks import OfInput, images, lower
from torch import nn

import autorep_fx as ar
from autorep_fx import SecureProgram
from autorep_fx.errors import CompileError, FormatError, MissingDependency
from autorep_fx.graph.names import ALONG
from autorep_fx.secure.crypten.compat import load_crypten
from autorep_fx.secure.program.outputs import FINISHES, assemble, check_form
from autorep_fx.secure.program.plaintext import execute


class Heads(nn.Module):
    """Two heads, and one of them in two forms, in one another."""

    def __init__(self):
        super().__init__()
        self.stem, self.small, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 1), nn.Sigmoid()

    def forward(self, x):
        x = self.stem(x).relu()
        y = self.small(x)
        return OrderedDict(out=y, mask=self.last(y), more=(None, [x.mean((2, 3)).log_softmax(-1)]), same=y)


def heads():
    torch.manual_seed(0)
    return Heads()


def leaves(value):
    if isinstance(value, dict):
        return [("dict", *value)] + [leaf for each in value.values() for leaf in leaves(each)]
    if isinstance(value, (tuple, list)):
        return [type(value).__name__] + [leaf for each in value for leaf in leaves(each)]
    return [value]


def hold(found, wanted, atol):
    assert len(leaves(found)) == len(leaves(wanted))
    for a, b in zip(leaves(found), leaves(wanted)):
        if isinstance(b, torch.Tensor):
            assert a.dtype == b.dtype
            torch.testing.assert_close(a, b, rtol=0, atol=atol)
        else:
            assert a == b


@pytest.mark.parametrize(
    "last",
    [
        nn.Softmax(1), nn.Softmax(-1), nn.Softmax2d(), nn.LogSoftmax(3), nn.Sigmoid(), nn.LogSigmoid(), nn.Tanh(),
        OfInput(lambda x: F.softmax(x)), OfInput(lambda x: F.softmax(x, dim=2)), OfInput(lambda x: x.softmax(-2)),
        OfInput(lambda x: torch.sigmoid(x)), OfInput(lambda x: torch.log_softmax(input=x, dim=1)),
        OfInput(lambda x: x.tanh().sigmoid()),
    ],
    ids=str,
)  # fmt: skip
def test_the_last_function_is_the_client_s(last):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), last).eval()
    gm = ar.transform(model, example_inputs=images())
    assert len(ar.sites(gm)) == 1 and torch.equal(gm(images()), model(images()))
    program, _ = lower(gm, images())
    assert [step.op for step in program.steps] == ["conv2d", "hybrid"]
    y = assemble(program.public.form, execute(program, images()), torch.float32)
    torch.testing.assert_close(y, model(images()), rtol=0, atol=1e-5)


def test_the_last_functions_are_torch_s_to_the_last_digits():
    """In float64, on whatever numbers; and of arrays there are arrays."""
    x = 10 * torch.randn(2, 3, 54, dtype=torch.float64)
    x[..., :2], x[..., 2:4] = 1e3, -1e3
    wanted = {"softmax": x.softmax(2), "log_softmax": x.log_softmax(2), "sigmoid": x.sigmoid(),
              "logsigmoid": F.logsigmoid(x), "tanh": x.tanh()}  # fmt: skip
    assert {*wanted} == {*FINISHES}
    for name, values in wanted.items():
        form = {"list": [{"tensor": [0, [3, 54], [[name, 2 if name in ALONG else 0]]]}]}
        (found,) = assemble(form, x, torch.float64)
        torch.testing.assert_close(found, values, rtol=1e-13, atol=1e-300)
        (array,) = assemble(form, x.numpy(), np.float32)
        assert array.dtype == np.float32 and np.array_equal(array, found.float().numpy())


def test_what_is_read_again_is_a_site():
    gm = ar.transform(OfInput(lambda x: (lambda y: y * x.mean((2, 3), keepdim=True))(x.sigmoid())))
    assert len(ar.sites(gm)) == 1


def test_outputs_of_every_form():
    program, _ = lower(heads(), images())
    assert [step.op for step in program.steps][-3:] == ["reshape", "reshape", "cat"]  # each value once
    assert program.public.output_shape == (2 * 64 + 4,)
    hold(assemble(program.public.form, execute(program, images()), torch.float32), dict(heads()(images())), 1e-5)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda x: (x + 1, 3), "returns int"),
        (lambda x: {1: x + 1}, "strings as keys"),
        (lambda x: (x + 1, torch.zeros(2)), "does not depend on the input"),
        (lambda x: (x + 1).softmax(0), "softmax of 'softmax' goes along the batch"),
        (lambda x: F.softmax(x.mean((2, 3), keepdim=False)[:, 0]), "goes along the batch"),
    ],
)
def test_what_cannot_be_returned(returned, message):
    with pytest.raises(CompileError, match=message):
        lower(OfInput(returned), images())


@pytest.mark.parametrize("backend", ["native", "crypten"])
def test_a_private_run_returns_what_the_model_returns(backend, tmp_path, forked):
    compiled(heads(), images()).save(tmp_path)
    program = SecureProgram.load(tmp_path)
    if backend == "crypten":
        try:
            load_crypten()
        except MissingDependency as missing:
            pytest.skip(str(missing))
    hold(program.run(images(), backend=backend).output, dict(heads()(images())), 0.01)


@pytest.mark.parametrize(
    "form",
    [
        {"tensor": [0, [5], []]},
        {"tensor": [-1, [2], []]},
        {"tensor": [0, [2], [["exec", 0]]]},
        {"tensor": [0, [2], [["softmax", 0]]]},
        {"tensor": [0, [2], [["softmax", 2]]]},
        {"tensor": [0, [2], [["tanh", 1]]]},
        {"tensor": [0, [2], [["tanh", False]]]},
        {"tensor": [0.0, [2], []]},
        {"tensor": [0, [2]]},
        {"tensor": 3},
        {"tuple": {}},
        {"dict": []},
        {"none": 1},
        {"set": []},
        {"list": [{"tuple": [{"tensor": [3, [2], []]}]}]},
        {"none": None, "tuple": []},
        [],
        "tensor",
    ],
)
def test_forms_from_elsewhere(form):
    with pytest.raises(FormatError, match="the output's form"):
        check_form(form, 4)


def test_a_deep_form():
    form = {"none": None}
    for _ in range(100_000):
        form = {"list": [form]}
    with pytest.raises(FormatError, match="the output's form"):
        check_form(form, 4)
    while "list" in form:  # Python would take it apart by recursion
        (form,) = form["list"]


def test_forms():
    for form in (None, {"none": None}, {"tuple": [{"tensor": [1, [3], [["softmax", 1], ["tanh", 0]]]}]}, {"dict": {}}):
        check_form(form, 4)
