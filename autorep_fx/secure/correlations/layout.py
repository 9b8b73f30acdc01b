"""Which arrays a step needs to be evaluated, in names and sizes, whoever makes them; each party has a share of each.

For a site of P positions (K of them compared) and a batch of N, with F the wire's exponent, f that of the truncated
value and k the window's bits; every array is shared additively in the ring of the result (``bits``, ``product``: by
XOR). The wire is in a ring of w bits and has the mask r:

    array     shape           content                                                  when
    alpha     (N, P)          r >> (F - f)                                             a truncated value is needed
    beta      (N, P)          msb(r) 2^(w - F + f); its high half where the result     same
                              has w bits, too, and F - f <= w / 2
    alpha2    (N, P)          alpha^2                                                  squares
    ab        (N, P)          2 alpha beta - beta^2, stored like beta                  squares
    relu      (N K, 3)        rh, rl, rh rl                                            fss, no spline
    u         (J N K,)        a random bit a comparison, J at each position            gmw
    u_alpha   (J N K,)        u alpha                                                  gmw, no spline
    u_beta    (J N K,)        u beta, stored like beta                                 gmw, no spline
    high      (N K,)          rh                                                       fss, a spline
    a_alpha   (1 or 2, N K)   a alpha, a the masks of a spline's opening (splines.py)  a spline
    a_beta    (1 or 2, N K)   a beta                                                   a spline
    a_alpha2  (N K,)          a alpha2 of the second a                                 a spline that bends
    a_ab      (N K,)          a ab of the second a                                     a spline that bends
    bits      (k + 1, words)  planes of the mask's window and of u                     gmw
    product   (ANDs, words)   products of the AND triples                              gmw

Beside these each party has, of its own: ``mask``, its half of the masks under which the tree opens its planes (gmw);
``a``, of those of a spline's opening; ``key`` and ``root``, the comparison key (the same for both) and its half of the
keys' roots (fss). A product of two private values has the arrays of parties/product.py.
"""

from __future__ import annotations

import numpy as np

from ..plan import wire
from ..plan.plan import Step
from ..plan.ring import U64, elements, kernel

#: Array name -> (shape, dtype).
Layout = dict[str, tuple[tuple[int, ...], type]]


def layout(step: Step, batch: int) -> Layout:
    """The arrays that are shared for an "activation", "product" or "output" step."""
    ring = elements(step.width).type
    if step.op == "product":
        wires, result = ((batch, step.wire_size), ring), ((batch, step.size), ring)
        return {"alpha": wires, "beta": wires, **dict.fromkeys(("aa", "ab", "ba", "bb"), result)}
    a, n, whole = step.attrs, wire.compared(step, batch), (batch, step.size)
    powers, comparison = a.get("powers", 1), a.get("comparison")
    # Multiples of 2^(width / 2), of which the high half is enough.
    short = elements(step.width // 2).type if a["wire"] == step.width and a["shift"] <= step.width // 2 else ring
    found: Layout = {}
    if powers >= 1 or comparison == "gmw":
        found.update(alpha=(whole, ring), beta=(whole, short))
    if powers >= 2:
        found.update(alpha2=(whole, ring), ab=(whole, short))
    is_spline = "knots" in a
    if is_spline:
        found.update(a_alpha=(wire.openings(step, batch), ring), a_beta=(wire.openings(step, batch), ring))
        if wire.bends(step):
            found.update(a_alpha2=((n,), ring), a_ab=((n,), ring))
    if comparison == "fss":
        found.update(high=((n,), ring)) if is_spline else found.update(relu=((n, 3), ring))
    elif comparison == "gmw":
        n, width = n * len(wire.points(step)), wire.planes(step, batch)
        found["u"] = ((n,), ring)
        if not is_spline:
            found.update(u_alpha=((n,), ring), u_beta=((n,), short))
        found["bits"] = ((a["window"] + 1, width), U64)
        found["product"] = ((wire.products(a["window"]), width), U64)
    return found


def words(found: Layout) -> int:
    return sum(array_words(*entry) for entry in found.values())


def views(buffer: np.ndarray, found: Layout) -> dict[str, np.ndarray]:
    """Names for the parts of one contiguous buffer of words."""
    parts: dict[str, np.ndarray] = {}
    at = 0
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
    n = wire.compared(step, batch)
    if not n or step.attrs["comparison"] != "fss":
        return 0
    payloads = 1 if "knots" in step.attrs else 3
    return kernel().dcf_words(n, bits=step.attrs["window"] - 1, payloads=payloads, payload_bits=step.width)
