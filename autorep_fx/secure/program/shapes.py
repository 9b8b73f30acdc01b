"""The shape that an operation gives, from its attributes and the shapes of its inputs: samples, without the batch.

Nothing is computed or allocated. Each function raises ValueError where the inputs do not fit; ``a`` are the attributes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Shape = tuple[int, ...]
Attrs = dict[str, Any]

#: Most elements of a sample's value, and most of any size or count.
LARGEST, MOST = 2**28, 2**20


def need(condition: bool, text: str) -> None:
    if not condition:
        raise ValueError(text)


def add(x: Shape, y: Shape) -> Shape:
    need(len(x) == len(y), f"adds values of {len(x)} and {len(y)} axes")
    return np.broadcast_shapes(x, y)


def broadcast(x: Shape, to: Shape) -> Shape:
    """``to``, if ``x`` broadcasts to it."""
    need(len(x) <= len(to) and np.broadcast_shapes(x, to) == to, f"{x} does not broadcast to {to}")
    return to


def reshape(x: Shape, to: Shape) -> Shape:
    need(math.prod(x) == math.prod(to), f"{x} and {to} have different numbers of elements")
    return to


def permute(a: Attrs, x: Shape) -> Shape:
    dims = a["dims"]
    need(dims[0] == 0 and sorted(dims) == list(range(len(x) + 1)), f"{dims} is no order of the axes that keeps axis 0")
    return tuple(x[d - 1] for d in dims[1:])


def pad(a: Attrs, x: Shape) -> Shape:
    """torch's order: last axis first; a negative number crops."""
    pads, shape = a["pads"], list(x)
    need(len(pads) % 2 == 0 and len(pads) <= 2 * len(x), f"{len(pads)} pads for {len(x)} axes")
    for axis, before, after in zip(range(len(x) - 1, -1, -1), pads[::2], pads[1::2]):
        need(shape[axis] + min(before, 0) + min(after, 0) > 0, "crops a whole axis")
        shape[axis] += before + after
    return tuple(shape)


def index(a: Attrs, x: Shape) -> Shape:
    first, taken = a["index"][0], [i for i in a["index"] if i is not None and i is not Ellipsis]
    # NumPy compares arrays of one element with == : only slices and the ellipsis are compared here.
    whole = first == slice(None) if isinstance(first, slice) else first is Ellipsis and len(taken) <= len(x)
    need(whole, "does not leave axis 0, the batch, as it is")
    try:
        return np.broadcast_to(np.zeros((), bool), (1, *x))[a["index"]].shape[1:]
    except IndexError as error:
        raise ValueError(str(error)) from error


def cat(a: Attrs, *parts: Shape) -> Shape:
    axis, first = a["dim"] - 1, parts[0]
    need(axis < len(first), f"has no axis {a['dim']}")
    rest = {(*part[:axis], *part[axis + 1 :]) for part in parts}
    need(len(rest) == 1 and len({len(part) for part in parts}) == 1, "its parts differ in another axis")
    return (*first[:axis], sum(part[axis] for part in parts), *first[axis + 1 :])


def sum_over(a: Attrs, x: Shape) -> Shape:
    dims = a["dims"]
    need(len(set(dims)) == len(dims) and max(dims) <= len(x), f"{dims} are no axes of {x}")
    if a["keepdim"]:
        return tuple(1 if d in dims else n for d, n in enumerate(x, 1))
    return tuple(n for d, n in enumerate(x, 1) if d not in dims)


def windows(a: Attrs, x: Shape) -> Shape:
    """Positions of a window over the two last axes: ``kernel``, ``stride``; ``padding`` and ``dilation`` if given."""
    need(len(x) >= 2, f"needs two axes for its windows, and gets {x}")
    padding, dilation = a.get("padding", (0, 0)), a.get("dilation", (1, 1))
    padded = [n + 2 * p for n, p in zip(x[-2:], padding)]
    need(math.prod(x[:-2]) * math.prod(padded) <= LARGEST, "the padded input is too large")
    room = [n - d * (k - 1) - 1 for n, k, d in zip(padded, a["kernel"], dilation)]
    need(min(room) >= 0, "the window reaches over the padded input")
    return (*x[:-2], *(r // s + 1 for r, s in zip(room, a["stride"])))


def windows_apart(a: Attrs, x: Shape) -> Shape:
    """The elements of every window along a first axis of their own, without padding."""
    return (math.prod(a["kernel"]), *windows(a, x))


def select(a: Attrs, x: Shape) -> Shape:
    axis = a["dim"] - 1
    need(axis < len(x) and max(a["places"]) < x[axis], f"selects elements beyond {x}")
    return (*x[:axis], len(a["places"]), *x[axis + 1 :])


def pool(a: Attrs, x: Shape) -> Shape:
    need(all(2 * p <= k for p, k in zip(a["padding"], a["kernel"])), "pads by more than half of the window")
    return windows(a, x)


def conv2d(a: Attrs, weight: Shape, x: Shape) -> Shape:
    need(len(weight) == 4 and len(x) == 3, f"a convolution of {x} by a weight of shape {weight}")
    need(max(*weight, *x) <= MOST and math.prod(weight) <= LARGEST, "a size is too large")
    fits = weight[0] % a["groups"] == 0 and weight[1] * a["groups"] == x[0]
    need(fits, f"a weight of shape {weight} does not fit {x[0]} channels in {a['groups']} groups")
    return (weight[0], *windows({**a, "kernel": weight[2:]}, x)[1:])


def linear(weight: Shape, x: Shape) -> Shape:
    need(len(weight) == 2 and len(x) >= 1 and weight[1] == x[-1], f"weight {weight} does not fit {x}")
    need(math.prod(weight) <= LARGEST, "a size is too large")
    return (*x[:-1], weight[0])


def matmul(x: Shape, y: Shape) -> Shape:
    need(len(x) == len(y) >= 2 and x[:-2] == y[:-2] and x[-1] == y[-2], f"a matrix product of {x} and {y}")
    need(math.prod(x) * y[-1] <= LARGEST * MOST, "a size is too large")
    return (*x[:-1], y[-1])


def by_channel(weight: Shape, x: Shape) -> Shape:
    need(len(x) >= 1 and weight == x[:1], f"numbers of shape {weight} for the channels of {x}")
    return x
