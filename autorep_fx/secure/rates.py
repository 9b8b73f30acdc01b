"""What one thread of this machine does in a second: the ground of the cost model's seconds."""

from __future__ import annotations

import json
import logging
import math
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path

import numpy as np

from .. import kernels
from .plan.plan import Step
from .plan.ring import elements, kernel

log = logging.getLogger(__name__)

#: Changes whenever a rate means something else.
_VERSION = 3


@dataclass(frozen=True)
class Rates:
    """What one thread does in a second with arrays that come from memory, and what a step costs besides.

    The defaults are of an AMD EPYC with AVX-512. Those with two names are for rings of 64 and of 32 bits.

    Attributes:
        macs, macs32: ring multiply-adds of a convolution.
        bytes: bytes moved by the element-wise kernels.
        eval_blocks, eval_blocks32, gen_blocks, gen_blocks32: levels of comparison keys evaluated and generated (an
            element has one for each bit).
        gmw: compared elements of the bit-sliced tree.
        prg: bytes of pseudo-random stream.
        transfers, transfers_lpn: oblivious transfers, one each way, with what a truncation makes of them; extended by
            SoftSpokenOT, and by Ferret.
        products, products32: products of an encrypted polynomial with one of weights.
        step: seconds of Python and calls in each step; message: of each message.
    """

    macs: float = 27e9
    macs32: float = 52e9
    bytes: float = 11e9
    eval_blocks: float = 2.4e8
    eval_blocks32: float = 4.2e8
    gen_blocks: float = 5e7
    gen_blocks32: float = 1e8
    gmw: float = 5.6e8
    prg: float = 10e9
    transfers: float = 2.5e7
    transfers_lpn: float = 1.5e7
    products: float = 1.5e4
    products32: float = 9e4
    step: float = 50e-6
    message: float = 100e-6

    def pass_over(self, size: int) -> float:
        """Seconds of a step that reads two arrays of ``size`` bytes and writes one."""
        return self.step + 3 * size / self.bytes

    def map(self, step: Step, batch: int) -> float:
        """Seconds of a linear map."""
        if step.attrs["kind"] not in ("conv2d", "linear"):
            return self.step + 4 * (step.width // 8 * batch * step.size) / self.bytes
        macs = batch * step.size * math.prod(step.attrs["weight_shape"][1:])
        return self.step + macs / (self.macs if step.width == 64 else self.macs32)

    @staticmethod
    def measured() -> Rates:
        """Those of this machine, measured once (about two seconds) and kept in the user's cache folder.

        The kernels' rates; ``step`` and ``message`` are Python's, and are taken as they are. Where the kernels were not
        built the defaults: what is slow there is not what is predicted.
        """
        return _of_this_machine()


@cache
def _of_this_machine() -> Rates:
    if not kernels.available():
        return Rates()
    path = _folder() / f"rates-{_VERSION}-{platform.node()}-{kernels.tier()}.json"
    try:
        found = json.loads(path.read_text())
        return Rates(**{f.name: float(found[f.name]) for f in fields(Rates)})
    except (OSError, ValueError, KeyError, TypeError):
        pass
    log.info("measuring what this machine does in a second, once")
    rates = _measure()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            json.dump(asdict(rates), file)
        os.replace(file.name, path)
    except OSError as error:
        log.info("not kept: %s", error)
    return rates


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "autorep_fx"


def _measure() -> Rates:
    with kernels.use(threads=1):
        found = {"bytes": _bytes(), "gmw": _gmw(), "prg": _prg()}
        for suffix, width in (("", 64), ("32", 32)):
            found[f"macs{suffix}"] = _macs(width)
            found[f"eval_blocks{suffix}"], found[f"gen_blocks{suffix}"] = _comparison_keys(width)
            found[f"products{suffix}"] = _products(width)
        found["transfers"], found["transfers_lpn"] = _transfers()
    return Rates(**found)


def _fastest(call: Callable[[], object], seconds: float = 0.1) -> float:
    """The shortest time of several calls, for so long in all, and of five at least."""
    call()
    best, end, done = float("inf"), time.perf_counter() + seconds, 0
    while done < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best, done = min(best, time.perf_counter() - start), done + 1
    return best


def _random(shape: tuple[int, ...], width: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2**width, shape, dtype=elements(width))


def _macs(width: int) -> float:
    """Over the layers of a network: wide images with few channels, and small ones whose weights come from memory."""
    k, layers = kernel(), []
    for channels, side in ((64, 32), (128, 16), (256, 8), (256, 8)):
        weight = _random((channels, channels, 3, 3), width) & elements(width).type(0xFFF)
        layers.append((_random((1, channels, side, side), width), k.pack_weight(weight, weight_bits=16)))

    def network() -> None:
        for x, packed in layers:
            k.conv2d(x, packed, padding=1)

    return len(layers) * 64 * 64 * 9 * 32 * 32 / _fastest(network)


def _bytes() -> float:
    m, alpha, beta, sub, out = (_random((1, 2**21), 32) for _ in range(5))
    args = {"shift": 20, "align": 0, "party": 0, "alpha": alpha, "beta": beta, "sub": sub, "out": out}
    # Of the kernel itself, reading and writing; beside it each array is made, sent and received.
    return 5 * m.nbytes / _fastest(lambda: kernel().activation_step(m, **args)) / 4


def _prg() -> float:
    return 2**24 / _fastest(lambda: kernel().prg_words(bytes(16), 1, 2**21))


def _comparison_keys(width: int) -> tuple[float, float]:
    n, bits = 2**17, 15
    alpha, roots = _random((n,)) >> np.uint64(64 - bits), _random((2, n, 2))
    payload, shares = _random((n, 3), width), _random((n, 3), width)
    key = kernel().gen_dcf(alpha, payload, *roots, bits=bits, hash_key=bytes(16))
    windows = _random((n,)) >> np.uint64(63 - bits)
    read = _fastest(lambda: kernel().relu_fss(key, roots[0], windows, shares, party=0))
    made = _fastest(lambda: kernel().gen_dcf(alpha, payload, *roots, bits=bits, hash_key=bytes(16)))
    return n * bits / read, n * bits / made


def _gmw() -> float:
    """The kernels of a tree over 14 bits, and the selection behind it."""
    n, bits, k = 2**19, 14, kernel()
    m, party = _random((n,), 32), 0
    u, alpha = _random((2, n), 32)
    r = _random((bits, n // 64))

    def tree() -> None:
        g, p = k.borrow_bits(k.pack_bits(m, shift=15, bits=bits)[:-1], r[:-1], party=party)
        while len(g) > 1:
            pairs = len(g) // 2
            a, b = r[:pairs], np.concatenate([r, r])[: 2 * pairs - 1]
            message = k.carry_open(g, p, a, b)
            g, p = k.carry_close(g, p, message, message, a, b, b, party=party)
        k.select(m, g[0], u, u, u, alpha, alpha, shift=15, party=party)

    return n / _fastest(tree)


def _products(width: int) -> float:
    """The server's answer of a layer whose weights are transformed as they are needed."""
    k, sets, terms = kernel(), 12, 27
    degree, primes = kernels.rlwe_primes(width)
    weight = np.random.default_rng(0).integers(-(2**11), 2**11, (1, sets, sets, terms))
    laid = k.rlwe_weight(weight.astype(np.int32), np.arange(0, 32 * terms, 32, dtype=np.int32), width=width)
    public = np.zeros((2, len(primes), degree), np.uint32)
    high, low = _random((1, 1, sets, degree), width), np.zeros((1, 1, sets, 1, degree), np.uint32)
    seeds = {"public_seed": bytes(16), "seed": bytes(16)}
    return sets * sets / _fastest(lambda: k.rlwe_respond(high, low, laid, public, **seeds))


def _transfers() -> tuple[float, float]:
    """Both halves of an extension, and what becomes of both: choices that are set, three bits, and of a sixth of them a
    string of 32 bits each way, in arrays that come from memory."""
    k, n = kernel(), 2**20
    some = n // 6 // 64 * 64
    blocks, delta, seed = _random((n, 2)), _random((2,)), bytes(16)
    plane, coefficients, values = _random((n // 64,)), _random((n // 64, 2)), _random((some,), 32)
    keys = k.expand_keys(_random((128 // 4 << 4, 2)))
    options = {"words": n // 64, "k": 4, "purpose": 1, "transpose": False}
    message = k.vole_receive(keys, **options)[2]
    depth = 11
    roots, vector, missing = _random((n >> depth, 2)), _random((7 << 15, 2)), _random((n >> depth,)) >> np.uint64(53)
    sums = k.trees_full(roots, delta, key=seed, depth=depth, out=blocks)[1]

    def made() -> None:
        k.ot_flip_(blocks, delta, plane)
        for other in (None, delta, None):
            k.ot_bits(blocks, key=seed, index=0, domain=0, delta=other)
        string = {"bits": 32, "key": seed, "index": 0, "domain": 1}
        _, said = k.ot_send(blocks[:some], delta, values, **string)
        k.ot_receive(blocks[:some], plane[: some // 64], said, **string)

    def extended() -> None:
        rows, choices, _ = k.vole_receive(keys, **options)
        k.vole_fold_(rows, coefficients, choices)
        k.vole_fold_(k.vole_send(keys, delta, message, **options), coefficients)

    def extended_lpn() -> None:
        k.trees_full(roots, delta, key=seed, depth=depth, out=blocks)
        k.trees_lacking(sums, missing, key=seed, out=blocks)
        for _ in range(2):
            k.block_fold(blocks, seed=seed, first=0)
            k.lpn_(blocks, vector, seed=seed, first=0)

    rest = _fastest(made)
    return n / (rest + _fastest(extended)), n / (rest + _fastest(extended_lpn))
