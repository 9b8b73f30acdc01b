"""Options as flags of a command: the names of the class, with dashes, and its words in the help."""

from __future__ import annotations

import json
import re
from argparse import SUPPRESS, ArgumentParser, BooleanOptionalAction, Namespace, _ArgumentGroup
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, get_args, get_origin, get_type_hints

from .kinds import allowed
from .options import Options, meanings

_ROLE = re.compile(r":\w+:`~?(?:\w+\.)*(\w+)`")


class Parser(ArgumentParser):
    """Names the nearest of a flag that there is not, and the command that has no place for a word."""

    def parse_known_args(self, args=None, namespace=None):
        found, unknown = super().parse_known_args(args, namespace)
        for flag in (text.partition("=")[0] for text in unknown if text.startswith("--")):
            if near := get_close_matches(flag, self._option_string_actions, 1):
                self.error(f"unrecognized arguments: {flag}; did you mean {near[0]}?")
        if unknown and not any(text.startswith("-") for text in unknown) and not self._subparsers:
            self.error(f"unrecognized arguments: {' '.join(unknown)}; it takes them as options, which --help lists")
        return found, unknown


def add_flags(parser: ArgumentParser | _ArgumentGroup, kind: type[Options], without: Collection[str] = ()) -> None:
    """A flag for each option; "none" is None. What is not given leaves no trace (:func:`given`)."""
    said, hints = meanings(kind), get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        if field.name in without:
            continue
        kinds = _kinds(hints[field.name])
        told: dict[str, Any] = {"action": BooleanOptionalAction} if bool in kinds else _reading(kinds)
        text = _ROLE.sub(r"\1", said.get(field.name, "")).replace("``", "").split(". ")[0].rstrip(".")
        rest = [] if bool in kinds else [allowed(hints[field.name], field.default)]
        rest += [] if field.default in (None, False) else [f"default {field.default}"]
        text += f" ({'; '.join(rest)})" if rest else ""
        parser.add_argument(f"--{field.name.replace('_', '-')}", default=SUPPRESS, help=text.replace("%", "%%"), **told)


def given(args: Namespace, names: Iterable[str]) -> dict[str, Any]:
    """Those of the options that were given."""
    return {name: getattr(args, name) for name in names if hasattr(args, name)}


def _kinds(hint: Any) -> set[Any]:
    """What a type is made of."""
    if get_origin(hint) in (Mapping, Callable) or not get_args(hint):
        return {get_origin(hint) or hint}
    return set().union(*map(_kinds, get_args(hint)))


def _reading(kinds: Collection[Any]) -> dict[str, Any]:
    """How a text becomes such a value, and what stands for it in the help."""
    known: dict[Any, tuple[Callable[[str], Any], str]] = {Mapping: (json.loads, "JSON"), int: (int, "N"),
                                                          float: (float, "X")}  # fmt: skip
    read, name = next((known[kind] for kind in known if kind in kinds), (str, "TEXT"))

    def reading(text: str) -> Any:
        return None if text == "none" and type(None) in kinds else read(text)

    reading.__name__ = {"N": "whole number", "X": "number"}.get(name, name)  # argparse has it in its errors
    return {"type": reading, "metavar": name}
