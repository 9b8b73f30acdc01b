"""The speed targets of the kernels, computed from what a benchmark run measured. Printed at its end."""

from __future__ import annotations


def lines(results):
    """results: {test name: (median seconds, extra_info, fastest)}. Yields one line for each target that can be told."""

    def median(name):
        return results[name][0] if name in results else None

    def fastest(name):
        return results[name][2] if name in results else None

    def ratio(text, over, under, want, best="at least"):
        if over and under:
            yield f"{text}: {over / under:.2f} ({best} {want})"

    for bits in (64, 16):
        layers = _layers(results, f"avx512 w{bits}")
        if layers:
            mine, fp32, int64 = (sum(times) for times in zip(*layers.values()))
            yield from ratio(f"ResNet-18 convolutions, w{bits}, time over torch fp32", mine, fp32, 1.5, "at most")
            yield from ratio(f"ResNet-18 convolutions, w{bits}, times faster than torch int64", int64, mine, 3)
            name, (mine, fp32, _) = max(layers.items(), key=lambda layer: layer[1][0] / layer[1][1])
            yield from ratio(f"of those the slowest, {name}, time over torch fp32", mine, fp32, 1.5, "at most")
    n = 2**20
    step = median(f"test_activation[avx512-{n}]")
    yield from ratio("activation step, rate over memory copy", median(f"test_activation[memory copy-{n}]"), step, 0.6)
    yield from ratio("activation step, times faster than torch", median(f"test_activation[torch int64-{n}]"), step, 6)
    square = median(f"test_beaver_square[avx512-{n}]")
    yield from ratio("beaver_square, times faster", median(f"test_beaver_square[torch int64-{n}]"), square, 1)
    dcf = (("eval", "avx512", 10), ("eval", "avx2", 2.5), ("gen", "avx512", 2.5), ("gen", "avx2", 0.625))
    for what, tier, want in dcf:
        for name, (seconds, info, _) in results.items():
            if name.startswith(f"test_dcf[19-3-{what}-{tier}-"):
                yield f"{what}_dcf, {tier}, n={info['n']}: {info['n'] / seconds / 1e6:.2f} M/s (at least {want})"
    for size in (2**16, 2**19):
        seconds = median(f"test_sign[avx512-{size}]")
        if seconds:
            yield f"bit-sliced sign, n={size}: {size / seconds / 1e6:.0f} M/s (at least 100)"
    extension, bit = median("test_extension[receive-4-avx512]"), median("test_ot_bits[avx512]")
    if extension and bit:
        yield f"OT extension, k = 4, and a bit, avx512: {(extension + bit) / 2**16 * 1e9:.2f} ns an OT (at most 7.5)"
    # Two threads are as fast as the busier core lets them be: the fastest round is the one with both cores free.
    names = [f"test_{kind}_threads[" for kind in ("conv", "activation", "sign")]
    for name in (*names, "test_dcf_threads[gen-", "test_dcf_threads[eval-"):
        pair = (fastest(f"{name}{t}]") for t in (1, 2))
        yield from ratio(f"{name.removeprefix('test_').rstrip('[-')}: two threads over one, fastest rounds", *pair, 1.7)


def _layers(results, row):
    """ResNet-18's convolutions: layer -> seconds of (row, torch fp32, torch int64) in all; {} if one is missing."""
    layers = {}
    for name, (_, info, _) in results.items():
        if row not in name or "per_network" not in info:
            continue
        names = [name, *(name.replace(row, rival) for rival in ("torch fp32", "torch int64"))]
        if not all(n in results for n in names):
            return {}
        layers[name.split(row)[1].strip("-]")] = [results[n][0] * info["per_network"] for n in names]
    return layers
