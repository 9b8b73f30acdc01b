"""What may stand in a recipe's tables: the arguments of what each is given to, so nothing is listed here again."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

import torch

from .. import models
from ..settings import FinetuneSettings, SearchSettings
from ..settings.kinds import AtLeastOne, fault_of
from ..settings.options import Options, check_names
from .methods import METHODS
from .task import Task

READERS: dict[str, Callable] = {"cifar": models.cifar, "digits": models.digits, "fashion_mnist": models.fashion_mnist,
                                "glyphs": models.glyphs, "tiny_imagenet": models.tiny_imagenet}  # fmt: skip
NETWORKS: dict[str, Callable] = {"resnet18": models.resnet18, "resnet_cifar": models.resnet_cifar,
                                 "vit": models.vit, "wide_resnet": models.wide_resnet}  # fmt: skip
#: Beside the methods of a search: the one-shot budget, then the same fine-tuning.
ONE_SHOT = "one_shot"

#: Entries of [data] that are the batches' and not its reader's; those that [pretrain] and [search] may have otherwise.
LOADING, BATCHES = ("batch_size", "pad", "flip", "samples"), ("batch_size", "samples")

#: Options that no recipe has: what decides about them.
_OWN = {"checkpoint_dir": "--out", "resume": "--resume", "progress": "the terminal"}


def check(section: str, table: Mapping[str, Any], whole: bool = False) -> None:
    """Raise TypeError for an entry that there is not, and ValueError for one of another kind or out of range.

    whole: nothing may be missing, and the network can be made.
    """
    try:
        {"data": _check_data, "network": _check_network, "pretrain": _check_pretrain, "search": _check_search}[section](
            table, whole
        )
    except (TypeError, ValueError) as error:
        raise type(error)(f"[{section}] {error}") from error


def pretraining(table: Mapping[str, Any]) -> FinetuneSettings:
    """[pretrain], but for the batches."""
    settings = FinetuneSettings.from_dict({name: value for name, value in table.items() if name not in BATCHES})
    Task(settings)  # whose functions there are
    return settings


def searching(table: Mapping[str, Any]) -> SearchSettings:
    """[search], but for the batches. A one-shot budget takes the options of a search, too."""
    known, method = (*METHODS, ONE_SHOT), table.get("method", SearchSettings.method)
    if method not in known:
        raise ValueError(f"method must be one of {', '.join(known)}, got {method!r}")
    told = {name: value for name, value in table.items() if name not in BATCHES}
    settings = SearchSettings.from_dict({**told, "method": SearchSettings.method if method == ONE_SHOT else method})
    Task(settings)
    return settings


def untrained(table: Mapping[str, Any]) -> torch.nn.Module:
    """The network of [network], with new weights."""
    arguments = {key: value for key, value in table.items() if key not in ("name", "weights")}
    return NETWORKS[table["name"]](**arguments)


def _check_data(table: Mapping[str, Any], whole: bool) -> None:
    own = {"reader": str, "validation": AtLeastOne | None, **_loading(LOADING)}
    _check_arguments(table, "reader", READERS, own, whole)


def _check_network(table: Mapping[str, Any], whole: bool) -> None:
    _check_arguments(table, "name", NETWORKS, {"name": str, "weights": str}, whole)
    if whole:
        with torch.device("meta"):
            untrained(table)  # which has more to say about its arguments


def _check_pretrain(table: Mapping[str, Any], whole: bool) -> None:
    _check_options(table, FinetuneSettings)
    pretraining(table)


def _check_search(table: Mapping[str, Any], whole: bool) -> None:
    _check_options(table, SearchSettings)
    searching(table)


def _check_options(table: Mapping[str, Any], kind: type[Options]) -> None:
    for name, who in _OWN.items():
        if name in table:
            raise TypeError(f"'{name}' is none of its entries: {who} decides about it")
    hints = _loading(BATCHES)
    check_names(table, (*kind.names(), *hints), what="entry")
    _check_kinds(table, hints)


def _check_arguments(
    table: Mapping[str, Any], key: str, functions: Mapping[str, Callable], own: Mapping[str, Any], whole: bool
) -> None:
    """``table[key]`` names a function; the rest is its arguments, and entries of the table's own."""
    if table.get(key) not in functions:
        raise ValueError(f"{key} must be one of {', '.join(functions)}")
    function = functions[table[key]]
    arguments = inspect.signature(function).parameters
    check_names(table, (*own, *arguments), what="entry")
    _check_kinds(table, {**get_type_hints(function, include_extras=True), **own})
    missing = [name for name, argument in arguments.items() if argument.default is argument.empty and name not in table]
    if missing and whole:
        raise ValueError(f"'{missing[0]}' is missing")


def _check_kinds(table: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    for name, value in table.items():
        if name in hints and (fault := fault_of(hints[name], name, value)):
            raise ValueError(fault)


def _loading(names: tuple[str, ...]) -> dict[str, Any]:
    hints = get_type_hints(models.ImageLoader.__init__, include_extras=True)
    return {name: hints[name] for name in names}
