"""What a model does last, behind the last private step: the client does it, to the last digits."""

import copy
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import OfInput, images, lower
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import CompileError, FormatError, MissingDependency
from autorep_fx.secure.crypten.compat import load_crypten
from autorep_fx.secure.files import load_published
from autorep_fx.secure.program.outputs import assemble, check_form
from autorep_fx.secure.program.plaintext import execute
from autorep_fx.secure.program.step_json import dumps, loads
from autorep_fx.secure.program.tail.tail import OPERATIONS
from autorep_fx.service.published import terms

P = torch.tensor([[0.5, -1.0, 2.0, 0.25]])


class Ends(nn.Module):
    """Scores (N, 6), and what a model makes of them last."""

    def __init__(self, end):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 12))
        self.register_buffer("anchors", torch.arange(8.0).reshape(2, 4))
        self.weight = nn.Parameter(torch.ones(12))
        self.end = end

    def forward(self, x):
        return self.end(self, self.body(x))


def boxes(m, z):
    """Anchors, offsets and scores of a detector."""
    z = z.reshape(-1, 2, 6)
    at, scores = z[..., :4], z[..., 4:].softmax(-1)
    center = torch.sigmoid(at[..., :2]) * 2 - 0.5 + m.anchors[:, :2]
    size = at[..., 2:].exp() * m.anchors[:, 2:]
    corners = torch.cat([center - size / 2, center + size / 2], -1).clamp(0, 10)
    best, label = scores.max(-1)
    return {"boxes": corners, "scores": best, "labels": label}


ENDS = {
    "reshape": lambda m, z: z.softmax(1).reshape(-1, 3, 4),
    "flatten": lambda m, z: z.reshape(-1, 3, 4).softmax(2).flatten(1),
    "view of the batch": lambda m, z: z.softmax(1).view(z.shape[0], -1, 2),
    "slice": lambda m, z: z.softmax(1)[:, 1::2],
    "one of them": lambda m, z: z.softmax(1)[:, 1],
    "new axis": lambda m, z: z.softmax(1)[:, None].squeeze(1).unsqueeze(2),
    "turned": lambda m, z: z.reshape(-1, 3, 4).softmax(1).transpose(1, 2).permute(0, 2, 1)[..., 1].flip(1),
    "chosen": lambda m, z: z.softmax(1)[:, [3, 0, 5]],
    "index_select": lambda m, z: z.softmax(1).index_select(1, torch.tensor([2, 2, 1])),
    "rolled": lambda m, z: z.softmax(1).roll(2, 1).repeat(1, 2),
    "padded": lambda m, z: F.pad(z.softmax(1), (1, 2)),
    "expanded": lambda m, z: z.softmax(1)[:, :, None].expand(-1, -1, 2) * m.anchors[0, :2],
    "cat": lambda m, z: torch.cat([z, z.softmax(1), -z.sigmoid()], 1),
    "stack": lambda m, z: torch.stack([z, z.log_softmax(1)], 2),
    "heads": lambda m, z: heads(*(z.chunk(3, 1)[i] for i in range(3))),
    "parts": lambda m, z: (z.softmax(1).split([4, 8], 1)[1] * 2, z.softmax(1).chunk(2, 1)[0]),
    "unbind": lambda m, z: z.softmax(1).reshape(-1, 2, 6).unbind(1)[1],
    "sigmoid": lambda m, z: torch.sigmoid(z).reshape(-1, 2, 6) * 3 + 1,
    "argmax": lambda m, z: z.argmax(1),
    "argmin": lambda m, z: z.reshape(-1, 3, 4).argmin(dim=2, keepdim=True),
    "topk": lambda m, z: z.topk(3, 1),
    "smallest": lambda m, z: z.topk(3, dim=1, largest=False)[0],
    "topk of softmax": lambda m, z: z.softmax(1).topk(2).values.flatten(1),
    "sort": lambda m, z: z.sort(1, descending=True),
    "argsort": lambda m, z: z.argsort(1),
    "max": lambda m, z: z.max(1),
    "where it is": lambda m, z: z.max(1).indices,
    "min": lambda m, z: z.softmax(1).min(1)[0],
    "gather": lambda m, z: z.softmax(1).gather(1, z.argsort(1)[:, :3]),
    "normalize": lambda m, z: F.normalize(z, dim=1),
    "normalize l1": lambda m, z: F.normalize(z.reshape(-1, 3, 4), p=1, dim=-1, eps=1e-3),
    "divided by its norm": lambda m, z: z / z.norm(dim=1, keepdim=True),
    "linalg": lambda m, z: torch.linalg.vector_norm(z, dim=1),
    "norm": lambda m, z: z.norm(p=1, dim=1),
    "divided by its sum": lambda m, z: z.exp() / z.exp().sum(1, keepdim=True),
    "divided by a part": lambda m, z: z[:, :2] / (z[:, 2:3] + 3),
    "number over": lambda m, z: 1 / (2 + torch.exp(-z)),
    "cosine": lambda m, z: F.cosine_similarity(z[:, :6], z[:, 6:], dim=1),
    "cosine module": lambda m, z: nn.CosineSimilarity()(z[:, :6], z[:, 6:]),
    "distance": lambda m, z: F.pairwise_distance(z[:, :6], z[:, 6:]),
    "threshold": lambda m, z: z.softmax(1) > 0.1,
    "as numbers": lambda m, z: (z.softmax(1) > 0.1).float().sum(1),
    "as integers": lambda m, z: ((z > 0) & (z < 1)).long(),
    "where": lambda m, z: torch.where(z.softmax(1) > 0.1, z, torch.zeros_like(z)),
    "masked": lambda m, z: z.softmax(1).masked_fill(z > 0.1, -1.0),
    "rounded": lambda m, z: (z.sigmoid() * 255).round().clamp(0, 200),
    "sums": lambda m, z: (z.softmax(1) * torch.arange(12.0)).sum(1) + z.sigmoid().mean(dim=1),
    "logsumexp": lambda m, z: z.logsumexp(1) - z.reshape(-1, 3, 4).logsumexp((1, 2)),
    "powers": lambda m, z: z.softmax(1) ** 2 + z.softmax(1).sqrt() - z.sigmoid().rsqrt() + z.softmax(1).square(),
    "extremes": lambda m, z: torch.maximum(z.softmax(1).amax(1), z.sigmoid().amin(1)),
    "cumulative": lambda m, z: z.softmax(1).cumsum(1) >= 0.5,
    "in place": lambda m, z: z.softmax(1).mul(2).add(1),
    "augmented": lambda m, z: augmented(z),
    "two of them": lambda m, z: (z.argmax(1) + 1, {"p": z.softmax(1), "z": z, "none": None}),
    "attention": lambda m, z: (z[:, :6].softmax(1) * z[:, 6:]).sum(1),
    "boxes": boxes,
}


def heads(*parts):
    return torch.cat([part.softmax(1) for part in parts], 1)


def augmented(z):
    p = z.softmax(1)
    p *= 2
    p += 1
    return p


def leaves(value):
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in leaves(each)]
    if isinstance(value, (tuple, list)):
        return [leaf for each in value for leaf in leaves(each)]
    return [value]


def prepared(end):
    torch.manual_seed(0)
    model = Ends(end).eval()
    gm = ar.transform(model, example_inputs=images())
    return model, gm, lower(gm, images())[0]


@pytest.mark.parametrize("name", ENDS)
def test_what_comes_last_is_the_client_s(name):
    model, gm, program = prepared(ENDS[name])
    assert len(ar.sites(gm)) == 1 and [step.op for step in program.steps][:3] == ["conv2d", "hybrid", "reshape"]
    check_form(program.public.form, int(np.prod(program.public.output_shape)))
    assert loads(dumps(program.public.form), "it") == program.public.form
    opened = execute(program, images())
    found, wanted = (leaves(v) for v in (assemble(program.public.form, opened, torch.float32), model(images())))
    arrays = leaves(assemble(program.public.form, opened.numpy(), np.float32))
    assert len(found) == len(wanted) == len(arrays)
    for y, array, exact in zip(found, arrays, wanted):
        assert exact is None and y is None or y.dtype == exact.dtype and str(array.dtype) in str(y.dtype)
        if exact is not None:
            torch.testing.assert_close(y, exact, rtol=1e-4, atol=1e-5)
            assert np.array_equal(array, y.numpy())


def test_what_is_linear_before_it_stays_the_parties():
    """Nobody learns more than the tail reads."""
    program = prepared(lambda m, z: z[:, 3:5].softmax(1).flatten(1))[2]
    assert program.public.output_shape == (2,)
    program = prepared(lambda m, z: (z.argmax(1), z.softmax(1)[:, :2]))[2]
    assert program.public.output_shape == (12,)  # once


def test_a_gate_is_no_tail():
    """A sigmoid that gates what is private is the parties', and nobody learns what goes into it."""
    gm = prepared(lambda m, z: z[:, :6].sigmoid() * z[:, 6:])[1]
    assert len(ar.sites(gm)) == 2
    gm = prepared(lambda m, z: z * z.sigmoid())[1]
    assert [site.activation.kind for site in ar.sites(gm).values()] == ["relu", "silu"]


def test_weights_are_never_the_client_s():
    """What a parameter is in is private, or refused: a program holds no number of one that everybody may read."""
    assert len(ar.sites(prepared(lambda m, z: z.sigmoid() * m.weight)[1])) == 2
    for end in (lambda m, z: z.log_softmax(1) * m.weight, lambda m, z: z.log_softmax(1) + (m.weight * 2).exp()):
        with pytest.raises(CompileError, match="softmax"):
            prepared(end)


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (lambda m, z: z.softmax(1).sum(), "along the batch"),
        (lambda m, z: z.argmax(), "along the batch"),
        (lambda m, z: z.softmax(1).flip(0), "one sample to another"),
        (lambda m, z: z.norm(p=3, dim=1), "p=3"),
        (lambda m, z: z.softmax(1)[:2], "axis 0 must stay the batch"),
        (lambda m, z: z.reshape(-1, 12, 1).softmax(1) * z.softmax(1)[:, 0], "different number of axes"),
        (lambda m, z: F.pad(z.softmax(1), (1, 1), value=2.0), "pad with zeros"),
    ],
)
def test_what_a_client_cannot_do_names_the_node(end, message):
    with pytest.raises((CompileError, RuntimeError), match=message):
        prepared(end)


@pytest.mark.parametrize("backend", ["native", "crypten"])
def test_a_private_run_ends_with_it(backend, tmp_path, forked):
    """In processes, from a program that was written and read: boxes, scores and places of a detector."""
    if backend == "crypten":
        try:
            load_crypten()
        except MissingDependency as missing:
            pytest.skip(str(missing))
    model, gm, _ = prepared(boxes)
    compiled = ar.compile(gm, images(32))
    compiled.save(tmp_path)
    program = ar.SecureProgram.load(tmp_path)
    assert program.public.form == compiled.public.form
    found, wanted = program.run(images(), backend=backend).output, model(images())
    assert torch.equal(found["labels"], wanted["labels"]) and found["labels"].dtype == torch.int64
    for name in ("boxes", "scores"):
        torch.testing.assert_close(found[name], wanted[name], rtol=0.02, atol=0.02)


def test_a_server_cannot_publish_another_end(tmp_path):
    """What a client is asked to run is checked when it is read, and both sides have one digest of it."""
    program = ar.compile(prepared(boxes)[1], images(32))
    program.save(tmp_path)
    public = json.loads((tmp_path / "public.json").read_text())
    other = copy.deepcopy(public)
    other["output"]["tail"][0][1]["op"] = "system"
    (tmp_path / "public.json").write_text(json.dumps(other))
    with pytest.raises(FormatError, match="of an unknown operation"):
        load_published(tmp_path)
    other = copy.deepcopy(public["output"])
    other["tail"][1]["dict"]["scores"] = other["tail"][1]["dict"]["boxes"]
    assert terms(other, None) != terms(public["output"], None) == terms(program.public.form, None)


def form(*steps, returned="y"):
    rows = [{"name": name, "op": op, "inputs": list(inputs), "shape": list(shape), "attrs": attrs}
            for name, op, inputs, shape, attrs in steps]  # fmt: skip
    return {"tail": [rows, {"value": returned}]}


OPENED = ("x", "opened", (), (4,), {"start": 0})


@pytest.mark.parametrize(
    "form",
    [
        form(OPENED),
        form(OPENED, ("y", "exec", ("x",), (4,), {})),
        form(OPENED, ("y", "__import__", ("x",), (4,), {})),
        form(OPENED, ("y", "softmax", ("x",), (4,), {"dim": 0})),
        form(OPENED, ("y", "softmax", ("x",), (4,), {"dim": 2})),
        form(OPENED, ("y", "softmax", ("x",), (5,), {"dim": 1})),
        form(OPENED, ("y", "softmax", ("x",), (4,), {"dim": 1, "more": 1})),
        form(OPENED, ("y", "exp", ("z",), (4,), {})),
        form(OPENED, ("y", "add", ("x",), (4,), {})),
        form(OPENED, ("x", "exp", ("x",), (4,), {}), returned="x"),
        form(("y", "opened", (), (5,), {"start": 0})),
        form(("y", "opened", (), (3,), {"start": 2})),
        form(("y", "opened", (), (3,), {"start": -1})),
        form(("y", "constant", (), (3,), {"values": [1.0, 2.0]})),
        form(("y", "constant", (), (1,), {"values": ["a"]})),
        form(("y", "constant", (), (2**20, 2**20), {"values": [1.0]})),
        form(OPENED, ("y", "take", ("x",), (1,), {"places": [4]})),
        form(OPENED, ("y", "take", ("x",), (2,), {"places": [0]})),
        form(OPENED, ("y", "cast", ("x",), (4,), {"to": "object"})),
        form(OPENED, ("y", "topk", ("x",), (5,), {"dim": 1, "count": 5, "largest": True, "part": "values"})),
        form(OPENED, ("y", "expand", ("x",), (4, 2**18), {})),
        form(OPENED, *((f"y{i}", "exp", ("x",), (4,), {}) for i in range(5000)), returned="y0"),
        form(OPENED, ("a", "reshape", ("x",), (4, 1), {}),
             *((f"y{i}", "expand", ("a",), (4, 2**24), {}) for i in range(8)), returned="y0"),
        {"tail": [[], {"value": "y"}]},
        {"tail": [[], {"tail": [[], {"none": None}]}]},
        {"tail": {}},
        {"tail": [1, {"none": None}]},
        {"tail": [[1], {"none": None}]},
        {"list": [{"value": "y"}]},
    ],
)  # fmt: skip
def test_tails_from_elsewhere_are_checked_whole(form):
    with pytest.raises(FormatError, match="the output's form"):
        check_form(form, 4)


def test_a_place_that_is_computed_stays_within_its_axis():
    found = form(OPENED, ("i", "cast", ("x",), (4,), {"to": "int64"}), ("y", "gather", ("x", "i"), (4,), {"dim": 1}))
    check_form(found, 4)
    assert assemble(found, np.array([[0.0, 3.0, 2.0, 1.0]]), np.float64).tolist() == [[0.0, 1.0, 2.0, 3.0]]
    with pytest.raises(ValueError, match="step 'y' of the client's takes places beyond axis 1"):
        assemble(found, np.array([[0.0, 4.0, 0.0, 0.0]]), np.float64)


def test_every_operation_of_the_tail_is_tried():
    """By one of the ends above, so that none is there that nothing makes."""
    made = set()
    for end in ENDS.values():
        rows = (prepared(copy.copy(end))[2].public.form or {}).get("tail", [[]])[0]
        made |= {row["op"] for row in rows}
    rare = {"expm1", "log1p", "floor", "ceil", "not", "tanh", "logsigmoid", "or", "eq", "ne", "le", "minimum", "log"}
    assert {*OPERATIONS} - made <= rare
    z = torch.linspace(-2, 2, 12)[None].repeat(2, 1)
    ends = (lambda p: p.expm1(), lambda p: p.log1p(), lambda p: (9 * p).floor(), lambda p: (9 * p).ceil(),
            lambda p: torch.logical_not(p > 0.1), lambda p: p.tanh(), lambda p: F.logsigmoid(p),
            lambda p: (p > 0.5) | (p <= 0.1), lambda p: (9 * p).round() == 1, lambda p: (9 * p).round() != 1,
            lambda p: torch.minimum(p, 1 - p), lambda p: p.log())  # fmt: skip
    model = OfInput(lambda x: [end((x + 0.0).flatten(1)[:, :12].softmax(1)).flatten(1) for end in ends])
    program, _ = lower(model, z[:, None, None])
    found = assemble(program.public.form, execute(program, z[:, None, None]), torch.float32)
    for y, exact in zip(found, model(z[:, None, None])):
        torch.testing.assert_close(y, exact, rtol=1e-4, atol=1e-5)
    assert rare - {row["op"] for row in program.public.form["tail"][0]} <= {"logsigmoid"}
