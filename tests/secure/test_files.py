import base64
import contextlib
import json
import os
import random
import stat
import struct
import warnings

import numpy as np
import pytest
import torch
from mutations import changed, changed_arrays
from native_runs import compiled
from networks import Everything, images, replace
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import nn

from autorep_fx import SecureProgram
from autorep_fx.errors import CompileError, FormatError, FormatWarning, PartyError
from autorep_fx.secure import files
from autorep_fx.secure.files import load_program, load_published, load_served
from autorep_fx.secure.host.threads import run
from autorep_fx.secure.plan.validate import check_numbers
from autorep_fx.secure.program import step_json
from autorep_fx.secure.program.plaintext import execute


def everything(seed=0):
    torch.manual_seed(seed)
    model = Everything()
    model.prelu = nn.LeakyReLU(0.2)
    return compiled(model, images(), lambda gm: replace(gm, 0.5))


@pytest.fixture(scope="module")
def program():
    return everything()


def server_file(folder):
    (path,) = folder.glob("server-*.safetensors")
    return path


def read_server(folder):
    """(private JSON, metadata, arrays) of the server's part."""
    with safe_open(server_file(folder), "numpy") as file:
        arrays = {key: file.get_tensor(key) for key in file.keys()}
        return json.loads(file.metadata()["private"]), file.metadata(), arrays


def write_server(folder, private, metadata, arrays):
    """As someone would who makes the digests, too."""
    text = {**metadata, "private": json.dumps(private)}
    save_file(arrays, server_file(folder), metadata=files.sealed(unsealed(text), arrays))


def unsealed(metadata):
    return {key: text for key, text in metadata.items() if key not in ("digest", "digests")}


def rewrite_public(folder, text):
    """Write a public part, and let the server's part belong to it, as someone would who makes both."""
    private, metadata, arrays = read_server(folder)
    path, public = server_file(folder), json.loads(text)
    (folder / "public.json").write_text(text)
    path.unlink()
    mark = files._mark(public)
    text = files.sealed({**unsealed(metadata), "public": mark}, arrays)
    save_file(arrays, folder / f"server-{mark[:12]}.safetensors", metadata=text)


def test_a_program_comes_back_as_it_was(program, tmp_path):
    program.save(tmp_path)
    again, x = SecureProgram.load(tmp_path), images(2, seed=3)
    assert str(again) == str(program) and again.reach.keys() == program.reach.keys()
    torch.testing.assert_close(execute(again, x), execute(program, x), rtol=0, atol=0)
    (plan, numbers), (before, _) = again.native, program.native
    assert plan.digest() == before.digest() == load_published(tmp_path).plan.digest() and str(plan) == str(before)
    output = run(load_published(tmp_path).plan, numbers, x.double().numpy())[0].output
    np.testing.assert_allclose(output, execute(program, x).numpy(), rtol=0, atol=0.02)


def test_what_is_served_is_the_plan_and_its_numbers(program, tmp_path):
    """The same numbers; the weights as real numbers, which take as much room, are not read."""
    program.save(tmp_path)
    private, metadata, arrays = read_server(tmp_path)
    arrays = {key: array for key, array in arrays.items() if not key.startswith("real/")}
    write_server(tmp_path, {**private, "program": {}}, metadata, arrays)
    served, numbers = load_served(tmp_path)
    assert served.input_shape == (3, 8, 8) and served.form is None
    assert served.plan.digest() == program.native[0].digest() and numbers.keys() == program.numbers.keys()
    for name, own in program.numbers.items():
        assert numbers[name].bits == own.bits
        for mine, theirs in ((numbers[name].weight, own.weight), (numbers[name].constant, own.constant)):
            assert (mine is None) == (theirs is None) and (mine is None or np.array_equal(mine, theirs))
    with pytest.raises(FormatError):
        SecureProgram.load(tmp_path)


def test_the_public_part_is_the_plan_and_the_forms_of_input_and_output(program, tmp_path):
    program.save(tmp_path)
    public = json.loads((tmp_path / "public.json").read_text())
    assert {*public} == {"format", "version", "input", "output", "plan version", "plan"}
    assert public["input"] == [3, 8, 8] and public["output"] is None
    assert step_json.dumps(public["plan"]) == step_json.dumps([step_json.to_json(s) for s in program.native[0].steps])
    for word in ("degree", "coeffs", "running", "bias", "scale"):  # of the program
        assert word not in (tmp_path / "public.json").read_text()


def test_the_public_file_holds_no_private_number(program, tmp_path):
    program.save(tmp_path)
    public = (tmp_path / "public.json").read_bytes()
    for value in program.server.values():
        for number in value.flatten()[:50].tolist():
            assert number == 0 or repr(number).encode() not in public
    for own in program.native[1].values():
        if own.weight is not None:
            assert own.weight.tobytes() not in public and base64.b64encode(own.weight.tobytes())[:-4] not in public


def test_the_owner_alone_reads_the_server_s_part(program, tmp_path):
    before = os.umask(0)
    try:
        program.save(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(server_file(tmp_path).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "public.json").stat().st_mode) == 0o666


class Crash(Exception):
    pass


def fail_after(calls, patch):
    """Let so many calls that touch the disk pass."""
    left = iter(range(calls))

    def failing(real):
        def call(*args, **kwargs):
            if next(left, None) is None:
                raise Crash
            return real(*args, **kwargs)

        return call

    for name in ("open", "fsync", "replace", "unlink"):
        patch.setattr(os, name, failing(getattr(os, name)))


@pytest.mark.parametrize("other", ["weights", "plan"])
def test_a_crash_leaves_the_old_or_the_new_program(program, tmp_path, monkeypatch, other):
    """Every call that touches the disk fails in turn."""
    new = everything(seed=1)
    if other == "weights":  # the same plan: only the server's part changes
        halves = {key: value / 2 for key, value in program.server.items()}
        new = SecureProgram(program.public, halves, program.base_plan, program.numbers, program.reach)
    x = images(1)
    outputs = {execute(p, x).numpy().tobytes(): name for p, name in ((program, "old"), (new, "new"))}

    seen, done = [], False
    while not done:
        program.save(tmp_path)
        with monkeypatch.context() as patch:
            fail_after(len(seen), patch)
            try:
                new.save(tmp_path)
                done = True
            except Crash:
                pass
        found = SecureProgram.load(tmp_path)
        seen.append(outputs[execute(found, x).numpy().tobytes()])
    assert len(seen) > 8 and seen == sorted(seen, reverse=True) and {*seen} == {"old", "new"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["public.json", server_file(tmp_path).name]


@pytest.mark.filterwarnings("ignore:backend='native' cannot run")
def test_a_program_without_a_native_plan(tmp_path):
    program = compiled(Everything(), images(), lambda gm: replace(gm, 0.5, degree=3))
    program.save(tmp_path)
    again = SecureProgram.load(tmp_path)
    assert again.base_plan is None and again.numbers == {} and again.obstacle == program.obstacle
    torch.testing.assert_close(execute(again, images()), execute(program, images()), rtol=0, atol=0)
    public = json.loads((tmp_path / "public.json").read_text())
    assert public["plan"] is None and public["input"] == [3, 8, 8]
    with pytest.raises(FormatError, match="no plan for the native runtime"):
        load_published(tmp_path)
    for native in (lambda: again.native, lambda: load_served(tmp_path)):
        with pytest.raises(CompileError, match="degree 3"):
            native()


@pytest.mark.parametrize("change, message", [
    (lambda p: p.update(format="x"), "not a program"),
    (lambda p: p.update(version=9), "version 9, this is 4; compile the model again"),
    (lambda p: p.update({"plan version": 9}), "plan is of version 9"),
    (lambda p: p["plan"].pop(), "the plan must be an input, .* and an output"),
    (lambda p: p["plan"].append({"code": "x"}), r"step \d+ of the plan does not have the fields"),
    (lambda p: p.pop("plan"), "does not have the entries"),
    (lambda p: p.update(input=[3, 8]), "takes inputs of another shape"),
    (lambda p: p.update(output={"tensor": [0, [1000], []]}), "a tensor beyond the output"),
    (lambda p: p["plan"][2].update(name="x" * 2000), "the name of step 2 of the plan must be a name"),
    (lambda p: p["plan"][2].update(shape=[2**20] * 3), "the shape of step '.*' must be up to 16 sizes"),
    (lambda p: p["plan"][2].update(inputs=["later"]), "reads 'later', which no earlier step computes"),
    (lambda p: p["plan"][1]["attrs"].update(stride=[0, 1]), "'stride' of step '.*' must be 2 times an integer from 1"),
    (lambda p: p["plan"][1]["attrs"].update(padding=[2**19, 2**19]), "the padded input is too large"),
    (lambda p: p["plan"][1]["attrs"].update(surprise=1), "unknown attribute 'surprise'"),
    (lambda p: p["plan"][1].update(frac_bits=3), r"'frac_bits' of step '.*' must be \d+, got 3"),
    (lambda p: p["plan"][1].update(op="exec"), "step '.*' is of an unknown operation"),
])  # fmt: skip
def test_damaged_public_part(program, tmp_path, change, message):
    program.save(tmp_path)
    public = json.loads((tmp_path / "public.json").read_text())
    change(public)
    (tmp_path / "public.json").write_text(json.dumps(public))
    for load in (load_published, SecureProgram.load, load_served):
        with pytest.raises(FormatError, match=message):
            load(tmp_path)


def test_parts_of_two_programs(program, tmp_path):
    program.save(tmp_path)
    public = json.loads((tmp_path / "public.json").read_text())
    for step in public["plan"]:
        if step["attrs"].get("comparison"):
            step["attrs"]["comparison"] = "gmw"
    (tmp_path / "public.json").write_text(json.dumps(public))
    load_published(tmp_path)
    for change, message in (
        (lambda: None, "belongs to another program"),
        (lambda: server_file(tmp_path).rename(files._server(tmp_path, public)), "belongs to another program"),
        (lambda: server_file(tmp_path).unlink(), "no server's part"),
    ):
        change()
        for load in (SecureProgram.load, load_served):
            with pytest.raises(FormatError, match=message):
                load(tmp_path)


#: What of the damages below is about the numbers in the ring, or the settings.
OF_THE_NUMBERS = {
    "'frac_bits' of the settings must be an integer",
    "'reach' of the settings must be a table of lists of finite",
    "width of step 'stem' must be 16, 32 or 64 bits",
    "numbers of 'fc', without their width",
    "a weight of step 'stem' has more than 16 bits",
    "the weight of step 'stem' must be ring elements",
}


@pytest.mark.parametrize("change, message", [
    (lambda p, a: p["program"].pop("steps"), "its program lacks 'steps'"),
    (lambda p, a: p["program"]["steps"][0].update(op="eval"), "unknown operation"),
    (lambda p, a: p["program"].update(form={"none": None}), "gives its output another form"),
    (lambda p, a: p["settings"].update(frac_bits="many"), "'frac_bits' of the settings must be an integer"),
    (lambda p, a: p["settings"]["reach"].update(x=None), "'reach' of the settings must be a table of lists of finite"),
    (lambda p, a: p["bits"].update(stem=8), "width of step 'stem' must be 16, 32 or 64 bits"),
    (lambda p, a: p["bits"].pop("fc"), "numbers of 'fc', without their width"),
    (lambda p, a: a.pop("real/stem.weight"), "'stem.weight', weight of step 'stem', is missing"),
    (lambda p, a: a["weight/stem"].fill(2**40), "a weight of step 'stem' has more than 16 bits"),
    (lambda p, a: a["weight/stem"].fill(2**63), "a weight of step 'stem' has more than 16 bits"),
    (lambda p, a: a.update({"weight/stem": a["weight/stem"][:2]}), "the weight of step 'stem' must be ring elements"),
    (lambda p, a: a["real/stem.weight"].fill(np.nan), "must be of float64 and finite"),
    (lambda p, a: a.update({"real/more": np.zeros(2)}), "no step takes the tensor 'more'"),
])  # fmt: skip
def test_damaged_server_s_part(program, tmp_path, change, message):
    program.save(tmp_path)
    private, metadata, arrays = read_server(tmp_path)
    change(private, arrays)
    write_server(tmp_path, private, metadata, arrays)
    for load in (SecureProgram.load, load_served):
        if load is load_served and message not in OF_THE_NUMBERS:
            load(tmp_path)  # what is damaged is not read
            continue
        with pytest.raises(FormatError, match=message) as error:
            load(tmp_path)
        assert str(server_file(tmp_path)) in str(error.value)


def flipped(path, at, bit):
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)


def test_a_flipped_bit_is_found_wherever_it_is(program, tmp_path):
    """In what is read: the server of a service reads no real numbers."""
    program.save(tmp_path)
    path, rng = server_file(tmp_path), random.Random(0)
    good = path.read_bytes()
    (size,) = struct.unpack("<Q", good[:8])
    tensors = {key: value["data_offsets"] for key, value in json.loads(good[8 : 8 + size]).items() if "/" in key}
    for key in rng.choices(sorted(tensors), k=60):
        begin, end = tensors[key]
        if begin == end:
            continue
        flipped(path, 8 + size + rng.randrange(begin, end), rng.randrange(8))
        for load in (SecureProgram.load, load_served):
            if load is load_served and key.startswith("real/"):
                load(tmp_path)
                continue
            with pytest.raises(FormatError, match=f"numbers of '{key}' are not what was written; .*compile the model"):
                load(tmp_path)
        path.write_bytes(good)
    for _ in range(200):  # of what is said of them
        flipped(path, rng.randrange(size + 8), rng.randrange(8))
        with warnings.catch_warnings(), contextlib.suppress(FormatError):
            warnings.simplefilter("error", FormatWarning)  # of the name "digest" itself
            with contextlib.suppress(FormatWarning):
                assert str(SecureProgram.load(tmp_path)) == str(program)
        path.write_bytes(good)


def test_a_server_s_part_of_an_earlier_version_is_read_with_a_warning(program, tmp_path):
    program.save(tmp_path)
    _, metadata, arrays = read_server(tmp_path)
    save_file(arrays, server_file(tmp_path), metadata=unsealed(metadata))
    for load in (SecureProgram.load, load_served):
        with pytest.warns(FormatWarning, match="has no digest of its content.*compile the model again"):
            load(tmp_path)


@pytest.mark.parametrize("text", [
    "[" * 100_000, '{"a":' * 50_000, "[" * 500 + "]" * 500, "9" * 5000, "NaN", "", "\udc00", '{"format": 1e999}',
])  # fmt: skip
def test_hostile_json(program, tmp_path, text):
    program.save(tmp_path)
    (tmp_path / "public.json").write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(FormatError):
        load_published(tmp_path)
    private, metadata, arrays = read_server(tmp_path)
    for nested in ("[" * 400 + "]" * 400, '{"reach":' * 300 + "{}" + "}" * 300):
        for place in ("input_shape", "output"):
            damaged = json.loads(json.dumps(private))
            damaged["program"][place] = json.loads(nested)
            write_server(tmp_path, damaged, metadata, arrays)
            with pytest.raises(FormatError):
                load_program(tmp_path)


def test_a_file_beyond_the_limit(program, tmp_path, monkeypatch):
    program.save(tmp_path)
    for module in (step_json, files):
        monkeypatch.setattr(module, "LONGEST", 1000)
    with pytest.raises(FormatError, match="longer than 1000 bytes"):
        load_published(tmp_path)


def test_missing_files(program, tmp_path):
    with pytest.raises(FormatError, match="no program at"):
        SecureProgram.load(tmp_path)
    program.save(tmp_path)
    server_file(tmp_path).write_bytes(b"x" * 100)
    with pytest.raises(FormatError, match="cannot be read"):
        SecureProgram.load(tmp_path)


def test_a_mutated_plan_is_refused_or_runs(program, tmp_path):
    """No change of one value gets past the checks and then breaks a party, other than by its own refusal."""
    program.save(tmp_path)
    text, rng = (tmp_path / "public.json").read_text(), random.Random(0)
    public, numbers, x = json.loads(text), program.native[1], images(1).double().numpy()
    accepted = refused = 0
    for _ in range(800):
        (tmp_path / "public.json").write_text(json.dumps(changed(public, rng)))
        try:
            plan = load_published(tmp_path).plan
            check_numbers(plan, numbers)
        except FormatError:
            refused += 1
            continue
        accepted += 1
        if plan.digest() != program.native[0].digest() and plan.input.shape == x.shape[1:]:
            try:
                run(plan, numbers, x, timeout=5)
            except PartyError:
                pass
    assert refused > 600 and accepted > 3


def test_a_mutated_server_s_part_is_refused_or_runs(program, tmp_path):
    program.save(tmp_path)
    private, metadata, arrays = read_server(tmp_path)
    rng, accepted = random.Random(1), 0
    for i in range(200):
        if i % 4:
            write_server(tmp_path, changed(private, rng), metadata, arrays)
        else:
            write_server(tmp_path, private, metadata, changed_arrays(arrays, rng))
        try:
            loaded = SecureProgram.load(tmp_path)
        except FormatError:
            with contextlib.suppress(FormatError):
                load_served(tmp_path)  # of what is damaged some is not read
            continue
        accepted += 1
        load_served(tmp_path)
        execute(loaded, torch.zeros(1, *loaded.public.input_shape))
        str(loaded)
    assert accepted > 5
