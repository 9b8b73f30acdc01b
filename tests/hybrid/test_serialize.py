import json
import random
import warnings

import pytest
import torch
from architectures import DenseConcat, PlainModules, SmoothActivations, build, images
from safetensors import safe_open
from safetensors.torch import save_file

import autorep_fx as ar
from autorep_fx.errors import FormatError, FormatWarning
from autorep_fx.hybrid import serialize


@pytest.mark.parametrize("kind", [PlainModules, DenseConcat, SmoothActivations])
@pytest.mark.parametrize("degree", [2, 3])
def test_round_trip(tmp_path, kind, degree):
    gm = ar.transform(build(kind), calibration=images(8), relu_budget=50, degree=degree).eval()
    ar.save(gm, tmp_path / "model.safetensors")
    loaded = ar.load(kind(), tmp_path / "model.safetensors").eval()
    assert torch.equal(loaded(images()), gm(images())) and ar.relu_count(loaded) == 50
    for mine, theirs in zip(ar.sites(gm).values(), ar.sites(loaded).values()):
        assert torch.equal(mine.input_range, theirs.input_range) and mine.degree == theirs.degree


def with_lines(gm):
    for site in ar.sites(gm).values():
        site.set_line(torch.rand(site.shape) < 0.5)
        site.set_line_coeffs(torch.rand(2, site.shape[0]))
    return gm


def test_lines_round_trip_and_files_without_them_are_as_before(tmp_path):
    gm = ar.transform(build(PlainModules), calibration=images(8), relu_budget=50)
    ar.save(gm, tmp_path / "before")
    assert contents(tmp_path / "before")[0]["version"] == "1" and ar.load(PlainModules(), tmp_path / "before")
    ar.save(with_lines(gm).eval(), tmp_path / "m")
    loaded = ar.load(PlainModules(), tmp_path / "m").eval()
    assert contents(tmp_path / "m")[0]["version"] == "2" and torch.equal(loaded(images()), gm(images()))
    for mine, theirs in zip(ar.sites(gm).values(), ar.sites(loaded).values()):
        assert torch.equal(mine.line, theirs.line) and mine.lines == theirs.lines > 0
    twin = with_lines(ar.transform(build(PlainModules), calibration=images(8)))
    twin.load_state_dict(ar.load(PlainModules(), tmp_path / "before").state_dict())  # a state without lines
    assert all(site.line is None and site.lines == 0 for site in ar.sites(twin).values())


def test_before_shapes_are_known(tmp_path):
    ar.save(ar.transform(build(PlainModules)), tmp_path / "m")
    loaded = ar.load(PlainModules(), tmp_path / "m").eval()
    assert torch.equal(loaded(images()), build(PlainModules).eval()(images()))


def test_bad_files_are_named(tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(FileNotFoundError, match="model.safetensors"):
        ar.load(PlainModules(), path)
    ar.save(ar.transform(build(PlainModules), calibration=images()), path)
    with pytest.raises(FormatError, match="another architecture: site"):
        ar.load(DenseConcat(), path)
    torch.save(PlainModules().state_dict(), tmp_path / "model.pth")
    with pytest.raises(FormatError, match="model.pth is not a readable .* is read by torch.load"):
        ar.load(PlainModules(), tmp_path / "model.pth")
    save_file(PlainModules().state_dict(), tmp_path / "plain.safetensors")
    with pytest.raises(FormatError, match="plain.safetensors was not written by autorep_fx.save; .*load_state_dict"):
        ar.load(PlainModules(), tmp_path / "plain.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FormatError, match="not a readable safetensors file"):
        ar.load(PlainModules(), path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(FormatError, match="not written by"):
        ar.load(PlainModules(), path)


def contents(path):
    with safe_open(path, "pt") as file:
        return file.metadata(), {name: file.get_tensor(name) for name in file.keys()}


def save_sealed(path, header, tensors):
    """As someone would who makes the digest, too."""
    header = {key: text for key, text in header.items() if key != "digest"}
    save_file(tensors, path, metadata=serialize.sealed(header, tensors))


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.safetensors"
    ar.save(ar.transform(build(PlainModules), calibration=images(8), relu_budget=50), path)
    return path, *contents(path)


@pytest.mark.parametrize("change, message", [
    (lambda h, t: h.pop("sites"), "its list of sites is damaged"),
    (lambda h, t: h.update(sites="[" * 100_000), "its list of sites is damaged"),
    (lambda h, t: h.update(sites="[1]"), "its list of sites is damaged"),
    (lambda h, t: h.update(sites=json.dumps({**json.loads(h["sites"]), "1": {"a": 1}})), "sites is damaged"),
    (lambda h, t: t.pop("1.keep"), "'1.keep' must be there"),
    (lambda h, t: t.pop("1.coeffs"), r"'1.coeffs' must be \(degree \+ 1, C\)"),
    (lambda h, t: t.update({"1.keep": t["1.keep"].float()}), "'1.keep' must be a boolean mask"),
    (lambda h, t: t.update({"1.keep": torch.tensor(True)}), "'1.keep' must be a boolean mask"),
    (lambda h, t: t.update({"1.coeffs": t["1.coeffs"][:, :3].clone()}), r"'1.coeffs' must be floating point of shape"),
    (lambda h, t: t["1.coeffs"].fill_(torch.nan), "'1.coeffs' must be finite"),
    (lambda h, t: t.update({"1.input_range": torch.zeros(3)}), r"'1.input_range' must be floating point of shape \(2,"),
    (lambda h, t: t.update({"1.line": t["1.keep"].clone()}), "'1.line_coeffs' must be there if"),
    (lambda h, t: t.update({"1.line": t["1.keep"][:3].clone()}), "'1.line' must be a boolean mask"),
    (lambda h, t: h.update(version="3"), "format version 3, this package reads 1 and 2"),
    (lambda h, t: t.update({"0.weight": t["0.weight"].int()}), "'0.weight' is of torch.int32 there"),
    (lambda h, t: t.update({"0.weight": torch.zeros(1)}), "does not fit the model"),
    (lambda h, t: t.update({"more": torch.zeros(1)}), "does not fit the model"),
])  # fmt: skip
def test_damaged_files(saved, change, message):
    path, header, tensors = saved
    change(header, tensors)
    save_sealed(path, header, tensors)
    with pytest.raises(FormatError, match=message):
        ar.load(PlainModules(), path)


def test_a_flipped_bit_is_found_wherever_it_is(saved):
    path, _, tensors = saved
    good, rng = path.read_bytes(), random.Random(0)
    data = len(good) - sum(t.numel() * t.element_size() for t in tensors.values())
    for at in [*rng.sample(range(data, len(good)), 100), *rng.sample(range(data), 200)]:
        damaged = bytearray(good)
        damaged[at] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", FormatWarning)
                ar.load(PlainModules(), path)
        except (FormatError, FormatWarning) as error:
            assert at < data or "its content is not what was written" in str(error) and str(path) in str(error)
            continue
        assert at < data and all(torch.equal(tensors[k], v) for k, v in contents(path)[1].items())


def test_a_file_of_an_earlier_version_is_read_with_a_warning(saved):
    path, header, tensors = saved
    save_file(tensors, path, metadata={key: text for key, text in header.items() if key != "digest"})
    with pytest.warns(FormatWarning, match="has no digest of its content.*save the model again"):
        ar.load(PlainModules(), path)


def test_another_precision_is_none_of_these(saved):
    path, header, tensors = saved
    save_sealed(path, header, {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()})
    assert ar.load(PlainModules(), path).eval()(images()).dtype == torch.float32


def test_mutated_files_load_or_are_refused(saved):
    path, header, tensors = saved
    rng = random.Random(0)
    dtypes = [torch.bool, torch.int64, torch.uint8, torch.bfloat16, torch.float64, torch.complex64]
    for _ in range(60):
        changed = dict(tensors)
        name = rng.choice(sorted(changed))
        value = changed.pop(name)
        made = rng.choice([value.to(rng.choice(dtypes)), value[None], value[..., :0], value.flatten(), value[:1], None])
        if made is not None:
            changed[name] = made.contiguous()
        save_sealed(path, header, changed)
        try:
            gm = ar.load(PlainModules(), path).eval()
        except FormatError:
            continue
        try:
            gm(images())
        except ValueError as error:  # a mask of another shape than this input gives
            assert "was masked for inputs of shape" in str(error)
