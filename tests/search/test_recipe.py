"""Recipes: those of the repository can be read, a small one runs and resumes, mistakes name the file and the entry."""

import json
from pathlib import Path

import pytest
import torch

import autorep_fx as ar
from autorep_fx.cli import main
from autorep_fx.errors import FormatError
from autorep_fx.search import tables
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


def unread():
    """A reader that must not be called."""
    raise AssertionError("data are read")


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


@pytest.mark.parametrize(
    "old,new,message",
    [
        ("[pretrain]", "speed = 1\n[pretrain]", r"\[network\] unknown entry 'speed'; there are name, weights, depth"),
        ("pad = 1", "padding = 1", r"\[data\] unknown entry 'padding'; did you mean 'pad'"),
        ("pad = 1", "pad = -1", r"\[data\] pad must be a whole number of at least 0, got -1"),
        ("pad = 1", "size = 'big'", r"\[data\] size must be a whole number, got 'big'"),
        ("pad = 1", "validation = 0", r"\[data\] validation must be a whole number of at least 1"),
        ("[search]", "epohcs = 1\n[search]", r"\[pretrain\] unknown entry 'epohcs'; did you mean 'epochs'"),
        ("lr = 0.003", "lr = 'fast'", r"\[pretrain\] lr must be a number of at least 0, got 'fast'"),
        ("batch_size = 32", "batch_size = 0", r"\[pretrain\] batch_size must be a whole number of at least 1, got 0"),
        ("relu_budget = 100", "relu_buget = 100", r"\[search\] unknown entry 'relu_buget'; did you mean 'relu_budget'"),
        ("relu_budget = 100", "mask_phase = 2", r"\[search\] mask_phase must be a number from 0 to 1, got 2"),
        ("relu_budget = 100", "method = 'sphynx'", r"\[search\] method must be one of autorep, snl, one_shot"),
        ("relu_budget = 100", "relu_budget = 100\nlatency_ms = 5", r"\[search\] give relu_budget, or latency_ms"),
        ("relu_budget = 100", "resume = true", r"\[search\] 'resume' is none of its entries: --resume decides"),
        ("depth = 8", "depth = 9", r"\[network\] depth must be 6n \+ 2"),
        ("depth = 8", "depth = 'deep'", r"\[network\] depth must be a whole number, got 'deep'"),
        ('reader = "digits"', 'reader = "glyphs"', r"\[data\] 'folder' is missing"),
        ("[data]", "name = 3\n[data]", "name must be a text, got 3"),
        ("[data]", "nmae = 'x'\n[data]", "unknown entry 'nmae'; did you mean 'name'"),
    ],
)
def test_a_recipe_is_checked_whole_when_it_is_read(tmp_path, old, new, message):
    path = tmp_path / "bad.toml"
    path.write_text(SMALL.replace(old, new, 1).replace("pad = 1", "" if "glyphs" in new else "pad = 1"))
    with pytest.raises(FormatError, match=f"bad.toml: {message}"):
        Recipe.read(path)


def test_what_is_wrong_in_a_base_names_the_base(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL.replace("pad", "pat"))
    (tmp_path / "more.toml").write_text('base = "small.toml"\n[search]\nepochs = 1\n')
    with pytest.raises(FormatError, match=r"small.toml: \[data\] unknown entry 'pat'; did you mean 'pad'"):
        Recipe.read(tmp_path / "more.toml")


def test_weights_that_are_not_there_are_named_before_anything_begins(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL.replace("depth = 8", "depth = 8\nweights = 'none.safetensors'"))
    with pytest.raises(FileNotFoundError, match=r"small.toml: \[network\] no such weights: .*none.safetensors"):
        Recipe.read(tmp_path / "small.toml")


def test_the_folder_of_the_data_may_be_given(tmp_path):
    path = tmp_path / "letters.toml"
    path.write_text(SMALL.replace("digits", "glyphs"))
    assert Recipe.read(path, tmp_path).data["folder"] == tmp_path
    with pytest.raises(FormatError, match="'folder' is missing"):
        Recipe.read(path)


@pytest.mark.parametrize("wrong, message", [
    ({"epohcs": 1}, "unknown entry 'epohcs'; did you mean 'epochs'"),
    ({"epochs": 0}, "epochs must be a whole number of at least 1, got 0"),
    ({"samples": 0}, "samples must be a whole number of at least 1, got 0"),
    ({"progress": False}, "'progress' is none of its entries"),
    ({"relu_budget": None}, "does not say what may be left"),
    ({"device": "hyperspace"}, "device='hyperspace' is not to be had here"),
    ({"device": 3}, "device must be a text such as cpu or cuda:1"),
])  # fmt: skip
def test_what_is_wrong_in_a_run_is_said_before_data_are_read(tmp_path, monkeypatch, wrong, message):
    (tmp_path / "small.toml").write_text(SMALL)
    experiment = Experiment(Recipe.read(tmp_path / "small.toml"), tmp_path)
    monkeypatch.setitem(tables.READERS, "digits", unread)
    with pytest.raises((TypeError, ValueError), match=message):
        experiment.run(**wrong)


def test_a_finished_run_needs_no_data_to_be_shown_again(tmp_path, monkeypatch, capsys):
    (tmp_path / "small.toml").write_text(SMALL)
    arguments = ["search", "--config", str(tmp_path / "small.toml"), "--out", str(tmp_path), "--epochs", "1"]
    assert main(arguments) == 0
    first = capsys.readouterr().out
    monkeypatch.setitem(tables.READERS, "digits", unread)
    assert main([*arguments, "--resume"]) == 0
    assert capsys.readouterr().out == first


def test_limits_of_a_command_take_the_place_of_the_recipes(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL + "growth = 3.0\n")
    recipe = Recipe.read(tmp_path / "small.toml")
    assert recipe.options(latency_ms=50.0)["relu_budget"] is None
    assert recipe.options(relu_budget=7)["relu_budget"] == 7 and recipe.options()["growth"] == 3.0


def test_flags_of_the_command_count_before_the_recipe_and_are_recorded(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL)
    assert main(["search", "--config", str(tmp_path / "small.toml"), "--out", str(tmp_path), "--epochs", "1",
                 "--samples", "128", "--relu-budget", "90", "--growth", "none", "--seed", "3"]) == 0  # fmt: skip
    outcome = json.loads((tmp_path / "autorep-90-3" / "outcome.json").read_text())
    assert outcome["options"] == {"seed": 3, "method": "autorep", "relu_budget": 90, "epochs": 1, "samples": 128,
                                  "growth": None}  # fmt: skip
    assert outcome["relus"] == 90 and len(outcome["history"]["loss"]) == 1
    run = torch.load(tmp_path / "autorep-90-3" / "last.pt")["run"]
    assert run["batches an epoch"] == 2 and run["growth"] is None and run["lr"] == 1e-3


def test_a_recipe_and_code_come_to_the_same(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL + "lr = 0.01\n")
    recipe = Recipe.read(tmp_path / "small.toml")
    experiment = Experiment(recipe, tmp_path, progress=False)
    experiment.run()
    original, _ = experiment.original()
    found = ar.load(experiment.untrained(), tmp_path / "autorep-100-0" / "hybrid.safetensors")
    gm = ar.transform(original)
    ar.search(gm, *experiment.loaders(0), teacher=original, relu_budget=100, epochs=2, lr=0.01, progress=False)
    here, there = gm.state_dict(), found.state_dict()
    assert here.keys() == there.keys() and all(torch.equal(here[name], there[name]) for name in here)


def test_a_run_of_a_recipe_tells_of_its_epochs(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL)
    experiment, seen = Experiment(Recipe.read(tmp_path / "small.toml"), tmp_path, progress=False), []
    experiment.run(on_epoch=seen.append)
    assert [found["epoch"] for found in seen] == [1, 2]


def test_a_recipe_and_a_command_say_where_it_is_computed(tmp_path, monkeypatch, capsys):
    (tmp_path / "small.toml").write_text(SMALL + 'device = "cpu"\n')
    experiment = Experiment(Recipe.read(tmp_path / "small.toml"), tmp_path)
    assert experiment.device == torch.device("cpu") and experiment.recipe.options()["device"] == "cpu"
    command = ["search", "--config", str(tmp_path / "small.toml"), "--out", str(tmp_path)]
    assert main(command) == 0
    first = capsys.readouterr().out
    monkeypatch.setitem(tables.READERS, "digits", unread)
    assert main([*command, "--device", "none", "--resume"]) == 0  # what there is was computed elsewhere
    assert capsys.readouterr().out == first
    assert main([*command, "--device", "hyperspace"]) == 2
    assert "device='hyperspace' is not to be had here" in capsys.readouterr().err


def test_an_interrupted_command_says_in_one_line_how_it_goes_on(tmp_path, monkeypatch, capsys):
    (tmp_path / "small.toml").write_text(SMALL)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Experiment, "original", interrupted)
    assert main(["search", "--config", str(tmp_path / "small.toml"), "--out", str(tmp_path)]) == 130
    said = capsys.readouterr().err
    assert said == f"autorep_fx: interrupted; the same command with --resume goes on from what is in {tmp_path}\n"


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
