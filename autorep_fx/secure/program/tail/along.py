"""What goes along axes: sums, shares of a whole, the largest and where they are."""

from __future__ import annotations

import numpy as np

from .. import checks, shapes
from ..checks import Rule, several
from ..shapes import Shape, need
from .step import TailOperation, TailStep

_DIMS = {"dims": several(checks.WHOLE), "keepdim": checks.FLAG}
_DIM = {"dim": checks.WHOLE}


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    return np.exp(log_softmax(x, axis))


def log_softmax(x: np.ndarray, axis: int) -> np.ndarray:
    x = x - x.max(axis, keepdims=True)
    return x - np.log(np.exp(x).sum(axis, keepdims=True))


def _same(step: TailStep, x: Shape) -> Shape:
    need(step.attrs["dim"] <= len(x), f"has no axis {step.attrs['dim']}")
    return x


def _one(step: TailStep, x: Shape) -> Shape:
    return shapes.sum_over({"dims": (step.attrs["dim"],), "keepdim": step.attrs["keepdim"]}, x)


def _largest(step: TailStep, x: Shape) -> Shape:
    a = step.attrs
    need(a["count"] <= _same(step, x)[a["dim"] - 1], f"takes {a['count']} of {x[a['dim'] - 1]}")
    return (*x[: a["dim"] - 1], a["count"], *x[a["dim"] :])


def _best(step: TailStep, x: np.ndarray) -> np.ndarray:
    """The ``count`` largest (smallest), in order, or their places; of equal ones the first."""
    a = step.attrs
    key = x.astype(np.float64) if x.dtype == bool else x
    order = np.argsort(-key if a["largest"] else key, a["dim"], kind="stable")
    order = np.take(order, np.arange(a["count"]), a["dim"])
    return order if a["part"] == "places" else np.take_along_axis(x, order, a["dim"])


def _gathered(step: TailStep, x: Shape, places: Shape) -> Shape:
    axis = step.attrs["dim"] - 1
    fits = len(x) == len(places) and all(p <= n for i, (n, p) in enumerate(zip(x, places)) if i != axis)
    need(axis < len(x) and fits, f"takes {places} of {x}")
    return places


def _gather(step: TailStep, x: np.ndarray, places: np.ndarray) -> np.ndarray:
    axis = step.attrs["dim"]
    if places.dtype.kind not in "iu" or places.size and not 0 <= places.min() <= places.max() < x.shape[axis]:
        raise ValueError(f"step '{step.name}' of the client's takes places beyond axis {axis} of {x.shape[1:]}")
    cut = tuple(slice(n) if i != axis else slice(None) for i, n in enumerate(places.shape))
    return np.take_along_axis(x[cut], places, axis)


OPERATIONS = {
    "softmax": TailOperation(Rule(_same, _DIM), lambda step, x: softmax(x, step.attrs["dim"])),
    "log_softmax": TailOperation(Rule(_same, _DIM), lambda step, x: log_softmax(x, step.attrs["dim"])),
    "cumsum": TailOperation(Rule(_same, _DIM), lambda step, x: x.cumsum(step.attrs["dim"])),
    **{
        op: TailOperation(
            Rule(lambda s, x: shapes.sum_over(s.attrs, x), _DIMS),
            lambda step, x, f=f: f(x, axis=step.attrs["dims"], keepdims=step.attrs["keepdim"]),
        )
        for op, f in (("sum", np.sum), ("mean", np.mean), ("largest", np.max), ("smallest", np.min))
    },
    **{
        op: TailOperation(
            Rule(_one, {**_DIM, "keepdim": checks.FLAG}),
            lambda step, x, f=f: f(x, axis=step.attrs["dim"], keepdims=step.attrs["keepdim"]),
        )
        for op, f in (("argmax", np.argmax), ("argmin", np.argmin))
    },
    "topk": TailOperation(
        Rule(_largest, {**_DIM, "count": checks.WHOLE, "largest": checks.FLAG,
                        "part": checks.one_of("values", "places")}), _best,
    ),
    "gather": TailOperation(Rule(_gathered, _DIM, inputs=2), _gather),
}  # fmt: skip
