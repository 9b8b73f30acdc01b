"""What a user holds: a program that can be run, priced, looked at and saved."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .crypten.fixed_point import FixedProgram
from .crypten.forms import fixed_program
from .crypten.launch import run as run_on_crypten
from .files import load_program, save_program
from .host.session import Session
from .network import Network, network_of
from .plan.cost import Cost, plan_cost
from .plan.numbers import Numbers
from .plan.plan import Plan
from .plan.planner import make_plan
from .program import Program
from .stats import Phase, Result

#: Backends that can execute a program.
BACKENDS = ("native", "crypten")

COMPARISONS = ("fss", "gmw", "auto")


@dataclass(frozen=True)
class SecureProgram(Program):
    """A program with what the backends need to run it; made by :func:`autorep_fx.compile`.

    ``print(program)`` shows every step with its shapes. The weights are numbers here, not yet on a fixed-point grid:
    each backend rounds them to its own.

    Attributes:
        reach: largest absolute values, by name (plan/ranges.py); what the native runtime plans its exponents with.
        margin_bits: by how many bits other inputs may exceed them.
        frac_bits: of CrypTen's numbers.
    """

    reach: dict[str, float] = field(default_factory=dict)
    margin_bits: int = 2
    frac_bits: int = 16

    def run(
        self,
        x: Tensor,
        *,
        backend: str = "native",
        comparison: str = "auto",
        network: Network | str | None = None,
        provider: str = "TFP",
        kernels: str = "fused",
        timeout: float = 300.0,
        threads: int = 1,
    ) -> Result:
        """Answer ``x`` privately, each party a process of its own on this machine.

        The processes are spawned, so a script that calls this needs ``if __name__ == "__main__":``.

        Args:
            x: floating-point batch (N, ...); N may differ from that of the example inputs.
            backend: "native": client, server and dealer (docs/security.md); "crypten": two parties running CrypTen.
            comparison: native: "fss" (fewest rounds), "gmw" (fewest bytes offline), or "auto", whichever is quicker
                online on the network.
            network: native: slow the link between client and server down to this while online: a
                :class:`~autorep_fx.Network`, "lan" or "wan". None: as fast as it is.
            provider: crypten: who makes the correlations. "TFP": party 0, the server, which can then undo every mask:
                for measuring only. "TTP": a third process, the dealer.
            kernels: crypten: "fused", the compiled kernels and protocols that fit them; where they were not built, and
                on request, "torch", CrypTen's protocols in torch operations.
            timeout: seconds until a run that has not finished is given up.
            threads: threads of each party.

        Raises:
            ValueError: an unknown backend, provider or kernels; ``x`` of another shape than compiled for, empty, not
                floating point, not finite, or too large for the number format.
            CompileError: the native backend has no form for this program, or no room; says what to do.
            PartyError: a party failed, died or hung; names it and the step.
            MissingDependency: CrypTen is not installed.
        """
        if backend not in BACKENDS:
            raise ValueError(f"backend must be one of {', '.join(map(repr, BACKENDS))}, got {backend!r}")
        self.check_input(x)
        if backend == "crypten":
            return run_on_crypten(
                self.crypten, x.detach(), provider=provider, kernels=kernels, timeout=timeout, threads=threads
            )
        options = {"comparison": comparison, "network": network, "timeout": timeout, "threads": threads}
        with self.session(batch=len(x), **options) as session:
            return session.run(x)

    def session(self, **options: Any) -> ProgramSession:
        """Client, server and dealer for many inputs: ``with program.session() as s: s.run(x)``.

        Args:
            options: ``comparison``, ``network``, ``timeout`` and ``threads`` as for :meth:`run` on the native backend;
                ``batch``, how many samples a run will have, for ``comparison="auto"``. Batches of any size run.
        """
        return ProgramSession(self, **options)

    def cost(self, network: Network | str = "lan", *, comparison: str = "auto", batch: int = 1) -> Cost:
        """Rounds, bytes and predicted seconds of a native run, in all and for each step.

        Args:
            network: a :class:`~autorep_fx.Network`, "loopback", "lan" (0.2 ms, 10 Gbit/s) or "wan" (40 ms, 100 Mbit/s).
            comparison: "fss", "gmw" or "auto".
            batch: samples of the run.
        """
        network = network_of(network)
        return plan_cost(self._plan(comparison, network, batch), network, batch=batch)

    def plan(self, *, comparison: str = "auto", network: Network | str = "loopback") -> Plan:
        """What the native runtime does, step by step: exponents, windows, wire forms, messages. ``print`` it."""
        return self._plan(comparison, network_of(network), 1)

    def _plan(self, comparison: str, network: Network, batch: int) -> Plan:
        if comparison not in COMPARISONS:
            raise ValueError(f"comparison must be one of {', '.join(map(repr, COMPARISONS))}, got {comparison!r}")
        if comparison != "auto":
            return self.native[0].with_comparison(comparison)
        both = [self.native[0].with_comparison(name) for name in ("fss", "gmw")]
        return min(both, key=lambda found: plan_cost(found, network, batch=batch).online_seconds)

    def save(self, folder: str | Path) -> None:
        """Write the public part and the server's part to a folder (files.py), without pickle."""
        settings = {"reach": self.reach, "margin_bits": self.margin_bits, "frac_bits": self.frac_bits}
        save_program(folder, self, *self.native, settings)

    @staticmethod
    def load(folder: str | Path) -> SecureProgram:
        """Read what :meth:`save` wrote.

        Raises:
            FormatError: it is missing, damaged or of another version.
        """
        program, plan, numbers, settings = load_program(folder)
        loaded = SecureProgram(program.public, program.server, **settings)
        loaded.__dict__["native"] = plan, numbers  # as it was saved: client and dealer have this plan
        return loaded

    @cached_property
    def native(self) -> tuple[Plan, dict[str, Numbers]]:
        """The native runtime's public plan and the server's ring numbers."""
        return make_plan(self, self.reach, margin=self.margin_bits)

    @cached_property
    def crypten(self) -> FixedProgram:
        """The program in CrypTen's number format."""
        return fixed_program(self, self.frac_bits, self.reach)

    def __str__(self) -> str:
        return f"SecureProgram: {super().__str__()}"


class ProgramSession:
    """Three processes that answer many inputs; see :meth:`SecureProgram.session`."""

    def __init__(self, program: SecureProgram, *, comparison: str = "auto", network: Network | str | None = None,
                 timeout: float = 300.0, threads: int = 1, batch: int = 1):  # fmt: skip
        self.program = program
        self.plan = program._plan(comparison, network_of(network or "loopback"), batch)
        shape = None if network is None else network_of(network)
        self._session = Session(self.plan, program.native[1], timeout=timeout, threads=threads, network=shape)

    @property
    def setup(self) -> Phase:
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
