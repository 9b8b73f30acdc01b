"""Functions with a gradient of their own (``torch.autograd.Function``), kept whole.

Tracing would see what their forward computes and lose their backward without a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import fx, nn
from torch.autograd import Function
from torch.autograd.function import _SingleLevelFunction
from torch.utils.checkpoint import CheckpointFunction

from .activations import Leaf


class KeptFunction(Leaf):
    """``function.apply``, as a node of a graph."""

    def __init__(self, function: type[Function]):
        super().__init__()
        self.function = function

    def forward(self, *args: Any) -> Any:
        return self.function.apply(*args)

    def extra_repr(self) -> str:
        return self.function.__name__


class KeptFunctions:
    """Those that the traces of a model met, by the path that each gets: one for each function and module it is in.

    They are put into the model when it is traced, since a container that is walked in a forward() must not grow.
    """

    def __init__(self) -> None:
        self.modules: dict[str, KeptFunction] = {}

    def at(self, scope: str, function: type[Function], root: nn.Module) -> str:
        parent, name, count = root.get_submodule(scope), function.__name__, 0
        while True:
            path = f"{scope}.{name}".lstrip(".")
            if path not in self.modules and not hasattr(parent, name):
                self.modules[path] = KeptFunction(function)
            if path in self.modules and self.modules[path].function is function:
                return path
            count += 1
            name = f"{function.__name__}_{count}"

    def put(self, root: nn.Module) -> None:
        for path, module in self.modules.items():
            put(root, path, module)


def put(root: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    root.get_submodule(parent).add_module(name, module)


@contextmanager
def kept_whole(called: Any) -> Iterator[None]:
    """While tracing, ``called(function, args)`` is what ``function.apply(*args)`` of proxies gives.

    What ``Function.apply`` itself calls is replaced: ``swish = Swish.apply`` holds the former since it was written.
    """
    base: Any = _SingleLevelFunction

    def apply(cls: type[Function], *args: Any, **kwargs: Any) -> Any:
        if not any(isinstance(arg, fx.Proxy) for arg in args):
            return super(base, cls).apply(*args, **kwargs)
        if cls is CheckpointFunction:  # it saves memory, and has the gradient of what it calls
            return args[0](*args[2:])
        return called(cls, args)

    base.apply = classmethod(apply)
    try:
        yield
    finally:
        del base.apply
