"""Shared by all kernel benchmarks: sizes, tiers, and a memory copy to compare with."""

import numpy as np
import pytest
import tables
import targets

from autorep_fx import kernels

_results = {}  # test name -> (median seconds, extra_info, fastest), for the lines at the end


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def one_thread():
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with kernels.use(threads=1):
        yield
    torch.set_num_threads(before)


@pytest.fixture
def measure(benchmark):
    """measure(fn, n=, moved=): time fn, record what it moves; returns fn's last result."""

    def run(fn, *args, n, moved=0, tier="", threads=1, rounds=15, iterations=None, **extra):
        if iterations is None:
            iterations = max(1, min(50, 2**20 // max(n, 1)))
        benchmark.extra_info.update(n=n, bytes=moved, tier=tier, threads=threads, **extra)
        result = benchmark.pedantic(fn, args=args, rounds=rounds, iterations=iterations, warmup_rounds=2)
        median = benchmark.stats["median"]
        if n:
            benchmark.extra_info["ns_per_element"] = round(median / n * 1e9, 3)
        _results[benchmark.name] = (median, benchmark.extra_info, benchmark.stats["min"])
        if moved:
            benchmark.extra_info["GB_per_s"] = round(moved / median / 1e9, 2)
        return result

    return run


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter):
    for title, found in (("targets", targets.lines(_results)), ("tables of docs/kernels.md", tables.lines(_results))):
        for i, line in enumerate(found):
            if i == 0:
                terminalreporter.section(f"kernel speed: {title} (one machine, one run; medians)")
            terminalreporter.write_line(line)
