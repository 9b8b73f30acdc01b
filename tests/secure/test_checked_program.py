"""A program whose client is checked: what it can be, where it runs, and that no file or digest takes it for another."""

import dataclasses
import json

import pytest
import torch
from native_runs import compiled
from networks import images, replace
from torch import nn

import autorep_fx as ar
from autorep_fx.errors import CompileError, FormatError
from autorep_fx.secure.plan.validate import check_plan
from autorep_fx.secure.program.plaintext import execute


@pytest.fixture(scope="module")
def x():
    return images(8, size=4)


@pytest.fixture(scope="module")
def program(x):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
    return compiled(model, x, lambda gm: replace(gm, 0.5), checked=True)


def test_a_checked_program_has_rings_of_32_bits_and_another_digest(program):
    plan = program.plan()
    assert program.checked and plan.checked
    assert {step.width for step in plan.steps} == {32}
    assert plan.digest() != dataclasses.replace(plan, checked=False).digest()


def test_files_say_that_a_program_is_checked(program, tmp_path):
    program.save(tmp_path)
    assert ar.SecureProgram.load(tmp_path).plan().digest() == program.plan().digest()
    public = json.loads((tmp_path / "public.json").read_text())
    for wrong in (1, "true", None):
        (tmp_path / "public.json").write_text(json.dumps({**public, "checked": wrong}))
        with pytest.raises(FormatError, match="whether its plan is checked"):
            ar.SecureProgram.load(tmp_path)
    del public["checked"]  # and the server's part is of another program then
    (tmp_path / "public.json").write_text(json.dumps(public))
    with pytest.raises(FormatError, match="belongs to another program"):
        ar.SecureProgram.load(tmp_path)


def test_what_cannot_check_a_client_does_not_run_a_checked_program(program, x):
    with pytest.raises(ValueError, match="'crypten' cannot run a checked program"):
        program.run(x, backend="crypten")
    with pytest.raises(ValueError, match="comparison='gmw': a checked program compares by 'fss'"):
        program.run(x, comparison="gmw")
    for use in (program.run, program.session, program.cost, program.plan):
        with pytest.raises(ValueError, match="a checked program needs a dealer"):
            use(*([x] if use == program.run else []), dealer=False)


def test_compile_says_where_a_checked_program_has_no_room(x):
    layers = [nn.Linear(48, 48), nn.ReLU()] * 6
    with pytest.raises(CompileError, match="checked=True needs rings of 32 bits.* (at|from step) '.*margin_bits"):
        compiled(nn.Sequential(nn.Flatten(), *layers), x, checked=True, ranges="worst")


@pytest.mark.parametrize("change, message", [
    ({"width": 64}, "must be in a ring of 32 bits|reads 32 bits"),
    ({"comparison": "gmw"}, "must compare by 'fss'"),
])  # fmt: skip
def test_a_party_takes_no_checked_plan_that_cannot_be(program, change, message):
    plan = program.plan()
    i = next(i for i, step in enumerate(plan.steps) if step.attrs.get("comparison"))
    attrs = {**plan.steps[i].attrs, **{k: v for k, v in change.items() if k == "comparison"}}
    bad = dataclasses.replace(plan.steps[i], width=change.get("width", 32), attrs=attrs)
    with pytest.raises(FormatError, match=message):
        check_plan(dataclasses.replace(plan, steps=(*plan.steps[:i], bad, *plan.steps[i + 1 :])))


def test_a_checked_program_runs_in_processes_and_costs_more(program, x):
    with program.session() as session:
        results = [session.run(x[:2]) for _ in range(2)]
    wanted = execute(program, x[:2])
    for result in results:
        assert float((result.output - wanted).abs().max()) < 0.05
    unchecked = dataclasses.replace(program, base_plan=dataclasses.replace(program.base_plan, checked=False))
    for phase in ("online_seconds", "offline_seconds", "rounds"):
        assert getattr(program.cost(), phase) > getattr(unchecked.cost(comparison="fss"), phase)
    assert program.cost(batch=2).rounds == results[0].stats.online.rounds
