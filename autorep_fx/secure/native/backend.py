"""What a program's ``run``, ``cost`` and ``session`` do on the native runtime."""

from __future__ import annotations

import torch
from torch import Tensor

from ..cost import Cost, plan_cost
from ..network import Network, network_of
from ..program import SecureProgram
from ..stats import Result
from .launch import Session
from .plan import Plan

COMPARISONS = ("fss", "gmw", "auto")


def plan(program: SecureProgram, comparison: str = "auto", network: Network | str = "loopback", batch: int = 1) -> Plan:
    """The public plan with its comparisons chosen; "auto" takes what is quicker online for the network and batch.

    Raises:
        ValueError: an unknown comparison or network.
        CompileError: the native runtime cannot run this program; says what to do.
    """
    if comparison not in COMPARISONS:
        raise ValueError(f"comparison must be one of {', '.join(map(repr, COMPARISONS))}, got {comparison!r}")
    network = network_of(network)
    if comparison != "auto":
        return program.native[0].with_comparison(comparison)
    both = [program.native[0].with_comparison(name) for name in ("fss", "gmw")]
    return min(both, key=lambda found: plan_cost(found, network, batch=batch).online_seconds)


def cost(program: SecureProgram, network: Network | str, comparison: str, batch: int) -> Cost:
    return plan_cost(plan(program, comparison, network, batch), network, batch=batch)


class ProgramSession:
    """Three processes that answer many inputs; see :meth:`SecureProgram.session`."""

    def __init__(self, program: SecureProgram, *, comparison: str = "auto", network: Network | str | None = None,
                 timeout: float = 300.0, threads: int = 1, batch: int = 1):  # fmt: skip
        self.program = program
        self.plan = plan(program, comparison, network or "loopback", batch)
        shape = None if network is None else network_of(network)
        self._session = Session(self.plan, program.native[1], timeout=timeout, threads=threads, network=shape)

    @property
    def setup(self):
        """Cost of what happens once per model."""
        return self._session.setup

    def run(self, x: Tensor) -> Result:
        """Answer a batch; offline phase, then online phase."""
        self.program.check_input(x)
        output, stats = self._session.run(x.detach().to("cpu", torch.float64).numpy())
        return Result(torch.from_numpy(output).to(x.dtype), stats)

    def close(self) -> None:
        self._session.close()

    def __enter__(self) -> ProgramSession:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def run(program: SecureProgram, x: Tensor, **options) -> Result:
    """One answer from processes started for it."""
    with ProgramSession(program, batch=len(x), **options) as session:
        return session.run(x)
