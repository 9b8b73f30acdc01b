"""Classes of options: name, kind, range, default and meaning of each in one place, for code, files and commands alike.

A class of options is a frozen dataclass of keywords (settings.py has ours). A field is one line and its docstring:

    lr: NotNegative = 1e-3
    \"\"\"Adam's learning rate of the weights.\"\"\"

Its type is what type checkers and editors read, and what an object is checked by when it is made: ``Literal`` for
names, ``Annotated`` for ranges (kinds.py). Defaults are written there and nowhere else. The
docstrings become a part of the class's own, so that ``help`` has them, and the help of the commands.

A function that is told these options takes them as an object or as keywords, and keywords count before the object:

    def search(gm, train_loader, *, settings: SearchSettings | None = None, **options: Unpack[SearchKeywords]):
        s = SearchSettings.of(settings, options, search)

Why so: a signature with every option has a second list of defaults, and behind one nobody can tell a default from what
was said, which an object beside keywords needs; with a mark for "not said" it shows no defaults any more. A
``TypedDict`` (keywords.py) has names and types and no defaults: type checkers and the editors that use them complete
and check the keywords by it. For all else, ``help`` and notebooks, :func:`takes` gives the function the signature with
every option, made from the class. A test holds the two lists of names and types to each other.
"""

from __future__ import annotations

import ast
import difflib
import functools
import inspect
import numbers
import os
import sys
import textwrap
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, ClassVar, Self, TypeVar, cast, dataclass_transform, get_type_hints

from ..text import brief
from .kinds import allowed, fault_of

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True, repr=False)
class Options:
    """Base of every class of options. ``repr`` shows what differs from the defaults, in one line.

    Raises:
        TypeError: no option has that name; names the nearest.
        ValueError: an option of another kind or out of range; names it, the value and what is allowed.
    """

    #: Errors of options that have one of their own kind.
    errors: ClassVar[Mapping[str, type[ValueError]]] = {}

    def __new__(cls, *args: Any, **keywords: Any) -> Self:
        check_names(keywords, cls.names(), f"{cls.__name__}: ")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self), include_extras=True)
        for field in fields(self):
            value = getattr(self, field.name)
            if fault := fault_of(hints[field.name], field.name, value, field.default):
                raise self.errors.get(field.name, ValueError)(fault)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        return tuple(field.name for field in fields(cls))

    @classmethod
    def of(cls, settings: Self | None, keywords: Mapping[str, object], function: Callable[..., Any]) -> Self:
        """What ``function`` was told: an object, or None, and keywords, which count before it."""
        check_names(keywords, inspect.signature(function).parameters, f"{function.__name__}(): ")
        if settings is None:
            return cast(Any, cls)(**keywords)
        if not isinstance(settings, cls):
            raise TypeError(f"settings of {function.__name__}() must be {cls.__name__}, got {type(settings).__name__}")
        return settings.replace(**keywords)

    def replace(self, **changes: Any) -> Self:
        """The same with other values of the options that are named."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """All options in plain types, as files have them."""
        return {name: plain(getattr(self, name)) for name in self.names()}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Self:
        """Of a dict such as :meth:`to_dict` makes, or with fewer of its options."""
        return cast(Any, cls)(**table)

    __repr__ = brief


@dataclass_transform(kw_only_default=True, frozen_default=True)
def options(cls: type[T]) -> type[T]:
    """Make a class of options: a frozen dataclass of keywords, with its fields in its docstring."""
    made = cast(type[T], dataclass(frozen=True, kw_only=True, repr=False)(cls))
    said, hints = meanings(made), get_type_hints(made, include_extras=True)
    lines = [f"{f.name} ({allowed(hints[f.name])}; default {f.default!r}): {said.get(f.name, '')}"
             for f in fields(cast(Any, made))]  # fmt: skip
    made.__doc__ = "\n".join([inspect.cleandoc(cls.__doc__ or ""), "\nAttributes:", *map(_wrapped, lines)])
    return made


def takes(kind: type[Options]) -> Callable[[F], F]:
    """Give a function with ``**options`` the signature with every option of ``kind``, for ``help`` and notebooks."""

    def decorate(function: F) -> F:
        own = inspect.signature(function)
        *first, _ = own.parameters.values()
        more = [inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=f.type)
                for f in fields(kind)]  # fmt: skip
        function.__signature__ = own.replace(parameters=[*first, *more])  # type: ignore[attr-defined]
        return function

    return decorate


def meanings(kind: type) -> dict[str, str]:
    """The docstring of every field, in one line; nothing where there is no source (a frozen program)."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        found |= _docstrings(base.__module__).get(base.__qualname__, {}) if is_dataclass(base) else {}
    return found


@functools.cache
def _docstrings(module: str) -> dict[str, dict[str, str]]:
    """By class and field: the strings that stand below the fields."""
    try:
        body = ast.parse(inspect.getsource(sys.modules[module])).body
    except (OSError, TypeError):
        return {}
    found: dict[str, dict[str, str]] = {}
    for node in body:
        if isinstance(node, ast.ClassDef):
            texts = found[node.name] = {}
            for field, text in zip(node.body, node.body[1:]):
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    match text:
                        case ast.Expr(ast.Constant(str() as said)):
                            texts[field.target.id] = " ".join(said.split())
    return found


def check_names(given: Iterable[str], known: Collection[str], where: str = "", what: str = "option") -> None:
    """Raise TypeError unless all that is given is known; names the nearest. where: what the message begins with."""
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(known)}"
            raise TypeError(f"{where}unknown {what} '{name}'; {hint}")


def plain(value: Any) -> Any:
    """As JSON, TOML and a checkpoint have it."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: float(getattr(value, field.name)) for field in fields(value)}  # a link of numbers
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if callable(value):
        return name_of(value)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return value
    return int(value) if isinstance(value, numbers.Integral) else float(value)  # NumPy's too


def name_of(function: Callable[..., Any]) -> str:
    """``package.module:name``, by which a recipe and a command name a function; of an object that of its class."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}:{named.__qualname__}"


_wrapped = functools.partial(textwrap.fill, width=112, initial_indent=4 * " ", subsequent_indent=8 * " ")
