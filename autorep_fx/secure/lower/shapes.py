"""The shapes that a batch has at every node, and in one line where it does not fit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.passes.shape_prop import TensorMetadata

from ...graph.devices import misfit
from ...graph.several import Batch, parts_of
from ...hybrid.activation import HybridActivation


class _Shapes(fx.Interpreter):
    def __init__(self, gm: fx.GraphModule):
        super().__init__(gm)
        self.extra_traceback = False
        self.node: fx.Node | None = None

    def run_node(self, node: fx.Node) -> Any:
        self.node = node
        value = super().run_node(node)
        if isinstance(value, Tensor):
            # torch's own way to make one imports sympy, which takes longer than many a network.
            node.meta["tensor_meta"] = TensorMetadata(value.shape, value.dtype, value.requires_grad, value.stride(),
                                                      None, False, {})  # fmt: skip
        return value

    def call_module(self, target: Any, args: tuple, kwargs: dict) -> Any:
        site = self.fetch_attr(target)
        if isinstance(site, HybridActivation) and site.shape is not None and args[0].dim() > 1:
            found = tuple(args[0].shape[1:])
            if found != site.shape:
                raise _AnotherSize(
                    f"site '{target}' has masks for samples of {site.shape}, and they arrive there as {found}; give "
                    "inputs of the size that the model was transformed for, or transform it for this one"
                )
        return super().call_module(target, args, kwargs)


class _AnotherSize(Exception):
    pass


@torch.no_grad()
def note_shapes(gm: fx.GraphModule, x: Batch, name: str) -> None:
    """Run a batch, and note in ``meta["tensor_meta"]`` of every node what it gives.

    Raises:
        ValueError: the model does not run on it; in one line, with the shape of ``name`` and the place.
    """
    run = _Shapes(gm)
    try:
        run.run(*(part.clone() for part in parts_of(x)))  # the model may write into its input
    except _AnotherSize as error:
        sizes = " and ".join(f"(N, {', '.join(map(str, part.shape[1:]))})" for part in parts_of(x))
        wanted = f"{name} {sizes} are of another size than the masks"
        raise ValueError(f"{wanted}: {error}") from None
    except Exception as error:
        why = misfit(gm, parts_of(x)[0])
        raise ValueError(
            f"the model does not run on {name} of shape {tuple(x.shape)}: node '{run.node}' fails, "
            f"{str(error).partition(chr(10))[0]}{f'; {why}' if why else ''}"
        ) from error
