"""Sites: kept positions, and polynomials in place of the others."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....graph.names import KINDS
from .. import checks, tensor_ops
from ..checks import Check, one_of, whole
from ..kept import kept
from ..kinds import EXACT
from ..operation import Operation, Private
from ..program import Step
from ..ranged import RANGED
from ..shapes import LARGEST, Shape, need
from ..spline import function

_POSITIONS = checks.POSITIONS._replace(holds=lambda v, s: isinstance(v, Tensor) and checks.POSITIONS.holds(v, s))
_PARAMS = Check(
    "a table of numbers and words",
    lambda v, s: type(v) is dict and all(type(x) is str or checks.NUMBER.holds(x, s) for x in v.values()),
)


def _shape(step: Step, x: Shape, coeffs: Shape | None = None, slope: Shape | None = None) -> Shape:
    a = step.attrs
    need(len(x) >= 1 and a["per_channel"] * x[0] == math.prod(x), "counts other positions in a channel")
    both = torch.cat([a["kept"], a["replaced"]])
    need(len(both) == math.prod(x) == len(both.unique()), "must keep or replace each position")
    need(coeffs == ((a["degree"] + 1, x[0]) if len(a["replaced"]) else None), f"has coefficients of shape {coeffs}")
    kind = a["kind"] if len(a["kept"]) else ""
    need(kind in ("", *EXACT) or "params" in a, f"keeps {kind} and lacks its 'params'")
    need(kind in ("", *EXACT) or _computes(kind, a["params"]), f"has 'params' that are none of {kind}")
    own = EXACT.get(kind, EXACT["relu"])
    need(slope == (x[:1] if own.slope == "private" else None), f"has slopes of shape {slope}")
    need(own.slope != "public" or "slope" in a, "lacks 'slope'")
    return x


def _computes(kind: str, params: dict[str, Any]) -> bool:
    try:
        return bool(np.isfinite(function(kind, params)(np.array([-1.0, 0.0, 1.0]))).all())
    except (TypeError, ValueError, RuntimeError):
        return False


def _plain(step: Step, secrets: dict[str, Tensor], x: Tensor) -> Tensor:
    a, flat = step.attrs, x.flatten(1)
    if not len(a["replaced"]) and "lifts" not in a:  # all are kept, in their order
        return kept(step, secrets, flat).view_as(x)
    out = torch.empty_like(flat)
    if len(a["kept"]):
        out[:, a["kept"]] = kept(step, secrets, flat[:, a["kept"]])
    if "lifts" in a:  # of a program that the planner rewrote (planner/fold_squares.py)
        lifts = torch.tensor(a["lifts"])[a["kept"] // a["per_channel"]]
        out[:, a["kept"]] *= 2.0**lifts
    if len(a["replaced"]):
        z, coeffs = flat[:, a["replaced"]], tensor_ops.by_position(step, secrets["coeffs"], "replaced")
        y = coeffs[-1].expand_as(z)
        for c in coeffs[:-1].flip(0):
            y = y * z + c
        out[:, a["replaced"]] = y
    return out.view_as(x)


OPERATIONS = {
    "hybrid": Operation(
        Private(
            _shape,
            {"kind": one_of(*KINDS, *RANGED), "degree": whole(1, 16), "per_channel": whole(1, LARGEST),
             "kept": _POSITIONS, "replaced": _POSITIONS},
            {"slope": checks.NUMBER, "params": _PARAMS},
            secrets={"coeffs": False, "slope": False},
        ),
        _plain,
    )
}  # fmt: skip
