"""Loading the compiled extension, and which of its tiers and how many threads are used."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os

from ..errors import MissingDependency

_ABI = 12
_extension = None


def load():
    """The compiled extension, loaded at first use."""
    global _extension
    if _extension is None:
        hint = "build it with `pip install -e . --no-build-isolation` or `make build`"
        try:
            module = _import()
        except ImportError as error:
            raise MissingDependency(f"autorep_fx's compiled kernels are not installed ({error}); {hint}") from error
        if module.abi != _ABI:
            raise MissingDependency(f"autorep_fx's compiled kernels are of another version; {hint}")
        _extension = module
    return _extension


def _import():
    path = os.environ.get("AUTOREP_FX_EXTENSION")  # another build of it, such as the sanitized one
    if not path:
        return importlib.import_module("._C", __package__)
    spec = importlib.util.spec_from_file_location(f"{__package__}._C", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"AUTOREP_FX_EXTENSION: {path} is not an extension module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def available() -> bool:
    """True where the compiled extension can be used."""
    try:
        load()
    except MissingDependency:
        return False
    return True


def available_tiers() -> list[str]:
    """CPU tiers that were built and that this machine can run, slowest first."""
    return load().available_tiers()


def tier() -> str:
    """The tier in use. Raises ValueError if `AUTOREP_FX_CPU` names one that is unknown or unsupported here."""
    return load().tier()


def set_tier(name: str) -> None:
    """Use this tier from now on, in the whole process. Raises ValueError if it is unknown or unsupported here."""
    load().set_tier(name)


def num_threads() -> int:
    """Threads that a kernel may use; at first OpenMP's default (`OMP_NUM_THREADS`). A forked child has 1."""
    return load().num_threads()


def set_num_threads(n: int) -> None:
    """Let kernels use up to `n` threads (1 to 1024). Small inputs use fewer."""
    load().set_num_threads(n)


@contextlib.contextmanager
def use(*, tier: str | None = None, threads: int | None = None):
    """Within the block, use this tier and this many threads. For tests and benchmarks: the setting is process-wide."""
    ext = load()
    before = ext.tier(), ext.num_threads()
    try:
        if tier is not None:
            ext.set_tier(tier)
        if threads is not None:
            ext.set_num_threads(threads)
        yield
    finally:
        ext.set_tier(before[0])
        ext.set_num_threads(before[1])
