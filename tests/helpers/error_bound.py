"""How far a private run may be from exact arithmetic, for a given input.

Where the error comes from: precision.py. The rounding to the grid is not random and is computed here exactly:
``rounding`` is the program on rounded numbers minus the program on exact ones. The bounds are of what the divisions of
shares add, in a run in which no number wraps around.

How it travels. Two answers:

``bound``, rigorous: |error| <= bound for every draw of the shares. Each step maps bounds on its inputs' errors to one
on its output's: |W| in place of W for a linear step, plus u for each division; ReLU, ReLU6 and the maximum are
1-Lipschitz; for the square z**2: 2 |z| b + b**2; for a product with x in Horner's rule: |t| b + |x| e + e b. It grows
with the product of the layers' absolute row sums, so it says little about a deep network.

``std``, the standard deviation to first order: the divisions are independent sources, so the variance of an output is
the sum over all of them of (d output / d source)**2 u**2 / 4. The derivatives come from autograd through the rounded
program, one backward pass for each output of a sample. (Convolving variances with W**2 would take the errors of
neighbouring elements as independent, which behind the first layer, in a shortcut or under a mean they are not.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from autorep_fx.secure.crypten.fixed_point import FixedProgram, on_grid, whole_factor
from autorep_fx.secure.crypten.precision import wraps
from autorep_fx.secure.crypten.simulate import execute, values
from autorep_fx.secure.program import tensor_ops
from autorep_fx.secure.program.program import Step


@dataclass
class ErrorBound:
    """Error of a private run on one input, in units of the output.

    Attributes:
        output: the program in exact arithmetic, float64.
        rounding: error of the grid; not random.
        bound: |private - output - rounding| <= bound, rigorous.
        std: standard deviation of private - output - rounding, to first order.
        wraps: expected number of elements that wrap around in one run and destroy the result.
    """

    output: Tensor
    rounding: Tensor
    bound: Tensor
    std: Tensor
    wraps: float

    @property
    def total(self) -> Tensor:
        """Rigorous bound on |private - output|."""
        return self.rounding.abs() + self.bound


def error_bound(program: FixedProgram, x: Tensor) -> ErrorBound:
    """Bound the error that a private run on ``x`` makes; see the module's text for the derivation."""
    output = execute(program, x)
    std, rounded = _deviation(program, x)
    return ErrorBound(output, rounded - output, _rigorous(program, x), std, wraps(program, x))


def _deviation(program: FixedProgram, x: Tensor) -> tuple[Tensor, Tensor]:
    """Standard deviation of the output, and the rounded program's output."""
    sources: list[Tensor] = []

    def inject(value: Tensor, divisor: int | None) -> Tensor:
        sources.append(torch.zeros_like(value, requires_grad=True))
        return value + sources[-1]

    with torch.enable_grad():
        output = execute(program, x, rounded=True, cut=inject)
        variance = torch.zeros(output.shape, dtype=torch.float64).flatten(1)
        columns = output.flatten(1)
        for k in range(columns.shape[1]) if sources else ():
            # Samples do not touch one another, so one pass does the k-th output of all of them.
            grads = torch.autograd.grad(columns[:, k].sum(), sources, retain_graph=True, allow_unused=True)
            for grad in grads:
                if grad is not None:
                    variance[:, k] += grad.square().flatten(1).sum(1)
    unit = 2.0**-program.frac_bits
    return (variance.sqrt() * unit / 2).view(output.shape), output.detach()


def _rigorous(program: FixedProgram, x: Tensor) -> Tensor:
    found, server = values(program, x, rounded=True), on_grid(program)
    unit = 2.0**-program.frac_bits
    bounds = {program.public.input: torch.zeros(x.shape, dtype=torch.float64)}
    for step in program.steps:
        secrets = {role: server[key] for role, key in step.secrets.items()}
        inputs = [(found[name], bounds[name]) for name in step.inputs]
        bounds[step.name] = BOUNDS[step.op](step, secrets, unit, *inputs)
    return bounds[program.public.output]


def _off_grid(number: float, unit: float) -> float:
    return abs(round(number / unit) * unit - number)


def _conv2d(step: Step, secrets: dict[str, Tensor], unit: float, x: tuple[Tensor, Tensor]) -> Tensor:
    a = step.attrs
    return F.conv2d(x[1], secrets["weight"].abs(), None, a["stride"], a["padding"], a["dilation"], a["groups"]) + unit


def _scale(step: Step, secrets: dict[str, Tensor], unit: float, x: tuple[Tensor, Tensor]) -> Tensor:
    value, bound = x
    factor = abs(step.attrs["factor"])
    whole, divisor = whole_factor(step.attrs["factor"])
    if whole is not None:
        return bound * factor
    if divisor is not None:
        return bound * factor + unit
    return bound * factor + _off_grid(factor, unit) * (value.abs() + bound) + unit


def _spline(step: Step, unit: float, x: Tensor, b: Tensor) -> Tensor:
    """A value that is off may lie in another piece: the steepest slope within its bound, all jumps, two divisions."""
    c0, c1, c2 = (torch.tensor(step.attrs[f"c{k}"], dtype=torch.float64) for k in range(3))
    knots = torch.tensor(step.attrs["knots"], dtype=torch.float64)
    far = x.abs() + b
    slope = (c1.abs() + 2 * c2.abs() * torch.cat([knots, knots[-1:]]).abs().clamp(max=float(far.max()))).max()
    jumps = (c0.diff() + (c1.diff() + c2.diff() * knots) * knots).abs().sum()
    return slope * b + torch.where(b > 0, jumps, 0.0) + unit * (far + 1)


def _hybrid(step: Step, secrets: dict[str, Tensor], unit: float, x: tuple[Tensor, Tensor]) -> Tensor:
    a = step.attrs
    value, bound = (t.flatten(1) for t in x)
    out = torch.empty_like(bound)
    if len(a["kept"]):
        v, b = value[:, a["kept"]], bound[:, a["kept"]]
        if a["kind"] == "leaky_relu":
            b = b * max(1.0, abs(a["slope"])) + _off_grid(a["slope"], unit) * (v.abs() + b) + unit
        elif a["kind"] == "prelu":
            b = b * tensor_ops.by_position(step, secrets["slope"], "kept").abs().clamp(min=1) + unit
        elif "knots" in a:
            b = _spline(step, unit, v, b)
        out[:, a["kept"]] = b
    if len(a["square"]):
        z = value[:, a["square"]] + tensor_ops.by_position(step, secrets["offset"], "square")
        b = bound[:, a["square"]]
        squared = 2 * z.abs() * b + b**2 + unit
        out[:, a["square"]] = tensor_ops.by_position(step, secrets["factor"], "square").abs() * squared + unit
    if len(a["direct"]):
        v, b = value[:, a["direct"]], bound[:, a["direct"]]
        coeffs = tensor_ops.by_position(step, secrets["coeffs"], "direct")
        y, e = coeffs[-1].expand_as(v), torch.zeros_like(v)
        for c in coeffs[:-1].flip(0):
            e = y.abs() * b + v.abs() * e + e * b + unit
            y = y * v + c
        out[:, a["direct"]] = e
    return out.view_as(x[1])


#: op -> bound on the output's error from (value, bound) of each input.
BOUNDS: dict[str, Callable[..., Tensor]] = {
    "conv2d": _conv2d,
    "linear": lambda step, secrets, unit, x: F.linear(x[1], secrets["weight"].abs()) + unit,
    "affine": lambda step, secrets, unit, x: x[1] * tensor_ops.channels(secrets["scale"].abs(), x[1].dim()) + unit,
    "add": lambda step, secrets, unit, x, y: x[1] + y[1],
    "mul": lambda step, secrets, unit, x, y: x[0].abs() * y[1] + y[0].abs() * x[1] + x[1] * y[1] + unit,
    "add_number": lambda step, secrets, unit, x: x[1] + _off_grid(step.attrs["number"], unit),
    "add_private": lambda step, secrets, unit, x: torch.broadcast_to(x[1], (len(x[1]), *step.shape)),
    "scale": _scale,
    "avg_pool2d": lambda step, secrets, unit, x: tensor_ops.sum_pool2d(step, x[1]) / step.attrs["divisor"] + unit,
    "mean": lambda step, secrets, unit, x: tensor_ops.sum_over(step, x[1]) / tensor_ops.summed(step, x[1]) + unit,
    "sum": lambda step, secrets, unit, x: tensor_ops.sum_over(step, x[1]),
    "matmul": lambda step, secrets, unit, x, y: x[0].abs() @ y[1] + x[1] @ (y[0].abs() + y[1]) + unit,
    "max_pool2d": lambda step, secrets, unit, x: tensor_ops.windows(step, x[1], 0.0).amax(0),
    "hybrid": _hybrid,
    **{op: (lambda step, secrets, unit, *inputs, _move=move: _move(step, *(bound for _, bound in inputs)))
       for op, move in tensor_ops.MOVES.items()},
}  # fmt: skip
