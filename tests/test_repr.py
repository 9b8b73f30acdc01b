"""What a notebook or a log shows of an object is short, and no number of a weight, a mask, a key or an input."""

import collections.abc
import dataclasses
import importlib
import inspect
import pkgutil
import types
import typing

import numpy as np
import pytest
import torch
from torch import nn

import autorep_fx as ar
from autorep_fx.models import ImageLoader, Images
from autorep_fx.secure.correlations.prepared import Prepared
from autorep_fx.secure.files import Published
from autorep_fx.secure.link.tls import Identity
from autorep_fx.secure.parties.weights import Weights
from autorep_fx.service.client import Client
from autorep_fx.service.client_session import Options
from autorep_fx.text import brief

#: In digits that nothing else has, with and without a point.
SECRET = 31415.9265
DIGITS = ("31415", "3.1415", "b'1415", "1415141514")

LONGEST = 500


def records() -> dict[str, type]:
    """Every dataclass and named tuple of the package, by module and name."""
    found = {}
    for module in pkgutil.walk_packages(ar.__path__, "autorep_fx."):
        if module.name.endswith(("__main__", "._C")):
            continue
        for cls in vars(importlib.import_module(module.name)).values():
            if inspect.isclass(cls) and cls.__module__ == module.name and _is_record(cls):
                found[f"{module.name}.{cls.__qualname__}"] = cls
    return found


def _is_record(cls: type) -> bool:
    return dataclasses.is_dataclass(cls) or (issubclass(cls, tuple) and hasattr(cls, "_fields"))


RECORDS = records()


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_full_of_numbers_shows_none_of_them(name):
    shown = repr(filled(RECORDS[name]))
    assert len(shown) <= LONGEST and "\n" not in shown, f"{name}: `__repr__ = brief` (text.py) is short: {shown[:200]}"
    assert not any(digits in shown for digits in DIGITS), shown
    assert shown.startswith(RECORDS[name].__name__)


def filled(cls: type, depth: int = 0) -> typing.Any:
    """An object of these fields, with a few words and numbers where there may be several, hundreds of all else."""
    hints = typing.get_type_hints(cls, localns={"Tensor": torch.Tensor})  # what is imported for types alone
    names = cls._fields if issubclass(cls, tuple) else [field.name for field in dataclasses.fields(cls)]
    values = {name: value_of(hints[name], depth) for name in names}
    if issubclass(cls, tuple):
        return cls(**values)
    made = object.__new__(cls)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


def value_of(hint: typing.Any, depth: int, index: int = 0) -> typing.Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    many = 300 if depth == 0 and arguments and not _is_plain(arguments[-2 if origin is tuple else -1]) else 4
    if origin in (typing.Union, types.UnionType):  # the part that can hold most
        return value_of(max(arguments, key=lambda part: (part is not type(None), not _is_plain(part))), depth, index)
    if origin in (tuple, list, set, collections.abc.Sequence, collections.abc.Iterable):
        kinds = [arguments[0]] * many if origin is not tuple or arguments[-1] is ... else arguments
        return (tuple if origin is tuple else list)(value_of(kind, depth + 1, i) for i, kind in enumerate(kinds))
    if origin in (dict, collections.abc.Mapping):
        return {value_of(arguments[0], depth + 1, i): value_of(arguments[1], depth + 1, i) for i in range(many)}
    if hint in (torch.Tensor, nn.Parameter, typing.Any):
        return torch.full((16, 20), SECRET, dtype=torch.float64)
    if hint is np.ndarray:
        return np.full((16, 20), SECRET)
    if hint is bytes:
        return b"1415" * 200
    if hint in (int, bool, float, str):
        return {int: 7, bool: True, float: 0.5, str: f"layer{index}.conv"}[hint]
    if inspect.isclass(hint) and _is_record(hint):
        return filled(hint, depth + 1)
    return object()


def _is_plain(hint: typing.Any) -> bool:
    return hint in (int, bool, float, str, type(None))


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.fc = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, stride=2), nn.Linear(16, 3)

    def forward(self, x):
        return self.fc(torch.relu(self.two(torch.relu(self.one(x)))).flatten(1))


@pytest.fixture(scope="module")
def held():
    """By name, what a user comes to hold; and the numbers that no line may have."""
    torch.manual_seed(0)
    x = torch.randn(8, 1, 8, 8)
    model = Small()
    gm = ar.transform(model, calibration=x, relu_budget=40)
    program = ar.compile(gm, x)
    with program.session() as session:
        result = session.run(x)
        objects = {"session": session, "session's insides": session._session}
    plan, numbers = program.native
    client = object.__new__(Client)  # of no service: it is not asked
    client.public = Published(plan, (1, 8, 8), None)
    client.options = Options("host:7001", "other:7002", Identity("alice.pem", "ca.pem"))
    images = Images(torch.zeros(5, 1, 8, 8, dtype=torch.uint8), torch.zeros(5), (0.5,), (0.5,), 10)
    objects |= {
        "client": client,
        "what is published": client.public,
        "client's options": client.options,
        "images": images,
        "loader": ImageLoader(images),
        "weights": Weights(plan, numbers),
        "prepared": Prepared("client", 1, 7, {"x": np.ones(3)}, {}),
        "program": program,
        "public part": program.public,
        "step": program.steps[0],
        "plan": plan,
        "plan's step": next(step for step in plan.steps if step.op == "activation"),
        "numbers": next(iter(numbers.values())),
        "cost": program.cost("wan"),
        "headroom": program.headroom(x),
        "input range": session.range,
        "result": result,
        "statistics": result.stats,
        "phase": result.stats.online,
        "report": ar.inspect(gm, x, network="wan"),
        "budgets": ar.plan_budgets(gm, x, networks=("wan",), shares=(1.0, 0.0)),
        "drift": ar.monitor(gm, x),
        "network": ar.Network(40, 100),
        "site": next(iter(ar.sites(gm).values())),
        "crypten's program": program.crypten,
    }
    private = [f"{abs(value):.6g}" for t in (*model.parameters(), x, result.output) for value in t.flatten().tolist()]
    rings = [array for own in numbers.values() for array in (own.weight, own.constant) if array is not None]
    private += [str(number) for array in rings for number in array.flat if abs(number) > 9999]
    return objects, private


def test_what_a_user_holds_is_shown_short_and_without_private_numbers(held):
    objects, private = held
    for name, each in objects.items():
        shown = repr(each)
        assert len(shown) <= LONGEST, f"{name} has {len(shown)} characters"
        assert "tensor(" not in shown and "array(" not in shown, f"{name}: {shown}"
        assert not any(number in shown for number in private), f"{name}: {shown}"
        assert " object at 0x" not in shown, f"{name} does not say what it is: {shown}"
        assert type(each).__name__ in shown


def test_a_program_says_its_steps_its_shapes_and_how_many_numbers_are_private(held):
    program = held[0]["program"]
    assert repr(program) == "SecureProgram(6 steps, Nx1x8x8 -> Nx3, 263 private numbers)"
    assert repr(program.public) == "PublicProgram(6 steps, Nx1x8x8 -> Nx3)"
    assert str(program).startswith("SecureProgram: 6 steps, 263 private numbers\nstep"), "print shows the steps"
    assert len(str(program).splitlines()) == 10


def test_a_result_says_what_came_out_and_what_it_cost(held):
    result = held[0]["result"]
    assert repr(result).startswith("Result(output=<float32 8x3>, stats=Stats(online ")
    assert f"{result.stats.online.rounds} rounds" in repr(result)


@dataclasses.dataclass
class Example:
    name: str
    weight: typing.Any = None
    seed: bytes = b""
    sizes: tuple = ()
    many: list = dataclasses.field(default_factory=list)
    hidden: int = dataclasses.field(default=0, repr=False)
    ratio: float = 1.0

    __repr__ = brief


def test_a_line_has_words_and_numbers_and_of_all_else_the_size():
    assert repr(Example("conv")) == "Example(name='conv')"
    full = Example("conv", np.ones((2, 3)), b"secret", (1, 8, 8), [object()] * 3, 5, 1 / 3)
    assert repr(full) == ("Example(name='conv', weight=<float64 2x3>, seed=<6 bytes>, sizes=(1, 8, 8), "
                          "many=<3 entries>, ratio=0.333333)")  # fmt: skip
    assert repr(Example("x", torch.tensor(2.5))) == "Example(name='x', weight=<float32>)"
    assert repr(Example("x", many=[1] * 99)) == "Example(name='x', many=<99 entries>)"
    long = dataclasses.replace(full, many=["a word"] * 9)
    assert repr(Example("x", long)) == "Example(name='x', weight=<Example>)"
    assert repr(Example("x", {"a": full})) == "Example(name='x', weight=<1 entry>)"
    assert len(repr(Example("n" * 1000, "w" * 1000))) < 200
