import pytest
import torch
from architectures import DenseConcat, PlainModules, SmoothActivations, build, images
from safetensors.torch import save_file

import autorep_fx as ar
from autorep_fx.errors import FormatError


@pytest.mark.parametrize("kind", [PlainModules, DenseConcat, SmoothActivations])
@pytest.mark.parametrize("degree", [2, 3])
def test_round_trip(tmp_path, kind, degree):
    gm = ar.transform(build(kind), calibration=images(8), relu_budget=50, degree=degree).eval()
    ar.save(gm, tmp_path / "model.safetensors")
    loaded = ar.load(kind(), tmp_path / "model.safetensors").eval()
    assert torch.equal(loaded(images()), gm(images())) and ar.relu_count(loaded) == 50
    for mine, theirs in zip(ar.sites(gm).values(), ar.sites(loaded).values()):
        assert torch.equal(mine.input_range, theirs.input_range) and mine.degree == theirs.degree


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
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FormatError, match="not a readable safetensors file"):
        ar.load(PlainModules(), path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(FormatError, match="not written by"):
        ar.load(PlainModules(), path)
