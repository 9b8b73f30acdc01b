"""Recipes: those of the repository can be read, a small one runs and resumes, mistakes name the file and the entry."""

from pathlib import Path

import pytest
import torch

import autorep_fx as ar
from autorep_fx.cli import main
from autorep_fx.errors import FormatError
from autorep_fx.search.recipe import Experiment, Recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))

SMALL = """
[data]
reader = "digits"
batch_size = 64
samples = 256
pad = 1
[network]
name = "resnet_cifar"
depth = 8
in_channels = 1
[pretrain]
epochs = 2
batch_size = 32
lr = 0.003
[search]
relu_budget = 100
epochs = 2
"""


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_the_repositorys_recipes_can_be_read(path):
    assert Recipe.read(path).search["relu_budget"] > 0


@pytest.mark.parametrize("method", ["autorep", "snl", "one_shot"])
def test_a_small_recipe_runs_and_is_not_repeated(tmp_path, method, capsys):
    (tmp_path / "small.toml").write_text(SMALL)
    arguments = ["search", "--config", str(tmp_path / "small.toml"), "--out", str(tmp_path), "--method", method]
    assert main(arguments) == 0
    first = capsys.readouterr().out
    assert f"{method}, 100 ReLUs, seed 0" in first
    written = (tmp_path / f"{method}-100-0" / "hybrid.safetensors").stat().st_mtime_ns
    assert main([*arguments, "--resume"]) == 0
    assert capsys.readouterr().out == first
    assert (tmp_path / f"{method}-100-0" / "hybrid.safetensors").stat().st_mtime_ns == written
    (tmp_path / "small.toml").write_text(SMALL + "temperature = 2.0\n")
    assert main([*arguments, "--resume"]) == 2
    assert "outcome.json is of another run: temperature is None there and 2.0 here" in capsys.readouterr().err


@pytest.mark.parametrize(
    "old,new,message",
    [
        ("[pretrain]", "[train]", r"no section \[pretrain\]"),
        ('"digits"', '"imagenet"', "reader must be one of cifar, digits"),
        ('"resnet_cifar"', '"vgg"', "name must be one of resnet18"),
        ("[data]", "speed = 1\n[data]", "unknown entry 'speed'"),
        ("relu_budget = 100", "relu_budget =", "not TOML"),
    ],
)
def test_mistakes_are_named(tmp_path, old, new, message):
    path = tmp_path / "bad.toml"
    path.write_text(SMALL.replace(old, new))
    with pytest.raises(FormatError, match=f"bad.toml.*{message}"):
        Recipe.read(path)
    with pytest.raises(FileNotFoundError, match="none.toml"):
        Recipe.read(tmp_path / "none.toml")


def test_pretraining_may_take_other_batches(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL)
    experiment = Experiment(Recipe.read(tmp_path / "small.toml"), tmp_path, progress=False)
    assert len(experiment.loaders(0)[0]) == 4 and len(experiment.loaders(0, batch_size=32)[0]) == 8
    network, reached = experiment.original()
    assert reached == experiment.accuracy(network) and experiment.original()[0] is network


def test_a_recipe_with_a_base_shares_its_network(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL)
    (tmp_path / "more.toml").write_text('base = "small.toml"\n[search]\nepochs = 1\n')
    (tmp_path / "again.toml").write_text('base = "more.toml"\nname = "third"\n[pretrain]\nepochs = 1\n')
    more, again = Recipe.read(tmp_path / "more.toml"), Recipe.read(tmp_path / "again.toml")
    assert more.search == {"relu_budget": 100, "epochs": 1} and (more.name, more.origin) == ("more", "small")
    assert again.pretrain == {"epochs": 1, "batch_size": 32, "lr": 0.003} and again.origin == again.name == "third"
    Experiment(more, tmp_path / "out" / "more", progress=False).original()
    assert (tmp_path / "out" / "small" / "original.safetensors").exists()
    assert not list((tmp_path / "out" / "more").iterdir())


def test_a_pretrained_network_may_be_given(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL)
    trained, _ = Experiment(Recipe.read(tmp_path / "small.toml"), tmp_path / "out" / "small", progress=False).original()
    (tmp_path / "networks").mkdir()
    ar.save(trained, tmp_path / "networks" / "mine.safetensors")
    (tmp_path / "given.toml").write_text('base = "small.toml"\n[network]\nweights = "networks/mine.safetensors"\n')
    (tmp_path / "anew.toml").write_text('base = "given.toml"\n[pretrain]\nepochs = 1\n')
    given, anew = Recipe.read(tmp_path / "given.toml"), Recipe.read(tmp_path / "anew.toml")
    found, _ = Experiment(given, tmp_path / "out" / "given", progress=False).original()
    assert all(torch.equal(a, b) for a, b in zip(found.state_dict().values(), trained.state_dict().values()))
    assert not list((tmp_path / "out" / "given").iterdir()), "nothing was trained"
    assert "weights" not in anew.network, "what is trained otherwise is another network"
    (tmp_path / "networks" / "mine.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="mine.safetensors"):
        Experiment(given, tmp_path / "out" / "other", progress=False).original()


def test_mistakes_in_bases_are_named(tmp_path):
    (tmp_path / "a.toml").write_text('base = "b.toml"\n')
    with pytest.raises(FileNotFoundError, match="b.toml, the base of .*a.toml"):
        Recipe.read(tmp_path / "a.toml")
    (tmp_path / "b.toml").write_text('base = "a.toml"\n')
    with pytest.raises(FormatError, match="b.toml: its base .*a.toml is based on it"):
        Recipe.read(tmp_path / "a.toml")


def test_an_unknown_argument_of_a_reader_is_named(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(SMALL.replace("pad = 1", "pad = 1\nfolder = 'x'"))
    with pytest.raises(FormatError, match="folder"):
        Experiment(Recipe.read(path), tmp_path)
