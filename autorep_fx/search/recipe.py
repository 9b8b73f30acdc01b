"""A whole experiment as a file: data, network, pretraining, and how the masks are learned."""

from __future__ import annotations

import inspect
import json
import logging
import os
import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from .. import models
from ..errors import FormatError
from ..hybrid.activation import relu_count
from ..hybrid.serialize import load, save
from ..secure.link.network import Network
from ..text import brief
from ..transform import transform
from . import checkpoint
from .evaluation import accuracy
from .methods import METHODS
from .search import finetune, search
from .settings import Settings

log = logging.getLogger(__name__)

READERS = {"cifar": models.cifar, "digits": models.digits, "fashion_mnist": models.fashion_mnist,
           "glyphs": models.glyphs, "tiny_imagenet": models.tiny_imagenet}  # fmt: skip
NETWORKS = {"resnet18": models.resnet18, "resnet_cifar": models.resnet_cifar, "wide_resnet": models.wide_resnet}
#: Beside the methods of a search: the one-shot budget, then the same fine-tuning.
ONE_SHOT = "one_shot"
SECTIONS = ("data", "network", "pretrain", "search")
_CALIBRATION = 512
#: What a run is given, and how the folder of its results says so.
_LIMITS = {"relu_budget": "", "latency_ms": "ms", "offline_mb": "mb"}


@dataclass(frozen=True)
class Recipe:
    """One experiment, as in ``recipes/*.toml``.

    A file may name another one as its ``base``, by a path from its own folder, and then gives only what differs. If
    that is ``search`` alone, both start from the same pretrained network.

    Attributes:
        name: names the folder of its results.
        data: ``reader`` (one of ``READERS``) with its arguments, and ``batch_size``, ``pad``, ``flip``,
            ``samples``, how many images an epoch takes, and ``validation``, how many test images are looked at after
            an epoch (all, if it is not given; the outcome is always of all).
        network: ``name`` (one of ``NETWORKS``) and its arguments; ``weights``, a file that :func:`autorep_fx.save` has
            written, by a path from the recipe's folder, of a network that is pretrained already.
        pretrain: arguments of :func:`autorep_fx.finetune` for the unreplaced network, where it is not; ``batch_size``
            and ``samples`` in place of those of ``data``.
        search: arguments of :func:`autorep_fx.search`; ``method`` may also be "one_shot".
        origin: name of the recipe whose pretrained network this one starts from; its own, but for a base's.
    """

    name: str
    data: dict[str, Any]
    network: dict[str, Any]
    pretrain: dict[str, Any]
    search: dict[str, Any] = field(default_factory=dict)
    origin: str = ""

    __repr__ = brief

    def __post_init__(self):
        if not self.origin:
            object.__setattr__(self, "origin", self.name)

    @staticmethod
    def read(path: str | os.PathLike) -> Recipe:
        """Read a recipe.

        Raises:
            FileNotFoundError: no such file, or no such base.
            FormatError: not TOML, an unknown or a missing entry, bases in a circle; names the file and the entry.
        """
        return Recipe._read(Path(path), ())

    @staticmethod
    def _read(path: Path, above: tuple[Path, ...]) -> Recipe:
        if not path.is_file():
            raise FileNotFoundError(f"no such recipe: {path}" + (f", the base of {above[-1]}" if above else ""))
        if path.resolve() in [p.resolve() for p in above]:
            raise FormatError(f"{above[-1]}: its base {path} is based on it")
        try:
            table = tomllib.loads(path.read_text())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise FormatError(f"{path} is not TOML: {error}") from error
        base, origin = table.pop("base", None), ""
        for key in SECTIONS:
            if not isinstance(table.get(key, None if base is None else {}), dict):
                raise FormatError(f"{path} has no section [{key}]")
        for key in table:
            if key not in ("name", *SECTIONS):
                raise FormatError(f"{path} has an unknown entry '{key}'; sections are {', '.join(SECTIONS)}")
        name = table.pop("name", path.stem)
        if "weights" in table.get("network", {}):
            table["network"]["weights"] = str(path.parent / str(table["network"]["weights"]))
        if base is not None:
            base = Recipe._read(path.parent / str(base), (*above, path))
            origin = base.origin if set(table) <= {"search"} else ""
            inherited = {key: dict(getattr(base, key)) for key in SECTIONS}
            if not origin:  # its own network
                inherited["network"].pop("weights", None)
            table = {key: {**inherited[key], **table.get(key, {})} for key in SECTIONS}
        for section, key, known in (("data", "reader", READERS), ("network", "name", NETWORKS)):
            if table[section].get(key) not in known:
                raise FormatError(f"{path}: [{section}] {key} must be one of {', '.join(known)}")
        return Recipe(name=name, origin=origin, **table)


@dataclass(frozen=True)
class Outcome:
    """What a run of a recipe reached; accuracies are fractions of the test set, ``options`` what [search] said.

    ``predicted``: of a run under limits, what its plan predicts (:class:`~autorep_fx.forms.prices.Predicted`).
    """

    method: str
    relu_budget: int | None
    seed: int
    accuracy: float
    original_accuracy: float
    relus: int
    history: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    predicted: dict[str, Any] | None = None

    __repr__ = brief


class Experiment:
    """A recipe with its data read, and the folder of its results.

    The pretrained network is kept there too and shared by all runs; a recipe that starts from its base's takes it from
    the folder of that name beside it (and trains it there, if it has to).
    """

    def __init__(self, recipe: Recipe, folder: str | os.PathLike, progress: bool | None = None):
        self.recipe, self.folder, self.progress = recipe, Path(folder), progress
        self.folder.mkdir(parents=True, exist_ok=True)
        self.origin = self.folder if recipe.origin == recipe.name else self.folder.parent / recipe.origin
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        options = dict(recipe.data)
        self.validation = options.pop("validation", None)
        self.loading = {key: options.pop(key) for key in ("batch_size", "pad", "flip", "samples") if key in options}
        reader = READERS[options.pop("reader")]
        self._original: tuple[fx.GraphModule, float] | None = None
        try:
            self.train, self.test = reader(**options)
        except TypeError as error:  # an argument that the reader does not have
            raise FormatError(f"recipe '{recipe.name}': [data] {error}") from error

    def __repr__(self) -> str:
        return f"Experiment({self.recipe.name!r}, in {str(self.folder)!r})"

    def loaders(self, seed: int, **changed: Any) -> tuple[models.ImageLoader, models.ImageLoader]:
        train = models.ImageLoader(self.train, train=True, seed=seed, **{**self.loading, **changed})
        return train, models.ImageLoader(self.test[: self.validation], 500)

    def original(self) -> tuple[fx.GraphModule, float]:
        """The unreplaced network and its accuracy: from its folder, or trained now (resumed, if interrupted)."""
        if self._original is None:
            network = self._pretrained()
            self._original = network, self.accuracy(network)
        return self._original

    def accuracy(self, network: fx.GraphModule) -> float:
        """Over all test images."""
        return accuracy(network, models.ImageLoader(self.test, 500))

    def untrained(self) -> nn.Module:
        arguments = {key: value for key, value in self.recipe.network.items() if key != "weights"}
        return NETWORKS[arguments.pop("name")](**arguments)

    def _pretrained(self) -> fx.GraphModule:
        path = Path(self.recipe.network.get("weights", self.origin / "original.safetensors"))
        torch.manual_seed(0)
        network = self.untrained()
        if path.exists() or "weights" in self.recipe.network:
            return load(network, path).to(self.device).eval()
        model = transform(network, example_inputs=self.train.normalized(slice(2))).to(self.device)
        options = dict(self.recipe.pretrain)
        train, test = self.loaders(0, **{k: options.pop(k) for k in ("batch_size", "samples") if k in options})
        finetune(model, train, test, **options, checkpoint_dir=self.origin / "original", resume=True,
                 progress=self.progress)  # fmt: skip
        save(model, path)
        return model

    def run(self, *, resume: bool = False, **overrides: Any) -> Outcome:
        """Learn masks as the recipe says, with ``overrides`` of its [search]; writes the network and the outcome.

        A run whose outcome is there already is not repeated when ``resume`` is set; one that was interrupted goes on
        from its last epoch.

        Raises:
            FormatError: with ``resume``, what is there is of a run with other options; names them.
        """
        options = {"seed": 0, "method": "autorep", **self.recipe.search, **overrides}
        if any(overrides.get(name) is not None for name in _LIMITS):  # instead of the recipe's
            options |= {name: overrides.get(name) for name in _LIMITS if name in options}
        if options["method"] not in (*METHODS, ONE_SHOT):
            raise ValueError(f"method must be one of {', '.join((*METHODS, ONE_SHOT))}, got {options['method']!r}")
        method, seed = options["method"], options["seed"]
        limits = {name: options[name] for name in _LIMITS if options.get(name) is not None}
        named = [f"{limits[name]:g}{unit}" for name, unit in _LIMITS.items() if name in limits]
        if "latency_ms" in limits:
            named.append(_network_name(options.get("network", Settings.network)))
        target = self.folder / "-".join([method, *named, str(seed)])
        if resume and (path := target / "outcome.json").exists():
            done = Outcome(**json.loads(path.read_text()))
            checkpoint.check_same(path, done.options, options)
            return done
        original, original_accuracy = self.original()
        train, test = self.loaders(seed)
        shared = {"teacher": original, "checkpoint_dir": target, "resume": resume, "progress": self.progress}
        if method == ONE_SHOT:
            calibration = (self.train.normalized(slice(_CALIBRATION)), self.train.labels[:_CALIBRATION])
            shaping = {name: options[name] for name in ("growth", "network") if name in options}
            gm = transform(original, calibration=calibration, progress=self.progress, **limits, **shaping)
            known = inspect.signature(finetune).parameters  # not how masks move
            history = finetune(gm, train, test, **{k: v for k, v in options.items() if k in known}, **shared)
        else:
            gm = transform(original)
            history = search(gm, train, test, **options, **shared)
        outcome = Outcome(
            method, limits.get("relu_budget"), seed, self.accuracy(gm), original_accuracy, relu_count(gm),
            asdict(history), options, gm.meta.get("predicted"),
        )  # fmt: skip
        save(gm, target / "hybrid.safetensors")
        (target / "outcome.json").write_text(json.dumps(asdict(outcome), indent=1))
        return outcome


def _network_name(network: Network | str) -> str:
    return network if isinstance(network, str) else f"{network.rtt_ms:g}-{network.mbps:g}"
