"""A whole experiment as a file: data, network, pretraining, and how the masks are learned."""

from __future__ import annotations

import functools
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
from ..errors import BudgetError, FormatError
from ..graph.devices import usable
from ..hybrid.activation import relu_count
from ..hybrid.serialize import load, save
from ..secure.link.network import Network
from ..settings import LIMITS, FinetuneSettings, SearchSettings, TransformSettings
from ..settings.options import check_names
from ..text import brief
from ..transform import transform
from . import checkpoint, tables
from .evaluation import accuracy
from .history import OnEpoch
from .search import finetune, search
from .tables import BATCHES, LOADING, ONE_SHOT, READERS

log = logging.getLogger(__name__)

SECTIONS = ("data", "network", "pretrain", "search")
_CALIBRATION = 512
#: How the folder of a run's results says what was given.
_UNITS = {"relu_budget": "", "latency_ms": "ms", "offline_mb": "mb", "total_ms": "ms-total"}


@dataclass(frozen=True)
class Recipe:
    """One experiment, as in ``recipes/*.toml``.

    A file may name another one as its ``base``, by a path from its own folder, and then gives only what differs. If
    that is ``search`` alone, both start from the same pretrained network.

    Attributes:
        name: names the folder of its results.
        data: ``reader`` (one of ``tables.READERS``) with its arguments, and ``batch_size``, ``pad``, ``flip``,
            ``samples``, how many images an epoch takes, and ``validation``, how many test images are looked at after
            an epoch (all, if it is not given; the outcome is always of all).
        network: ``name`` (one of ``tables.NETWORKS``) and its arguments; ``weights``, a file that
            :func:`autorep_fx.save` has written, by a path from the recipe's folder, of a network that is pretrained
            already.
        pretrain: options of :class:`autorep_fx.FinetuneSettings` for the unreplaced network, where it is not;
            ``batch_size`` and ``samples`` in place of those of ``data``.
        search: options of :class:`autorep_fx.SearchSettings`, and those two; ``method`` may also be "one_shot". Where
            results are kept and whether a run goes on is no part of a recipe.
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
    def read(path: str | os.PathLike, folder: str | os.PathLike | None = None) -> Recipe:
        """Read a recipe, and check all that it says.

        Args:
            folder: of the data, in place of the recipe's.

        Raises:
            FileNotFoundError: no such file, no such base, no such weights.
            FormatError: not TOML, bases in a circle, an unknown or a missing entry, or one of another kind or out of
                range; names the file, the table, the entry and what is allowed.
        """
        recipe = Recipe._read(Path(path), ())
        if folder is not None:
            recipe.data["folder"] = folder
        recipe._check(Path(path), whole=True)
        weights = recipe.network.get("weights")
        if weights is not None and not Path(weights).is_file():
            raise FileNotFoundError(f"{path}: [network] no such weights: {weights}")
        return recipe

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
        try:
            check_names(table, ("name", "base", *SECTIONS), f"{path}: ", "entry")
        except TypeError as error:
            raise FormatError(str(error)) from error
        name = table.pop("name", path.stem)
        if not isinstance(name, str):
            raise FormatError(f"{path}: name must be a text, got {name!r}")
        if "weights" in table.get("network", {}):
            table["network"]["weights"] = str(path.parent / str(table["network"]["weights"]))
        if base is not None:
            base = Recipe._read(path.parent / str(base), (*above, path))
            origin = base.origin if set(table) <= {"search"} else ""
            inherited = {key: dict(getattr(base, key)) for key in SECTIONS}
            if not origin:  # its own network
                inherited["network"].pop("weights", None)
            table = {key: {**inherited[key], **table.get(key, {})} for key in SECTIONS}
        recipe = Recipe(name=name, origin=origin, **table)
        recipe._check(path)
        return recipe

    def _check(self, path: Path, whole: bool = False) -> None:
        """Raise FormatError for what cannot be in ``path``, and with ``whole`` for what is missing there."""
        for section in SECTIONS:
            try:
                tables.check(section, getattr(self, section), whole)
            except (TypeError, ValueError) as error:
                raise FormatError(f"{path}: {error}") from error

    def options(self, **overrides: Any) -> dict[str, Any]:
        """[search] with ``overrides``; limits take the place of all that the recipe has.

        Raises:
            TypeError, ValueError: as :class:`autorep_fx.SearchSettings`.
            BudgetError: nothing says what may be left.
        """
        options = {"seed": SearchSettings.seed, "method": SearchSettings.method, **self.search, **overrides}
        if any(overrides.get(name) is not None for name in LIMITS):
            options |= {name: overrides.get(name) for name in LIMITS if name in options}
        tables.check("search", options)
        if not tables.searching(options).limits:
            raise BudgetError(f"recipe '{self.name}' does not say what may be left: {', '.join(LIMITS)}")
        return options


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
    """A recipe with its data, and the folder of its results.

    The pretrained network is kept there too and shared by all runs; a recipe that starts from its base's takes it from
    the folder of that name beside it (and trains it there, if it has to).
    """

    def __init__(self, recipe: Recipe, folder: str | os.PathLike, progress: bool | None = None):
        self.recipe, self.folder, self.progress = recipe, Path(folder), progress
        self.folder.mkdir(parents=True, exist_ok=True)
        self.origin = self.folder if recipe.origin == recipe.name else self.folder.parent / recipe.origin
        here = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.device = usable(recipe.search.get("device")) or here
        self.validation = recipe.data.get("validation")
        self.loading = _some(LOADING, recipe.data)
        self._original: tuple[fx.GraphModule, float] | None = None

    @functools.cached_property
    def images(self) -> tuple[models.Images, models.Images]:
        """To train on and to test on, read when they are first asked for."""
        own = ("reader", "validation", *LOADING)
        return READERS[self.recipe.data["reader"]](**{k: v for k, v in self.recipe.data.items() if k not in own})

    @property
    def train(self) -> models.Images:
        return self.images[0]

    @property
    def test(self) -> models.Images:
        return self.images[1]

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
        return tables.untrained(self.recipe.network)

    def _pretrained(self) -> fx.GraphModule:
        path = Path(self.recipe.network.get("weights", self.origin / "original.safetensors"))
        torch.manual_seed(0)
        network = self.untrained()
        if path.exists() or "weights" in self.recipe.network:
            return load(network, path).to(self.device).eval()
        model = transform(network, example_inputs=self.train.normalized(slice(2))).to(self.device)
        told = self.recipe.pretrain
        train, test = self.loaders(0, **_some(BATCHES, told))
        finetune(model, train, test, settings=tables.pretraining(told), checkpoint_dir=self.origin / "original",
                 resume=True, progress=self.progress)  # fmt: skip
        save(model, path)
        return model

    def run(self, *, resume: bool = False, on_epoch: OnEpoch | None = None, **overrides: Any) -> Outcome:
        """Learn masks as the recipe says, with ``overrides`` of its [search]; writes the network and the outcome.

        A run whose outcome is there already is not repeated when ``resume`` is set; one that was interrupted goes on
        from its last epoch.

        Raises:
            FormatError: with ``resume``, what is there is of a run with other options; names them.
            TypeError, ValueError: overrides that cannot be; before any data are read.
        """
        options = self.recipe.options(**overrides)
        s, method = tables.searching(options), options["method"]
        named = [f"{limit:g}{_UNITS[name]}" for name, limit in s.limits.items()]
        if s.latency_ms is not None or s.total_ms is not None:
            named.append(_network_name(s.network))
        if not s.dealer:
            named.append("no-dealer")
        target = self.folder / "-".join([method, *named, str(s.seed)])
        if resume and (path := target / "outcome.json").exists():
            done = Outcome(**json.loads(path.read_text()))
            theirs, mine = ({**told, "device": None} for told in (done.options, options))  # wherever it ran
            checkpoint.check_same(path, theirs, mine)
            return done
        self.device = usable(s.device) or self.device
        original, original_accuracy = self.original()
        train, test = self.loaders(s.seed, **_some(BATCHES, options))
        run = {"checkpoint_dir": target, "resume": resume, "progress": self.progress}
        if method == ONE_SHOT:
            calibration = (self.train.normalized(slice(_CALIBRATION)), self.train.labels[:_CALIBRATION])
            shaping = TransformSettings.from_dict(_some(TransformSettings.names(), {**options, **run}))
            gm = transform(original, calibration=calibration, settings=shaping)
            tuning = FinetuneSettings.from_dict(_some(FinetuneSettings.names(), {**options, **run}))
            history = finetune(gm, train, test, teacher=original, on_epoch=on_epoch, settings=tuning)
        else:
            gm = transform(original)
            history = search(gm, train, test, teacher=original, on_epoch=on_epoch, settings=s.replace(**run))
        outcome = Outcome(
            method, s.relu_budget, s.seed, self.accuracy(gm), original_accuracy, relu_count(gm),
            asdict(history), options, gm.meta.get("predicted"),
        )  # fmt: skip
        save(gm, target / "hybrid.safetensors")
        (target / "outcome.json").write_text(json.dumps(asdict(outcome), indent=1))
        return outcome


def _some(names: tuple[str, ...], table: dict[str, Any]) -> dict[str, Any]:
    return {name: table[name] for name in names if name in table}


def _network_name(network: Network | str) -> str:
    return network if isinstance(network, str) else f"{network.rtt_ms:g}-{network.mbps:g}"
