"""What travels for an activation, in sizes: the dealer's arrays, the comparison key, the planes of the borrow tree."""

from __future__ import annotations

import numpy as np

from ..ring import U64, elements, kernel
from .plan import Step

#: Array name -> (shape, dtype).
Layout = dict[str, tuple[tuple[int, ...], type]]


def compared(step: Step, batch: int) -> int:
    """Comparisons of one kind in a run; ReLU6 takes two at each position, with one key."""
    return batch * len(step.attrs["kept"]) if step.op == "activation" else 0


def points(step: Step) -> tuple[int, ...]:
    """What is taken off a kept position before it is compared, in units of its truncated value."""
    if "knots" in step.attrs:
        return step.attrs["knots"]
    return (0, 6 << (step.frac_bits - step.attrs["align"])) if step.attrs.get("kind") == "relu6" else (0,)


def bends(step: Step) -> bool:
    """Whether a spline needs the square of what it is of."""
    return bends_of(step.attrs["c2"])


def bends_of(c2: tuple[int, ...]) -> bool:
    return any(c2)


def layout(step: Step, batch: int) -> Layout:
    """The arrays that are shared for an "activation", "product" or "output" step."""
    ring = elements(step.width).type
    if step.op == "product":
        wires, result = ((batch, step.wire_size), ring), ((batch, step.size), ring)
        return {"alpha": wires, "beta": wires, **dict.fromkeys(("aa", "ab", "ba", "bb"), result)}
    a, n, wire = step.attrs, compared(step, batch), (batch, step.size)
    powers, comparison = a.get("powers", 1), a.get("comparison")
    # Multiples of 2^(width / 2), of which the high half is enough.
    short = elements(step.width // 2).type if a["wire"] == step.width and a["shift"] <= step.width // 2 else ring
    found: Layout = {}
    if powers >= 1 or comparison == "gmw":
        found.update(alpha=(wire, ring), beta=(wire, short))
    if powers >= 2:
        found.update(alpha2=(wire, ring), ab=(wire, short))
    is_spline = "knots" in a
    if is_spline:
        found.update(a_alpha=(openings(step, batch), ring), a_beta=(openings(step, batch), ring))
        if bends(step):
            found.update(a_alpha2=((n,), ring), a_ab=((n,), ring))
    if comparison == "fss":
        found.update(high=((n,), ring)) if is_spline else found.update(relu=((n, 3), ring))
    elif comparison == "gmw":
        n, width = n * len(points(step)), planes(step, batch)
        found["u"] = ((n,), ring)
        if not is_spline:
            found.update(u_alpha=((n,), ring), u_beta=((n,), short))
        found["bits"] = ((a["window"] + 1, width), U64)
        found["product"] = ((products(a["window"]), width), U64)
    return found


def words(found: Layout) -> int:
    return sum(array_words(*entry) for entry in found.values())


def views(buffer: np.ndarray, found: Layout) -> dict[str, np.ndarray]:
    """Names for the parts of one contiguous buffer of words."""
    parts, at = {}, 0
    for name, (shape, dtype) in found.items():
        size = array_words(shape, dtype)
        count = int(np.prod(shape, dtype=np.int64))
        parts[name] = buffer[at : at + size].view(dtype)[:count].reshape(shape)
        at += size
    return parts


def array_words(shape: tuple[int, ...], dtype: type) -> int:
    return -(-int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize // 8)


def key_words(step: Step, batch: int) -> int:
    """Length of the comparison key that both parties get; 0 without one."""
    n = compared(step, batch)
    if not n or step.attrs["comparison"] != "fss":
        return 0
    payloads = 1 if "knots" in step.attrs else 3
    return kernel().dcf_words(n, bits=step.attrs["window"] - 1, payloads=payloads, payload_bits=step.width)


def openings(step: Step, batch: int) -> tuple[int, int]:
    """Shape of what is opened to multiply a spline's coefficients with powers of x."""
    return (2 if bends(step) else 1, compared(step, batch))


def wire_bits(step: Step) -> int:
    """Exponent F of the masked wire."""
    return step.frac_bits - step.attrs.get("align", 0) + step.attrs["shift"]


def planes(step: Step, batch: int) -> int:
    """Words of a plane of all comparisons: the positions once for each point, each time in words of their own."""
    return plane_words(compared(step, batch)) * len(points(step))


def plane_words(n: int) -> int:
    """Words of a plane of n elements."""
    return -(-n // 64)


def levels(window: int) -> list[int]:
    """Nodes at every level of the tree that merges."""
    nodes, found = window - 1, []
    while nodes > 1:
        found.append(nodes)
        nodes -= nodes // 2
    return found


def exchanges(step: Step) -> int:
    """Messages each way between the two of an activation: with gmw one for each level of the tree and one for the
    opening; one more for a spline."""
    if not len(step.attrs["kept"]):
        return 0
    tree = len(levels(step.attrs["window"])) + 1 if step.attrs["comparison"] == "gmw" else 0
    return tree + ("knots" in step.attrs)


def masks(window: int) -> int:
    """Planes that are opened in the tree, each under a mask of its own."""
    return sum(3 * (nodes // 2) - 1 for nodes in levels(window))


def products(window: int) -> int:
    """AND gates: planes of products that the dealer shares."""
    return sum(2 * (nodes // 2) - 1 for nodes in levels(window))
