"""A model traced once as it trains and once as it is evaluated, for any shape or for one."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import getfile

import torch
from torch import fx, nn

from ..errors import TraceError
from . import sizes
from .augmented import settle_augmented
from .autocast import warn_of, watched
from .concrete import Values
from .devices import autocast, device_of
from .functions import KeptFunctions, kept_whole
from .gradients import stop_gradients
from .randomness import GlobalGenerators
from .several import Batch, batch_of, parts_of
from .tracer import Tracer
from .unwrap import described


class Untraceable(TraceError):
    """By a trace without an example."""


def both_modes(model: nn.Module, x: Batch | None) -> tuple[tuple[fx.Graph, fx.Graph], nn.Module]:
    """Graphs of train and eval mode, and the copy that the second was traced on: tracing leaves constants on it."""
    evaluated, functions = copy.deepcopy(model), KeptFunctions()
    graphs = _in_mode(model, True, x, functions), _in_mode(evaluated, False, x, functions)
    functions.put(model)
    for graph in graphs:
        settle_augmented(model, graph)
    return graphs, evaluated


def for_shape(model: nn.Module, x: Batch) -> tuple[tuple[fx.Graph, fx.Graph], nn.Module]:
    """The same for one shape of samples, and any size of the batch: two sizes must give the same graphs."""
    others, _ = both_modes(copy.deepcopy(model), _repeated(x, 3))
    graphs, evaluated = both_modes(model, _repeated(x, 2))
    if [_text(graph) for graph in graphs] != [_text(graph) for graph in others]:
        raise TraceError(
            f"{type(model).__name__} takes a path that depends on the size of the batch; keep axis 0 the batch, and "
            "take sizes of other axes only"
        )
    return graphs, evaluated


def _repeated(x: Batch, times: int) -> Batch:
    return batch_of([part[:1].repeat(times, *(1,) * (part.dim() - 1)) for part in parts_of(x)])


def _text(graph: fx.Graph) -> list[str]:
    return [f"{node.target} {node.args} {node.kwargs}" for node in graph.nodes]


@contextmanager
def _as_outside(model: nn.Module) -> Iterator[None]:
    """Gradients on and autocast off, so that what forward() switches can be told."""
    with torch.enable_grad(), autocast(device_of(model), enabled=False):
        yield


def _in_mode(model: nn.Module, training: bool, x: Batch | None, functions: KeptFunctions) -> fx.Graph:
    model.train(training)
    values = None if x is None else Values(copy.deepcopy(model), x, model)
    tracer, before = Tracer(functions, values), GlobalGenerators()
    try:
        with (
            _as_outside(model),
            sizes.recorded(),
            kept_whole(tracer.call_autograd_function),
            watched(tracer.enter_autocast),
        ):
            graph = tracer.trace(model)
        if values is not None:
            values.settle(graph)
        warn_of(tracer.left_out)
        stop_gradients(model, graph, tracer.without_gradients)
        used = before.used()
    except TraceError:
        raise
    except Exception as error:
        where = _user_frame(error)
        sizes_known = "the size of the batch stays open: keep x.shape[0] as it is, in a tuple of sizes"
        raise (Untraceable if x is None else TraceError)(
            f"{type(model).__name__} cannot be traced{where}: {error}. Symbolic tracing needs a forward() whose path "
            "does not depend on the values of tensors; move such a part into a torch.nn leaf module or outside the "
            f"model. Where it depends on shapes alone, {'give example_inputs' if x is None else sizes_known}"
        ) from error
    finally:
        before.restore()
    if used:
        raise TraceError(
            f"{tracer.drew or described(model, '')} draws random numbers from {' and '.join(used)} in forward(), which "
            "would stay what they were while it was traced; draw them from the input (torch.rand_like(x), "
            "x.new_empty(n).bernoulli_(p)), or use nn.Dropout"
        )
    return graph


def _user_frame(error: Exception) -> str:
    ours = (torch.__path__[0], getfile(Tracer), __file__)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(ours)]
    frames = [f for f in frames if f.name == "forward" or f.line] if frames else []
    return f" (at {frames[-1].filename}:{frames[-1].lineno}, `{frames[-1].line}`)" if frames else ""
