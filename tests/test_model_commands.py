"""Commands on a model, from weights to a program's cost; each mistake is one line that says what it is."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import autorep_fx as ar
from autorep_fx.cli import main
from autorep_fx.secure.planner.clamp import is_clamped

ROOT = Path(__file__).resolve().parents[1]
MODEL = "resnet_cifar(8, 10, 1)"
PAIR = """\
import torch


class Pair(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = torch.nn.Linear(3, 4), torch.nn.Linear(2, 4)

    def forward(self, left, right):
        return torch.relu(self.a(left) + self.b(right))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Weights of a network, as a state_dict, and arrays of inputs."""
    folder = tmp_path_factory.mktemp("files")
    torch.manual_seed(0)
    torch.save(ar.models.resnet_cifar(8, 10, 1).state_dict(), folder / "net.pt")
    np.save(folder / "x.npy", torch.randn(24, 1, 8, 8).numpy())
    np.save(folder / "bright.npy", 3 + torch.randn(24, 1, 8, 8).numpy())
    np.save(folder / "y.npy", np.arange(24) % 10)
    return folder


def run(capsys, *arguments):
    assert main([*map(str, arguments)]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def test_from_weights_to_a_cost(files, tmp_path, capsys):
    weights = ["--weights", files / "net.pt"]
    report = json.loads(run(capsys, "inspect", MODEL, *weights, "--examples", files / "x.npy", "--json"))
    assert report["relus"]["before"] == 4608 and report["samples"] == 24
    said = run(capsys, "inspect", "autorep_fx.models:resnet_cifar(8, 10, 1)", "--html", tmp_path / "r.html",
               "--examples", files / "x.npy", "--network", "wan", "--budgets")  # fmt: skip
    assert "4,608 ReLUs, all kept" in said and "private inference of one sample" in said
    assert "Other budgets" in (tmp_path / "r.html").read_text()

    hybrid = tmp_path / "hybrid.safetensors"
    printed = run(capsys, "transform", MODEL, *weights, "--calibration", files / "x.npy", "--labels", files / "y.npy",
                  "--relu-budget", 300, "--out", hybrid)  # fmt: skip
    assert "4,608 ReLUs -> 300" in printed
    assert ar.relu_count(ar.load(ar.models.resnet_cifar(8, 10, 1), hybrid)) == 300

    said = run(capsys, "monitor", MODEL, "--weights", hybrid, "--examples", files / "x.npy", "--reference",
               files / "x.npy")  # fmt: skip
    assert said.startswith("no site has drifted (24 samples, beside reference)")
    drift = json.loads(run(capsys, "monitor", MODEL, "--weights", hybrid, "--examples", files / "bright.npy", "--json"))
    assert drift["drifted"] and len(drift["sites"]) == 7

    printed = run(capsys, "compile", MODEL, "--weights", hybrid, "--examples", files / "x.npy", "--out",
                  tmp_path / "program")  # fmt: skip
    assert printed == run(capsys, "cost", tmp_path / "program", "--network", "wan") and "rounds" in printed
    found = json.loads(run(capsys, "cost", tmp_path / "program", "--batch", 8, "--comparison", "gmw", "--json"))
    cost = ar.SecureProgram.load(tmp_path / "program").cost("lan", comparison="gmw", batch=8)
    assert found["rounds"] == cost.rounds and found["online_bytes"] == cost.online
    assert "input" in run(capsys, "cost", tmp_path / "program", "--steps")
    assert "without a dealer" in run(capsys, "cost", tmp_path / "program", "--network", "wan", "--no-dealer")
    run(capsys, "publish", tmp_path / "program", "--out", tmp_path / "public")
    assert sorted(path.name for path in (tmp_path / "public").iterdir()) == ["input.json", "public.json"]


def test_a_state_dict_is_compiled_too(files, tmp_path, capsys):
    run(capsys, "compile", MODEL, "--weights", files / "net.pt", "--examples", files / "x.npy", "--out",
        tmp_path / "program")  # fmt: skip
    model, x = ar.models.resnet_cifar(8, 10, 1).eval(), torch.from_numpy(np.load(files / "x.npy")[:2])
    model.load_state_dict(torch.load(files / "net.pt"))
    answer = ar.SecureProgram.load(tmp_path / "program").run(x).output
    with torch.no_grad():
        torch.testing.assert_close(answer, model(x), atol=0.02, rtol=0)


def test_a_program_is_checked_and_clips_where_that_is_said(tmp_path, capsys, monkeypatch):
    text = "from torch import nn\n\n\ndef tiny():\n    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())\n"
    (tmp_path / "tiny_network.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    np.save(tmp_path / "tiny.npy", torch.randn(16, 1, 4, 4).numpy())
    torch.save(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU()).state_dict(), tmp_path / "tiny.pt")
    for flags, checked, clamped in (([], False, False), (["--checked"], True, True), (["--clamp"], False, True),
                                    (["--checked", "--no-clamp"], True, False)):  # fmt: skip
        run(capsys, "compile", "tiny_network:tiny", "--weights", tmp_path / "tiny.pt", "--examples",
            tmp_path / "tiny.npy", "--out", tmp_path / "program", *flags)  # fmt: skip
        program = ar.SecureProgram.load(tmp_path / "program")
        assert program.checked == checked and is_clamped(program.native[0]) == clamped


def test_of_a_model_of_several_inputs_examples_are_given_once_for_each(tmp_path, capsys, monkeypatch):
    (tmp_path / "pair_network.py").write_text(PAIR)
    monkeypatch.syspath_prepend(tmp_path)
    model, left, right = "pair_network:Pair", torch.randn(20, 3), torch.randn(20, 2)
    for name, x in {"left": left, "right": right, "y": torch.arange(20) % 4}.items():
        np.save(tmp_path / f"{name}.npy", x.numpy())
    torch.save(importlib.import_module("pair_network").Pair().state_dict(), tmp_path / "net.pt")
    both = ["--examples", tmp_path / "left.npy", "--examples", tmp_path / "right.npy"]
    weights = ["--weights", tmp_path / "net.pt"]
    assert "4 ReLUs" in run(capsys, "inspect", model, *weights, *both, "--network", "wan")
    run(capsys, "compile", model, *weights, *both, "--out", tmp_path / "program")
    assert ar.SecureProgram.load(tmp_path / "program").run(left[:2], right[:2]).output.shape == (2, 4)
    run(capsys, "transform", model, *weights, "--calibration", tmp_path / "left.npy", "--calibration",
        tmp_path / "right.npy", "--labels", tmp_path / "y.npy", "--relu-budget", 2, "--out",
        tmp_path / "hybrid.safetensors")  # fmt: skip
    run(capsys, "monitor", model, "--weights", tmp_path / "hybrid.safetensors", *both)
    assert main([*map(str, ["compile", model, *weights, *both[:2], "--out", tmp_path / "none"])]) == 2
    assert "the model takes 2 inputs" in capsys.readouterr().err


def test_mistakes_are_one_line(files, tmp_path, capsys):
    (tmp_path / "text").write_text("no array, no weights")
    np.savez(tmp_path / "several.npz", a=np.zeros(3))
    x, weights = ["--examples", files / "x.npy"], ["--weights", files / "net.pt"]
    for arguments, message in (
        (["inspect", "no_such_model"], "no model 'no_such_model': "),
        (["inspect", "no.such:model"], "no model 'no.such:model': No module named 'no'"),
        (["inspect", "resnet_cifar(9)"], "depth must be 6n + 2"),
        (["inspect", "resnet_cifar(8, x)"], "are not numbers or strings as in JSON"),
        (["inspect", "os:getcwd"], "'os:getcwd' gives a str, not a model"),
        (["inspect", MODEL, "--weights", tmp_path / "none"], "no such weights: "),
        (["inspect", MODEL, "--weights", tmp_path / "text"], "text"),
        (["inspect", "resnet_cifar(14, 10, 1)", *weights], "net.pt is of another model: "),
        (["inspect", MODEL, *weights, "--examples", tmp_path / "none"], "no such array: "),
        (["inspect", MODEL, *weights, "--examples", tmp_path / "text"], "text is no array of NumPy: it holds"),
        (["inspect", MODEL, *weights, "--examples", tmp_path / "several.npz"], "has several arrays"),
        (["inspect", MODEL, *weights, "--examples", files / "y.npy"], "example_inputs is a tensor of shape (24,)"),
        (["inspect", MODEL, *weights, "--network", "wan"], "network needs a program, or example_inputs"),
        (["inspect", MODEL, *weights, *x, "--budgets"], "--budgets needs --html"),
        (["inspect", MODEL, *weights, *x, "--png", tmp_path / "p.png", "--site", "nowhere"], "'nowhere'"),
        (["monitor", MODEL, *weights, *x], "net.pt has no polynomials"),
        (["compile", MODEL, *weights, *x, "--network", "moon", "--out", tmp_path / "p"], "network must be"),
        (["transform", MODEL, *weights, "--calibration", files / "x.npy", "--relu-budget", "9999", "--out",
          tmp_path / "h"], "relu_budget is 9,999"),
        (["cost", tmp_path], "no program at"),
    ):  # fmt: skip
        assert main([*map(str, arguments)]) == 2, arguments
        error = capsys.readouterr().err.strip()
        assert message in error and len(error.splitlines()) == 1, error


def test_help_has_an_example(capsys):
    for command in ("inspect", "transform", "compile", "cost", "monitor", "publish"):
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0 and f"python -m autorep_fx {command} " in capsys.readouterr().out


def test_a_model_of_the_working_directory_is_found_by_the_installed_command(tmp_path):
    """Whose first place to look is the folder that it is installed in."""
    (tmp_path / "mynet.py").write_text("from torch import nn\n\n\ndef MyCNN(n):\n    return nn.Sequential(nn.ReLU())\n")
    code = "import sys; sys.path[0] = '/nowhere'; from autorep_fx.cli import main; sys.exit(main(sys.argv[1:]))"
    found = subprocess.run([sys.executable, "-c", code, "inspect", "mynet:MyCNN(3)"], cwd=tmp_path, text=True,
                           capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert "1 site" in found.stdout or "ReLU" in found.stdout


def test_a_damaged_file_is_not_taken_for_plain_weights(files, tmp_path, capsys):
    model = ar.models.resnet_cifar(8, 10, 1)
    ar.save(ar.transform(model), tmp_path / "net.safetensors")
    data = bytearray((tmp_path / "net.safetensors").read_bytes())
    data[-5] ^= 4
    (tmp_path / "net.safetensors").write_bytes(data)
    assert main(["inspect", MODEL, "--weights", str(tmp_path / "net.safetensors")]) == 2
    assert "net.safetensors is damaged: its content is not what was written" in capsys.readouterr().err


def test_an_onnx_file_needs_neither_a_factory_nor_weights(tmp_path, capsys):
    onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
    from onnx import helper, numpy_helper

    numbers = np.random.default_rng(0)
    weights = {"conv.weight": (4, 1, 3, 3), "fc.weight": (3, 144)}
    nodes = [helper.make_node("Conv", ["x", "conv.weight"], ["a"]), helper.make_node("Relu", ["a"], ["b"]),
             helper.make_node("Flatten", ["b"], ["c"]),
             helper.make_node("Gemm", ["c", "fc.weight"], ["y"], transB=1)]  # fmt: skip
    ends = [
        [helper.make_tensor_value_info(name, 1, shape)] for name, shape in (("x", ["n", 1, "h", "w"]), ("y", ["n", 3]))
    ]
    arrays = [numpy_helper.from_array(numbers.normal(size=s).astype("float32"), n) for n, s in weights.items()]
    onnx.save(helper.make_model(helper.make_graph(nodes, "net", *ends, arrays)), tmp_path / "net.onnx")
    np.save(tmp_path / "x.npy", numbers.normal(size=(12, 1, 8, 8)))

    network = [tmp_path / "net.onnx", "--examples", tmp_path / "x.npy"]
    assert "144 ReLUs" in run(capsys, "inspect", *network)
    assert "rounds" in run(capsys, "compile", *network, "--out", tmp_path / "program")
    assert (tmp_path / "program" / "public.json").is_file()
    run(capsys, "transform", tmp_path / "net.onnx", "--calibration", tmp_path / "x.npy", "--relu-budget", 20, "--out",
        tmp_path / "hybrid.safetensors")  # fmt: skip
    run(capsys, "compile", *network, "--weights", tmp_path / "hybrid.safetensors", "--out", tmp_path / "hybrid")
    assert main(["compile", MODEL, "--examples", str(tmp_path / "x.npy"), "--out", str(tmp_path / "none")]) == 2
    assert "--weights is needed" in capsys.readouterr().err
