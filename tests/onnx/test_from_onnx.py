"""Networks of ONNX files compute what the files say, as modules of torch with names and weights of their own."""

import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import FormatError, MissingDependency, TraceError

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

#: float32 in another order of summation, over some hundreds of terms of size 1.
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def written(path, nodes, inputs, outputs, weights=(), opset=17):
    """A file of these nodes; inputs and outputs by name and shape, weights by name and array."""
    inputs, outputs = ([helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in ends.items()]
                       for ends in (inputs, outputs))  # fmt: skip
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in dict(weights).items()]
    graph = helper.make_graph(nodes, "net", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return path


def numbers(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def one(tmp_path, op, shape, *constants, opset=17, outputs=1, **attributes):
    """A file of one node, whose inputs behind the first are constants; None for one that is left out."""
    names = ["x", *("" if c is None else f"c{i}" for i, c in enumerate(constants))]
    results = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, names, results, name="the_node", **attributes)
    weights = {f"c{i}": c for i, c in enumerate(constants) if c is not None}
    return written(tmp_path / "one.onnx", [node], {"x": ["n", *shape]}, dict.fromkeys(results), weights, opset)


def whole(*values):
    return np.array(values, np.int64)


def number(value):
    return np.array(value, np.float32)


KERNEL = {"kernel_shape": [3, 3]}
ONES = [
    ("Conv", (4, 9, 9), (numbers(6, 2, 3, 3), numbers(6)), {"group": 2, "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("Conv", (3, 9, 8), (numbers(4, 3, 3, 3),), {"strides": [2, 1]}),
    ("Conv", (3, 12), (numbers(4, 3, 3), numbers(4)), {"pads": [2, 0], "dilations": [2]}),
    ("ConvTranspose", (4, 5, 5), (numbers(4, 3, 3, 3), numbers(3)), {"strides": [2, 2], "pads": [0, 0, 1, 1]}),
    ("ConvTranspose", (4, 5, 5), (numbers(4, 3, 2, 2),), {"strides": [2, 2], "output_padding": [1, 1]}),
    ("Gemm", (5,), (numbers(3, 5), numbers(3)), {"transB": 1}),
    ("Gemm", (5,), (numbers(5, 3), number(0.37)), {"alpha": 0.5, "beta": 2.0}),
    ("MatMul", (4, 5), (numbers(5, 3),), {}),
    ("BatchNormalization", (3, 4, 4), (numbers(3), numbers(3), numbers(3), abs(numbers(3)) + 0.5), {}),
    ("InstanceNormalization", (3, 4, 4), (numbers(3), numbers(3)), {}),
    ("LayerNormalization", (3, 4), (numbers(4), numbers(4)), {"axis": -1}),
    ("MaxPool", (2, 9, 9), (), {**KERNEL, "strides": [2, 2], "pads": [0, 0, 1, 1]}),
    ("MaxPool", (2, 9, 9), (), {**KERNEL, "strides": [2, 2], "pads": [1, 1, 0, 0]}),
    ("MaxPool", (2, 8, 8), (), {**KERNEL, "strides": [2, 2], "ceil_mode": 1}),
    ("AveragePool", (2, 9, 9), (), {**KERNEL, "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("AveragePool", (2, 9, 9), (), {**KERNEL, "pads": [0, 1, 1, 0], "count_include_pad": 1}),
    ("GlobalAveragePool", (3, 4, 4), (), {}),
    ("GlobalMaxPool", (3, 4, 4), (), {}),
    ("PRelu", (3, 4, 4), (numbers(3, 1, 1),), {}),
    ("PRelu", (3, 4), (numbers(3, 4),), {}),
    ("Clip", (4,), (number(0), number(6)), {}),
    ("Clip", (4,), (None, number(0.5)), {}),
    ("HardSigmoid", (4,), (), {"alpha": 0.2, "beta": 0.5}),
    ("HardSigmoid", (4,), (), {"alpha": 1 / 6}),
    *((name, (4,), (), {}) for name in ("Relu", "Sigmoid", "Tanh", "HardSwish", "Softplus", "Softsign", "Elu", "Selu",
                                        "Celu", "LeakyRelu", "ThresholdedRelu", "Abs", "Neg", "Exp", "Erf", "Floor")),
    ("Softmax", (3, 4), (), {"axis": 1}),
    ("LogSoftmax", (3, 4), (), {}),
    ("Add", (3, 4), (numbers(4),), {}),
    ("Sub", (3, 4), (number(2.5),), {}),
    ("Div", (3, 4), (abs(numbers(3, 1)) + 1,), {}),
    ("Pow", (4,), (number(2),), {}),
    ("Max", (4,), (number([0.1]), numbers(1, 4)), {}),
    ("ReduceMean", (3, 4, 5), (), {"axes": [2, 3], "keepdims": 0}),
    ("ReduceL2", (3, 4), (), {"axes": [-1]}),
    ("ReduceSum", (3, 4), (whole(1),), {}),
    ("ArgMax", (4,), (), {"axis": 1, "keepdims": 0}),
    ("Flatten", (3, 4), (), {}),
    ("Reshape", (3, 4), (whole(0, -1, 2),), {}),
    ("Reshape", (3, 4), (whole(-1, 6, 2),), {}),
    ("Squeeze", (4, 1, 1), (whole(2, 3),), {}),
    ("Unsqueeze", (4,), (whole(1, 3),), {}),
    ("Transpose", (3, 4, 5), (), {"perm": [0, 2, 3, 1]}),
    ("Slice", (6, 7), (whole(1, 0), whole(-1, 2**62), whole(1, 2), whole(2, 3)), {}),
    ("Gather", (6, 3), (whole(4, -6, 2),), {"axis": 1}),
    ("Gather", (6, 3), (np.int64(-1),), {"axis": 1}),
    ("Pad", (2, 4, 4), (whole(0, 0, 1, 2, 0, 0, 0, 1), number(0.5)), {}),
    ("Pad", (2, 4, 4), (whole(0, 0, 1, 2, 0, 0, 0, 1),), {"mode": "reflect"}),
    ("Expand", (1, 4), (whole(1, 3, 4),), {}),
    ("Tile", (2, 3), (whole(1, 2, 1),), {}),
    ("Concat", (2, 3), (), {"axis": 1}),
    ("DepthToSpace", (8, 2, 3), (), {"blocksize": 2}),
    ("DepthToSpace", (8, 2, 3), (), {"blocksize": 2, "mode": "CRD"}),
    ("SpaceToDepth", (2, 4, 6), (), {"blocksize": 2}),
    ("Resize", (2, 3, 4), (None, number([1, 1, 2, 2])), {"coordinate_transformation_mode": "asymmetric",
                                                         "nearest_mode": "floor"}),
    ("Resize", (2, 3, 4), (None, number([1, 1, 2, 2])), {"mode": "linear"}),
    ("Resize", (2, 3, 4), (None, number([1, 1, 2, 3])), {"mode": "linear",
                                                         "coordinate_transformation_mode": "align_corners"}),
]  # fmt: skip


@pytest.mark.parametrize("op, shape, constants, attributes", ONES, ids=[f"{o[0]}-{i}" for i, o in enumerate(ONES)])
def test_each_operator_is_what_the_reference_of_onnx_computes(tmp_path, op, shape, constants, attributes):
    path = one(tmp_path, op, shape, *constants, **attributes)
    x = numbers(3, *shape)
    expected = ReferenceEvaluator(str(path)).run(None, {"x": x})[0]
    torch.testing.assert_close(ar.from_onnx(path)(torch.from_numpy(x)), torch.from_numpy(np.asarray(expected)), **CLOSE)


def test_older_operator_sets_have_attributes_where_newer_ones_have_inputs(tmp_path):
    x = numbers(2, 3, 4)
    for op, opset, attributes in [("Clip", 6, {"min": 0.0, "max": 6.0}), ("Squeeze", 11, {"axes": [1]}),
                                  ("Slice", 9, {"starts": [1], "ends": [3], "axes": [2]}),
                                  ("Pad", 2, {"pads": [0, 0, 1, 0, 0, 2]}),
                                  ("Split", 11, {"axis": 2, "split": [1, 3]})]:  # fmt: skip
        shape = (1, 4) if op == "Squeeze" else (3, 4)
        path = one(tmp_path, op, shape, opset=max(opset, 7), outputs=2 if op == "Split" else 1, **attributes)
        given = x[:, : shape[0]]
        found = ar.from_onnx(path)(torch.from_numpy(given))
        expected = ReferenceEvaluator(str(path)).run(None, {"x": given})
        for mine, theirs in zip(found if op == "Split" else (found,), expected):
            torch.testing.assert_close(mine, torch.from_numpy(theirs), **CLOSE)


@pytest.mark.parametrize("where, pads", [("SAME_UPPER", (0, 1, 1, 1)), ("SAME_LOWER", (1, 0, 1, 1))])
def test_automatic_paddings_put_what_is_odd_at_one_end(tmp_path, where, pads):
    weight, x = numbers(4, 3, 3, 3), torch.randn(2, 3, 9, 8)
    net = ar.from_onnx(one(tmp_path, "Conv", (3, 9, 8), weight, auto_pad=where, strides=[2, 2]))
    torch.testing.assert_close(net(x), F.conv2d(F.pad(x, pads), torch.from_numpy(weight), stride=2), **CLOSE)


def test_parts_of_attention_are_taken_before_the_batch_moves(tmp_path):
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["a"]),
             helper.make_node("Transpose", ["a"], ["b"], perm=[2, 0, 3, 1, 4]),
             helper.make_node("Gather", ["b", "zero"], ["q"], axis=0),
             helper.make_node("Slice", ["b", "one", "two", "first"], ["c"]),
             helper.make_node("Squeeze", ["c", "first"], ["k"]),
             helper.make_node("Split", ["b"], ["d", "e", "f"], axis=0),
             helper.make_node("Squeeze", ["f", "first"], ["v"]),
             helper.make_node("Concat", ["q", "k", "v"], ["y"], axis=3)]  # fmt: skip
    weights = {"shape": whole(0, 5, 3, 2, 4), "zero": np.int64(0), "one": whole(1), "two": whole(2), "first": whole(0)}
    path = written(tmp_path / "net.onnx", nodes, {"x": ["n", 5, 24]}, {"y": None}, weights)
    net, x = ar.from_onnx(path), torch.randn(3, 5, 24)
    q, k, v = x.reshape(3, 5, 3, 2, 4).permute(2, 0, 3, 1, 4)
    assert torch.equal(net(x), torch.cat((q, k, v), 3))
    moves = [node.args[1] for node in net.graph.nodes if node.target is torch.permute and node.users]
    assert moves == [(0, 2, 1, 3)] * 3


def test_numbers_of_samples_get_an_axis(tmp_path):
    nodes = [helper.make_node("ReduceMax", ["x"], ["m"], axes=[1], keepdims=0),
             helper.make_node("Reshape", ["m", "shape"], ["y"])]  # fmt: skip
    path = written(tmp_path / "net.onnx", nodes, {"x": ["n", 4]}, {"y": None}, {"shape": whole(0, 1)})
    x = torch.randn(3, 4)
    assert torch.equal(ar.from_onnx(path)(x), x.amax(1, keepdim=True))


def test_an_older_softmax_is_over_all_axes_behind_its_own(tmp_path):
    x = torch.randn(2, 3, 4)
    found = ar.from_onnx(one(tmp_path, "Softmax", (3, 4), opset=11))(x)
    torch.testing.assert_close(found, x.flatten(1).softmax(1).reshape(x.shape))


def test_local_response_is_normalised_over_neighbouring_channels(tmp_path):
    x = torch.randn(2, 5, 3)
    found = ar.from_onnx(one(tmp_path, "LRN", (5, 3), size=3, alpha=0.3))(x)
    squares = F.pad(x.square(), (0, 0, 1, 1))
    torch.testing.assert_close(found, x / (1 + 0.1 * (squares[:, :-2] + squares[:, 1:-1] + squares[:, 2:])) ** 0.75)


class Gated(nn.Module):
    """Convolutions with batch norm, a gate, a shuffle of channels, a reshape, two heads."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.Hardswish())
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.Hardsigmoid())
        self.slope = nn.PReLU(8)
        self.classes, self.box = nn.Linear(128, 5), nn.Linear(128, 4)

    def forward(self, x):
        x = self.features(x)
        x = self.slope(x * self.gate(x))
        x = x.reshape(x.shape[0], 2, 4, *x.shape[2:]).transpose(1, 2).reshape(x.shape)
        x = F.max_pool2d(x, 2).flatten(1)
        return self.classes(x), self.box(x)


def network():
    torch.manual_seed(0)
    model = Gated()
    model(torch.randn(16, 3, 16, 16))
    return model.eval()


def exported(model, x, path, **options):
    pytest.importorskip("onnxscript", reason="torch.onnx.export needs onnxscript")
    quiet = {} if options.get("dynamo") is False else {"verbose": False}
    torch.onnx.export(model, (x,), path, **options, **quiet)
    return path


@pytest.fixture(scope="module")
def gated(tmp_path_factory):
    """A network and its file, which was written for one sample."""
    model = network()
    return model, exported(model, torch.randn(1, 3, 16, 16), tmp_path_factory.mktemp("gated") / "gated.onnx")


def test_an_export_for_one_sample_answers_batches_of_any_size(gated):
    model, path = gated
    net = ar.from_onnx(path)
    for n in (1, 2, 7):
        x = torch.randn(n, 3, 16, 16)
        torch.testing.assert_close(net(x), model(x), **CLOSE)


def test_names_and_shapes_of_weights_are_those_of_the_network(gated):
    model, path = gated
    mine, theirs = ar.from_onnx(path).state_dict(), model.state_dict()
    assert {name for name in theirs if "features.1" not in name} <= {*mine}  # the batch norm is in the convolution
    torch.testing.assert_close(mine["gate.1.weight"], theirs["gate.1.weight"], rtol=0, atol=0)
    assert "features.2" in ar.sites(ar.transform(ar.from_onnx(path), example_inputs=torch.randn(2, 3, 16, 16)))


def test_weights_train(gated):
    net = ar.from_onnx(gated[1])
    assert all(p.requires_grad for p in net.parameters()) and not net.training
    sum(head.square().sum() for head in net(torch.randn(2, 3, 16, 16))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_the_older_exporter_and_an_open_batch(tmp_path):
    model, x = network(), torch.randn(5, 3, 16, 16)
    for options in ({"dynamo": False}, {"dynamo": False, "dynamic_axes": {"in": {0: "n"}}, "input_names": ["in"]}):
        net = ar.from_onnx(exported(model, x[:1], tmp_path / "old.onnx", **options))
        torch.testing.assert_close(net(x), model(x), **CLOSE)


def test_families_of_the_package_survive_an_export(tmp_path):
    for model in (ar.models.resnet_cifar(8), ar.models.wide_resnet(10, 1)):
        model, x = model.eval(), torch.randn(3, 3, 8, 8)
        net = ar.from_onnx(exported(model, x[:1], tmp_path / "net.onnx", dynamo=False))
        torch.testing.assert_close(net(x), model(x), **CLOSE)
        of_file, of_model = (ar.transform(each, example_inputs=x) for each in (net, model))
        assert ar.relu_count(of_file) == ar.relu_count(of_model)


def test_a_module_that_was_not_transformed_is_told_to_be(gated):
    net = ar.from_onnx(gated[1])
    with pytest.raises(
        ar.CompileError, match="'features_2' .*is no site; give the model to autorep_fx.transform first"
    ):
        ar.compile(net, torch.rand(4, 3, 16, 16))


def test_it_runs_privately_with_the_decision_of_the_plaintext(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Hardswish(), nn.Flatten(), nn.Linear(144, 3)).eval()
    x = torch.randn(12, 1, 8, 8)
    net = ar.from_onnx(exported(model, x[:1], tmp_path / "net.onnx"))
    program = ar.compile(ar.transform(net, example_inputs=x[:2]), x)
    assert torch.equal(program.run(x[:4]).output.argmax(1), model(x[:4]).argmax(1))


def test_shapes_that_the_file_computes_are_known_before_there_is_an_input(tmp_path):
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Slice", ["shape", "zero", "one"], ["batch"]),
        helper.make_node("Concat", ["batch", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
        helper.make_node("Shape", ["y"], ["again"]),
        helper.make_node("ConstantOfShape", ["again"], ["ones"], value=helper.make_tensor("v", 1, [1], [1.0])),
        helper.make_node("Concat", ["y", "ones"], ["z"], axis=1),
    ]
    weights = {"zero": whole(0), "one": whole(1), "rest": whole(3, -1)}
    path = written(tmp_path / "net.onnx", nodes, {"x": ["n", 2, "h", "w"]}, {"z": None}, weights)
    net = ar.from_onnx(path, input_shapes=(1, 2, 3, 4))
    x = torch.randn(4, 2, 3, 4)
    assert torch.equal(net(x), torch.cat((x.reshape(4, 3, 8), torch.ones(4, 3, 8)), 1))
    assert "shape" not in net.code.replace("reshape", "")


def test_a_choice_that_depends_on_shapes_is_made(tmp_path):
    yes, no = (helper.make_graph([helper.make_node(op, ["x"], ["r"])], op, [], [helper.make_tensor_value_info(
        "r", TensorProto.FLOAT, None)]) for op in ("Relu", "Neg"))  # fmt: skip
    nodes = [helper.make_node("Size", ["w"], ["size"]), helper.make_node("Greater", ["size", "two"], ["large"]),
             helper.make_node("If", ["large"], ["y"], then_branch=yes, else_branch=no)]  # fmt: skip
    path = written(tmp_path / "net.onnx", nodes, {"x": ["n", 4]}, {"y": None}, {"w": numbers(3), "two": np.int64(2)})
    x = torch.randn(3, 4)
    assert torch.equal(ar.from_onnx(path)(x), x.relu())


def test_a_written_number_is_no_weight_and_a_learned_one_is(tmp_path):
    nodes = [helper.make_node("Mul", ["x", "scale"], ["a"]), helper.make_node("Add", ["a", "three"], ["b"]),
             helper.make_node("Clip", ["b", "low", "high"], ["c"]), helper.make_node("Mul", ["a", "c"], ["d"]),
             helper.make_node("Div", ["d", "six"], ["y"])]  # fmt: skip
    weights = {"scale": number([0.7346219]), "three": number([3]), "six": number([6]), "low": number(0),
               "high": number(6)}  # fmt: skip
    path = written(tmp_path / "net.onnx", nodes, {"x": ["n", 2, 3, 3]}, {"y": None}, weights)
    net, x = ar.from_onnx(path), torch.randn(2, 2, 3, 3)
    assert [*net.state_dict()] == ["scale"]
    torch.testing.assert_close(net(x), F.hardswish(0.7346219 * x))
    assert [site.activation.kind for site in ar.sites(ar.transform(net, example_inputs=x)).values()] == ["hardswish"]


def test_layers_share_matrices_but_not_equal_biases(tmp_path):
    nodes = [helper.make_node("Gemm", ["x", "w.weight", "zeros"], ["a"], transB=1),
             helper.make_node("Gemm", ["a", "v.weight", "zeros"], ["b"], transB=1),
             helper.make_node("Gemm", ["b", "w.weight", "zeros"], ["y"], transB=1)]  # fmt: skip
    weights = {"w.weight": numbers(3, 3), "v.weight": numbers(3, 3), "zeros": np.zeros(3, np.float32)}
    net = ar.from_onnx(written(tmp_path / "net.onnx", nodes, {"x": ["n", 3]}, {"y": None}, weights))
    assert [*net.state_dict()] == ["w.weight", "w.bias", "v.weight", "v.bias"]
    assert net.w.bias is not net.v.bias


def test_weights_of_half_precision_become_float32(tmp_path):
    path = one(tmp_path, "Gemm", (4,), numbers(3, 4).astype(np.float16), transB=1)
    net = ar.from_onnx(path)
    assert {p.dtype for p in net.parameters()} == {torch.float32} and net(torch.randn(2, 4)).dtype == torch.float32


def test_a_bias_that_is_added_belongs_to_its_layer(tmp_path):
    nodes = [helper.make_node("Conv", ["x", "conv.w_0"], ["a"]), helper.make_node("Add", ["a", "conv.b_0"], ["b"]),
             helper.make_node("Flatten", ["b"], ["c"]), helper.make_node("MatMul", ["c", "fc.w_0"], ["d"]),
             helper.make_node("Add", ["fc.b_0", "d"], ["y"])]  # fmt: skip
    weights = {
        "conv.w_0": numbers(2, 3, 3, 3),
        "conv.b_0": numbers(1, 2, 1, 1),
        "fc.w_0": numbers(8, 5),
        "fc.b_0": numbers(5),
    }
    path = written(tmp_path / "net.onnx", nodes, {"x": ["n", 3, 4, 4]}, {"y": None}, weights)
    net, x = ar.from_onnx(path), numbers(2, 3, 4, 4)
    assert [*net.state_dict()] == ["conv.weight", "conv.bias", "fc.weight", "fc.bias"]
    expected = ReferenceEvaluator(str(path)).run(None, {"x": x})[0]
    torch.testing.assert_close(net(torch.from_numpy(x)), torch.from_numpy(expected), **CLOSE)


def test_several_inputs_are_arguments_in_their_order(tmp_path):
    nodes = [helper.make_node("Sub", ["left", "right"], ["y"])]
    path = written(tmp_path / "net.onnx", nodes, {"left": ["n", 3], "right": ["n", "k"]}, {"y": None})
    with pytest.raises(ValueError, match="2 inputs, and input_shapes 1; give them as {name: shape} of left, right"):
        ar.from_onnx(path, input_shapes=(1, 3))
    a, b = torch.randn(2, 2, 3)
    for shapes in ({"right": (1, 3)}, [(1, 3), (1, 3)]):
        net = ar.from_onnx(path, input_shapes=shapes)
        assert torch.equal(net(a, b), a - b)


# --- mistakes --------------------------------------------------------------------------------------------------------


def test_a_file_that_is_none_is_refused_by_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file: .*lost.onnx"):
        ar.from_onnx(tmp_path / "lost.onnx")
    buffer = io.BytesIO()
    torch.save(nn.Linear(2, 2).state_dict(), buffer)
    for data in (b"", b"no network at all", buffer.getvalue()):
        (tmp_path / "net.onnx").write_bytes(data)
        with pytest.raises(FormatError, match="net.onnx is no ONNX file"):
            ar.from_onnx(tmp_path / "net.onnx")


def test_open_sizes_ask_for_shapes(tmp_path):
    path = written(
        tmp_path / "net.onnx", [helper.make_node("Relu", ["x"], ["y"])], {"x": ["n", 3, "h", "w"]}, {"y": None}
    )
    with pytest.raises(
        ValueError, match=r"input 'x' of .*net.onnx is \(\?, 3, \?, \?\).*input_shapes=\(1, 3, 224, 224\)"
    ):
        ar.from_onnx(path)
    for shape, said in [((1, 4, 8, 8), "is .* in the file"), ((1, 3, 8), "is .* in the file"),
                        ((1,), "must be positive"), ((1, 3, 8, -1), "must be positive")]:  # fmt: skip
        with pytest.raises(ValueError, match=said):
            ar.from_onnx(path, input_shapes=shape)
    with pytest.raises(ValueError, match="has no input 'image'; its inputs: x"):
        ar.from_onnx(path, input_shapes={"image": (1, 3, 8, 8)})
    assert ar.from_onnx(path, input_shapes=(1, 3, 8, 8))(torch.randn(2, 3, 8, 8)).min() == 0


def test_operators_that_there_are_none_of_are_named_with_their_nodes(tmp_path):
    nodes = [helper.make_node("LSTM", ["x", "w", "r"], ["a"], name="first", hidden_size=1),
             helper.make_node("Twist", ["a"], ["b"], name="second", domain="com.example"),
             helper.make_node("Twist", ["b"], ["y"], name="third", domain="com.example")]  # fmt: skip
    weights = {"w": numbers(1, 4, 3), "r": numbers(1, 4, 1)}
    path = written(tmp_path / "net.onnx", nodes, {"x": ["n", 2, 3]}, {"y": None}, weights)
    with pytest.raises(TraceError, match=r"none of here: LSTM \('first'\); com.example.Twist \('second', 'third'\)"):
        ar.from_onnx(path)


def test_a_form_that_is_not_supported_names_its_node(tmp_path):
    path = one(tmp_path, "Slice", (4,), whole(3), whole(0), whole(1), whole(-1))
    with pytest.raises(TraceError, match=r"node 'the_node' \(Slice\): goes backwards"):
        ar.from_onnx(path)


def test_samples_that_do_not_stay_apart_are_refused(tmp_path):
    path = one(tmp_path, "ReduceMean", (4,), axes=[0])
    with pytest.raises(TraceError, match="samples of a batch do not stay apart"):
        ar.from_onnx(path)
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    path = written(tmp_path / "net.onnx", nodes, {"x": [4, 6]}, {"y": None}, {"shape": whole(3, 8)})
    with pytest.raises(TraceError, match="numbers for batches of 4.*export it with a batch that is open"):
        ar.from_onnx(path)


def test_weights_beside_the_file_that_are_missing_are_named(tmp_path):
    path = one(tmp_path, "Gemm", (64,), numbers(64, 64))
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    x = torch.randn(2, 64)
    torch.testing.assert_close(ar.from_onnx(path)(x), x @ torch.from_numpy(numbers(64, 64)), **CLOSE)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(FileNotFoundError, match="keeps weights in weights.bin, which must lie beside it"):
        ar.from_onnx(path)


def test_an_old_operator_set_says_how_to_convert(tmp_path):
    path = one(tmp_path, "Relu", (4,), opset=6)
    with pytest.raises(FormatError, match="of operator set 6, and 7 is the oldest.*convert_version"):
        ar.from_onnx(path)


def test_without_the_extra_its_name_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(MissingDependency, match=r"pip install 'autorep-fx\[onnx\]'"):
        ar.from_onnx(tmp_path / "net.onnx")
