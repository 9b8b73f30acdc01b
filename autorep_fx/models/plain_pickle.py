"""Pickles of plain data, read without running them.

A pickle is a program: it names functions to call and how much memory to set aside. Here its operations are only looked
at, and those that build bytes, text, whole numbers, lists, dictionaries and arrays of bytes are followed; whatever else
it asks for is refused. What a file makes us keep is bounded by a small multiple of its size and of
``_MOST_OPERATIONS``.
"""

from __future__ import annotations

import pickletools
from typing import Any

import numpy as np

#: The training batch of CIFAR-100, the largest that is read, has a tenth.
_MOST_OPERATIONS = 4_000_000

_PLAIN = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "NONE", "NEWTRUE", "NEWFALSE",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip
_OLD_TEXT = {"STRING", "BINSTRING", "SHORT_BINSTRING"}  # of Python 2: bytes, which pickletools gives as Latin-1
_FRAMING = {"PROTO", "FRAME"}


class _Name:
    """A function or class that a pickle names; never imported."""

    def __init__(self, name: tuple[str, str]):
        self.name = name


class _Bytes:
    """The dtype of unsigned bytes."""


class _Array:
    """An array that is filled by the operation after the one that makes it."""

    value: np.ndarray | None = None


def loads(data: bytes) -> Any:
    """What ``data`` holds: bytes, str, int, bool, None, lists, tuples and dicts of these, and uint8 arrays.

    Raises:
        ValueError: it is no pickle, is truncated, or asks for anything else; says what.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}
    left = len(data)  # to encode: a text that is named again and again must not be copied each time

    def popped() -> list[Any]:
        """What was put on the stack since the last mark."""
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    argument: Any
    try:
        for count, (operation, argument, _) in enumerate(pickletools.genops(data)):
            name = operation.name
            if count >= _MOST_OPERATIONS:
                raise ValueError(f"it has more than {_MOST_OPERATIONS:,} operations")
            if name in _PLAIN:
                stack.append({"NEWTRUE": True, "NEWFALSE": False}.get(name, argument))
            elif name in _OLD_TEXT:
                stack.append(argument.encode("latin1"))
            elif name == "BYTEARRAY8":
                stack.append(bytes(argument))
            elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
                memo[argument] = stack[-1]
            elif name == "MEMOIZE":
                memo[len(memo)] = stack[-1]
            elif name in ("GET", "BINGET", "LONG_BINGET"):
                stack.append(memo[argument])
            elif name == "MARK":
                marks.append(len(stack))
            elif name in ("EMPTY_LIST", "EMPTY_DICT", "EMPTY_TUPLE"):
                stack.append({"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}[name]())
            elif name in ("LIST", "TUPLE"):
                stack.append({"LIST": list, "TUPLE": tuple}[name](popped()))
            elif name == "DICT":
                items = popped()
                stack.append(dict(zip(items[::2], items[1::2])))
            elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
                n = int(name[-1])
                stack[-n:] = [tuple(stack[-n:])]
            elif name in ("APPEND", "APPENDS"):
                items = popped() if name == "APPENDS" else [stack.pop()]
                _checked(stack[-1], list).extend(items)
            elif name in ("SETITEM", "SETITEMS"):
                items = popped() if name == "SETITEMS" else [stack.pop() for _ in range(2)][::-1]
                _checked(stack[-1], dict).update(zip(items[::2], items[1::2]))
            elif name == "GLOBAL":
                stack.append(_Name(tuple(argument.split(" ", 1))))
            elif name == "STACK_GLOBAL":
                stack[-2:] = [_Name(tuple(stack[-2:]))]
            elif name == "REDUCE":
                arguments = _checked(stack.pop(), tuple)
                stack.append(_called(_checked(stack.pop(), _Name).name, arguments))
                left -= len(stack[-1]) if isinstance(stack[-1], bytes) else 0
                if left < 0:
                    raise ValueError("it grows")
            elif name == "BUILD":
                state = _checked(stack.pop(), tuple)
                _fill(stack[-1], state)
            elif name == "STOP":
                return _unwrapped(stack.pop())
            elif name not in _FRAMING:
                raise ValueError(f"it has the operation {name}")
    except (IndexError, KeyError, TypeError) as error:  # a value where there is none, a list as a key
        raise ValueError(f"it is no whole pickle: {error!r}") from error
    raise ValueError("it does not end")


def _called(name: tuple[str, str], arguments: tuple) -> Any:
    match name:
        case "_codecs", "encode":  # how Python 3 writes bytes for Python 2
            text, encoding = arguments
            if encoding == "latin1":
                return _checked(text, str).encode("latin1")
        case "numpy", "dtype":
            if arguments[0] not in ("u1", b"u1"):
                raise ValueError(f"it has an array of {arguments[0]!r}, and bytes alone are read")
            return _Bytes()
        case (("numpy.core.multiarray" | "numpy._core.multiarray"), "_reconstruct"):
            return _Array()
        case (("numpy.core.numeric" | "numpy._core.numeric"), "_frombuffer"):
            data, dtype, shape, order = arguments
            array = _Array()
            _fill(array, (1, shape, dtype, order != "C", data))
            return array
    raise ValueError(f"it asks for {'.'.join(map(str, name))}")


def _fill(target: Any, state: tuple) -> None:
    if isinstance(target, _Bytes):  # byte order and alignment, which a byte has not
        return
    _, shape, dtype, fortran, data = state
    _checked(dtype, _Bytes)
    if fortran:
        raise ValueError("it has an array in Fortran's order")
    shape = tuple(_checked(n, int) for n in _checked(shape, tuple))
    _checked(target, _Array).value = np.frombuffer(_checked(data, bytes), np.uint8).reshape(shape)


def _checked(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ValueError(f"it has a {type(value).__name__.lstrip('_')} where a {kind.__name__.lstrip('_')} belongs")
    return value


def _unwrapped(value: Any) -> Any:
    """The value with arrays for what stood for them, at the top and in a dictionary there."""
    if isinstance(value, dict):
        return {key: item.value if isinstance(item, _Array) else item for key, item in value.items()}
    return value.value if isinstance(value, _Array) else value
