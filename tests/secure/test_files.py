import json

import numpy as np
import pytest
import torch
from native_runs import compiled
from networks import Everything, images, replace
from torch import nn

from autorep_fx import SecureProgram
from autorep_fx.errors import FormatError
from autorep_fx.secure.files import load_plan
from autorep_fx.secure.host.threads import run
from autorep_fx.secure.plaintext import execute


@pytest.fixture
def program():
    model = Everything()
    model.prelu = nn.LeakyReLU(0.2)
    return compiled(model, images(), lambda gm: replace(gm, 0.5))


def test_a_program_comes_back_as_it_was(program, tmp_path):
    program.save(tmp_path)
    again, x = SecureProgram.load(tmp_path), images(2, seed=3)
    assert str(again) == str(program) and again.reach.keys() == program.reach.keys()
    torch.testing.assert_close(execute(again, x), execute(program, x), rtol=0, atol=0)
    (plan, numbers), (before, _) = again.native, program.native
    assert plan.digest() == before.digest() == load_plan(tmp_path).digest() and str(plan) == str(before)
    output = run(load_plan(tmp_path), numbers, x.double().numpy())[0].output
    np.testing.assert_allclose(output, execute(program, x).numpy(), rtol=0, atol=0.02)


def test_the_public_files_hold_no_private_number(program, tmp_path):
    program.save(tmp_path)
    public = (tmp_path / "public.json").read_bytes() + (tmp_path / "public.safetensors").read_bytes()
    for value in program.server.values():
        for number in value.flatten()[:50].tolist():
            assert number == 0 or repr(number).encode() not in public
    for own in program.native[1].values():
        if own.weight is not None:
            assert own.weight.tobytes() not in public


def damage(folder, change):
    public = json.loads((folder / "public.json").read_text())
    change(public)
    (folder / "public.json").write_text(json.dumps(public))


@pytest.mark.parametrize("change, message", [
    (lambda p: p.update(format="x"), "not a program"),
    (lambda p: p.update(version=9), "version 9, this is 1; compile the model again"),
    (lambda p: p.update({"plan version": 9}), "plan is of version 9"),
    (lambda p: p["plan"].pop(), "belongs to another program"),
    (lambda p: p["plan"].append({"code": "x"}), "plan is damaged"),
    (lambda p: p["program"].pop("steps"), "is damaged"),
])  # fmt: skip
def test_damaged_files(program, tmp_path, change, message):
    program.save(tmp_path)
    damage(tmp_path, change)
    with pytest.raises(FormatError, match=message):
        SecureProgram.load(tmp_path)


def test_missing_files(program, tmp_path):
    with pytest.raises(FormatError, match="no program at"):
        SecureProgram.load(tmp_path)
    program.save(tmp_path)
    (tmp_path / "server.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(FormatError, match="cannot be read"):
        SecureProgram.load(tmp_path)
