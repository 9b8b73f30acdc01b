"""Programs on disk: a folder with a public part, for everyone, and the server's part. JSON and safetensors, no pickle.

public.json                the plan (plan/plan.py), the input's shape (of several inputs, those of all) and the
                           output's form (outputs.py), nothing else; for client and dealer
server-<mark>.safetensors  the program, and its weights, biases and coefficients, as numbers and as ring elements; its
                           owner alone may read it. Give it to the server, with public.json, and to nobody else

``<mark>`` is a hash of what public.json says, so each belongs to the other, and writing public.json, which happens at
once or not at all, is what replaces one program by the next. What is read is checked whole before it is used. The
server's part has a digest of each tensor, and one of all else that it says: bits that were flipped on a disk are found
in whatever part of it is read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..content import check_digest
from ..content import digest as digest_of
from ..errors import CompileError, FormatError
from ..text import brief
from .plan import plan as native
from .plan.server_numbers import Numbers
from .plan.validate import check_numbers, check_plan
from .program.checks import NAME, NUMBER, SHAPE, Check, check, check_attrs, whole
from .program.outputs import Form, check_form
from .program.program import Program, PublicProgram, Step
from .program.step_json import LONGEST, digest, dumps, from_json, loads, to_json

_FORMAT, _VERSION = "autorep_fx program", 4
_PUBLIC, _SERVER = "public.json", "server-*.safetensors"

#: Where the server's file keeps what, and what a user does about one that is damaged.
_REAL, _WEIGHT, _CONSTANT = "real/", "weight/", "constant/"
_WAY_OUT = "compile the model again"
_VERSIONS = f"{_WAY_OUT} if the file is the older one, install a newer autorep_fx here if it is the newer"

_TABLE = Check("a table", lambda v, _: type(v) is dict)
_LIST = Check("a list", lambda v, _: type(v) is list)
_NUMBERS = Check("a list of finite numbers", lambda v, s: type(v) is list and all(NUMBER.holds(n, s) for n in v))

#: What else the server keeps.
_SETTINGS = {
    "reach": Check(
        "a table of lists of finite numbers",
        lambda v, s: type(v) is dict and all(NAME.holds(k, s) and _NUMBERS.holds(x, s) for k, x in v.items()),
    ),
    "frac_bits": whole(0, 64),
    "obstacle": Check("a text", lambda v, _: type(v) is str),
}
#: What it says only where it is not as it mostly is, and as it was before there was a choice.
_MAY = {"dealer": Check("a truth value", lambda v, _: type(v) is bool)}


def save_program(
    folder: str | Path,
    program: Program,
    plan: native.Plan | None,
    numbers: dict[str, Numbers],
    settings: dict[str, Any],
) -> None:
    """Write both parts; a program that is there already is replaced, whole or not at all. One writer at a time.

    Args:
        plan, numbers: of the native runtime; None and {} for a program that it cannot run.
        settings: ``reach`` (as lists), ``frac_bits`` and ``obstacle`` of a :class:`~.secure_program.SecureProgram`;
            ``dealer``, where it is False.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _check(program, plan, numbers, settings)
    public = {
        "format": _FORMAT,
        "version": _VERSION,
        "input": _shapes(program.public),
        "output": program.public.form,
        "plan version": None if plan is None else native.VERSION,
        "plan": None if plan is None else [to_json(step) for step in plan.steps],
    }
    if plan is not None and plan.checked:
        public["checked"] = True
    arrays = {_REAL + key: np.asarray(value.numpy(), order="C") for key, value in program.server.items()}
    for name, own in numbers.items():
        for prefix, array in ((_WEIGHT, own.weight), (_CONSTANT, own.constant)):
            if array is not None:
                arrays[prefix + name] = np.asarray(array, order="C")  # of a scalar, too, the shape
    parts = {f.name: getattr(program.public, f.name) for f in dataclasses.fields(PublicProgram)}
    if not program.public.more_inputs:
        del parts["more_inputs"]  # which files of one input never had
    private = {
        "program": {**parts, "steps": [to_json(step) for step in program.steps]},
        "settings": settings,
        "bits": {name: own.bits for name, own in numbers.items()},
    }
    text = {"format": _FORMAT, "version": str(_VERSION), "public": _mark(public), "private": dumps(private)}
    server = _server(folder, public)
    write(server, save(arrays, metadata=sealed(text, arrays)), 0o600)
    write(folder / _PUBLIC, dumps(public).encode(), 0o666)
    for old in folder.glob(_SERVER):
        if old != server:
            old.unlink()


@dataclasses.dataclass(frozen=True)
class Published:
    """What client and dealer know of a program.

    Attributes:
        input_shape: of a sample; of the first input, where there are several (``plan.inputs``).
        form: of the output (outputs.py).
    """

    plan: native.Plan
    input_shape: tuple[int, ...]
    form: Form | None

    __repr__ = brief


def load_published(folder: str | os.PathLike) -> Published:
    """The public part alone, for client and dealer.

    Raises:
        FormatError: it is missing, damaged, of another version, no plan that could be run, or there is none, because
            the native runtime cannot run this program.
    """
    public, plan = _public(Path(folder))
    if plan is None:
        raise FormatError(f"the program at {folder} has no plan for the native runtime; it runs with backend='crypten'")
    return Published(plan, plan.input.shape, public["output"])


def publish(folder: str | os.PathLike, out: str | os.PathLike) -> None:
    """Copy the public part, and nothing else, to another folder: what client and dealer may have.

    Raises:
        FormatError: as :func:`load_published`.
    """
    load_published(folder)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    if found := next(out.glob(_SERVER), None):
        raise FormatError(f"{found} is a server's part, and {out} is to be public; choose an empty folder")
    write(out / _PUBLIC, (Path(folder) / _PUBLIC).read_bytes(), 0o666)


def load_program(folder: str | Path) -> tuple[Program, native.Plan | None, dict[str, Numbers], dict[str, Any]]:
    """Both parts: what :func:`save_program` got.

    Raises:
        FormatError: one is missing, damaged, of another version, nothing that could be run, or they do not belong
            together; names the file and the place in it.
    """
    import torch  # which who has the public part alone, or the server's numbers, needs not have

    folder = Path(folder)
    public, plan = _public(folder)
    path, private, arrays = _private(folder, public, _REAL, _WEIGHT, _CONSTANT)
    with _named(path):
        program = Program(_program(private["program"]), _part(arrays, _REAL, torch.from_numpy))
        numbers = _numbers(private, arrays)
        _check(program, plan, numbers, private["settings"])
        if _shapes(program.public) != public["input"]:
            raise FormatError("takes inputs of another shape than the public part")
        if program.public.form != public["output"]:
            raise FormatError("gives its output another form than the public part")
    return program, plan, numbers, private["settings"]


def load_served(folder: str | Path) -> tuple[Published, dict[str, Numbers]]:
    """What the server of a service needs: what is published, and its numbers in the ring. Nothing else is read.

    Raises:
        FormatError: as :func:`load_program`, of what is read.
        CompileError: the native runtime cannot run this program; says why.
    """
    folder = Path(folder)
    public, plan = _public(folder)
    path, private, arrays = _private(folder, public, _WEIGHT, _CONSTANT)
    with _named(path):
        numbers = _numbers(private, arrays)
        check_attrs(private["settings"], _SETTINGS, _MAY, "the settings")
        if plan is None:
            raise CompileError(private["settings"]["obstacle"])
        check_numbers(plan, numbers)
    return Published(plan, plan.input.shape, public["output"]), numbers


def _check(program: Program, plan: native.Plan | None, numbers: dict[str, Numbers], settings: Any) -> None:
    from .program.validate import check_program  # of tensors

    check_program(program)
    if plan is not None:
        check_plan(plan)
    check_numbers(plan or native.Plan(()), numbers)
    check_attrs(settings, _SETTINGS, _MAY, "the settings")


def _public(folder: Path) -> tuple[dict[str, Any], native.Plan | None]:
    path = folder / _PUBLIC
    try:
        with path.open("rb") as file:
            text = file.read(LONGEST + 1)
    except OSError as error:
        raise FormatError(f"no program at {folder}: {error}") from error
    public = loads(text, str(path))
    if type(public) is not dict or public.get("format") != _FORMAT:
        raise FormatError(f"{path} is not a program of autorep_fx")
    if public.get("version") != _VERSION:
        raise FormatError(f"{path} is of version {public.get('version')}, this is {_VERSION}; {_VERSIONS}")
    with _named(path):
        checked = public.get("checked", False)  # said where it is true, so that earlier versions refuse such a program
        if {*public} - {"checked"} != {"format", "version", "input", "output", "plan version", "plan"}:
            raise FormatError("does not have the entries of a program")
        if type(checked) is not bool or checked and public["plan"] is None:
            raise FormatError("does not say whether its plan is checked")
        check(public["input"], _LIST, "the input's shape")
        several = public["input"] and all(type(each) is list for each in public["input"])
        shapes = tuple(map(tuple, public["input"])) if several else (tuple(public["input"]),)
        for shape in shapes:
            check(shape, SHAPE, "the input's shape")
        if public["plan"] is None:
            return public, None
        if public["plan version"] != native.VERSION:
            raise FormatError(f"the plan is of version {public['plan version']}, this is {native.VERSION}; {_VERSIONS}")
        check(public["plan"], _LIST, "the plan")
        steps = (from_json(native.Step, row, f"step {i} of the plan") for i, row in enumerate(public["plan"]))
        plan = check_plan(native.Plan(tuple(steps), checked))
        if tuple(step.shape for step in plan.inputs) != shapes:
            raise FormatError("the plan takes inputs of another shape")
        check_form(public["output"], math.prod(plan.output.shape))
    return public, plan


def _private(
    folder: Path, public: dict[str, Any], *prefixes: str
) -> tuple[Path, dict[str, Any], dict[str, np.ndarray]]:
    """The server's part: its file, what that says of itself, and its arrays whose names begin so."""
    path = _server(folder, public)
    if not path.is_file():
        if other := next(folder.glob(_SERVER), None):
            raise FormatError(f"{other} belongs to another program than {folder / _PUBLIC}")
        raise FormatError(f"no server's part at {folder}")
    with _named(path):
        metadata, arrays = _tensors(path, prefixes)
        if metadata.get("format") != _FORMAT or metadata.get("version") != str(_VERSION):
            raise FormatError(f"is not the server's part of version {_VERSION}")
        if metadata.get("public") != _mark(public):
            raise FormatError(f"belongs to another program than {_PUBLIC}")
    _check_content(path, metadata, arrays, prefixes)
    with _named(path):
        private = loads(metadata.get("private", ""), "its description")
        check_attrs(private, {"program": _TABLE, "settings": _TABLE, "bits": _TABLE}, {}, "its description")
    return path, private, arrays


def sealed(text: dict[str, str], arrays: dict[str, np.ndarray]) -> dict[str, str]:
    """What a server's file says, with digests of that and of its tensors."""
    said = {**text, "digests": dumps({key: digest_of(array) for key, array in arrays.items()})}
    return {**said, "digest": digest_of(said)}


def _check_content(
    path: Path, metadata: dict[str, str], arrays: dict[str, np.ndarray], prefixes: tuple[str, ...]
) -> None:
    """Raise FormatError unless what was read is what was written."""
    said = dict(metadata)
    check_digest(path, said.pop("digest", None), said, "its description is", _WAY_OUT)
    if "digests" not in said:  # of an earlier version
        return
    written = loads(said["digests"], f"{path}: its list of digests")
    wanted = {key: value for key, value in written.items() if key.startswith(prefixes)}
    if wanted.keys() != arrays.keys():
        raise FormatError(f"{path} is damaged: its tensors are not those that were written; {_WAY_OUT}")
    for key, array in arrays.items():
        check_digest(path, wanted[key], array, f"the numbers of '{key}' are", _WAY_OUT)


def _numbers(private: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Numbers]:
    weights, constants = _part(arrays, _WEIGHT), _part(arrays, _CONSTANT)
    numbers = {name: Numbers(weights.pop(name, None), constants.pop(name, None), bits)
               for name, bits in private["bits"].items()}  # fmt: skip
    if unknown := [*weights, *constants]:
        raise FormatError(f"has numbers of '{unknown[0]}', without their width")
    return numbers


def _program(parts: dict[str, Any]) -> PublicProgram:
    shapes = Check("a table of shapes", lambda v, _: type(v) is dict and all(type(x) is list for x in v.values()))
    anything = Check("", lambda v, _: True)
    wanted = {"input": NAME, "input_shape": _LIST, "steps": _LIST, "output": anything, "secret_shapes": shapes,
              "form": anything}  # fmt: skip
    check_attrs(parts, wanted, {"more_inputs": shapes}, "its program")
    steps = tuple(from_json(Step, row, f"step {i} of the program") for i, row in enumerate(parts["steps"]))
    of_secrets = {key: tuple(shape) for key, shape in parts["secret_shapes"].items()}
    more = {name: tuple(shape) for name, shape in parts.get("more_inputs", {}).items()}
    return PublicProgram(parts["input"], tuple(parts["input_shape"]), steps, parts["output"], of_secrets,
                         parts["form"], more_inputs=more)  # fmt: skip


def _shapes(public: PublicProgram) -> list[Any]:
    """Of the input; of several, a list of those of all."""
    found = [list(shape) for shape in public.inputs.values()]
    return found if len(found) > 1 else found[0]


def _part(arrays: dict[str, np.ndarray], prefix: str, of=lambda array: array) -> dict[str, Any]:
    return {key[len(prefix) :]: of(value) for key, value in arrays.items() if key.startswith(prefix)}


def _mark(public: dict[str, Any]) -> str:
    return digest(public).hex()


def _server(folder: Path, public: dict[str, Any]) -> Path:
    return folder / _SERVER.replace("*", _mark(public)[:12])


@contextlib.contextmanager
def _named(path: Path):
    """Errors within say which file they are about."""
    try:
        yield
    except FormatError as error:
        raise FormatError(f"{path} is damaged: {error}") from error


def _tensors(path: Path, prefixes: tuple[str, ...]) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    try:
        with safe_open(path, "numpy") as file:
            wanted = [key for key in file.keys() if key.startswith(prefixes)]
            return file.metadata() or {}, {key: file.get_tensor(key) for key in wanted}
    except (OSError, SafetensorError, TypeError, ValueError) as error:  # a type that NumPy does not have: TypeError
        raise FormatError(f"cannot be read: {error}") from error


def create(path: Path, mode: int = 0o600) -> BinaryIO:
    """Open a new file for writing, with this mode (less the umask) from the first byte on.

    Raises:
        FileExistsError: there is one.
    """
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb")


def write(path: Path, data: bytes, mode: int) -> None:
    """The file appears whole or not at all, with this mode (less the umask) from the first byte on."""
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        with create(partial, mode) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
