"""What a user holds: a program that can be run, priced, looked at and saved."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import CompileError
from .cost.cost import Cost, plan_cost, quicker
from .crypten.fixed_point import FixedProgram
from .crypten.forms import fixed_program
from .crypten.launch import run as run_on_crypten
from .files import load_program, save_program
from .host.session import Session
from .link.network import Network, network_of
from .makers.maker import Maker
from .makers.table import maker_of
from .plan.input_ranges import range_of
from .plan.plan import VARIANTS, Plan
from .plan.server_numbers import Numbers
from .planner.clamp import is_clamped
from .planner.fold_squares import unit_squares
from .planner.headroom import Headroom, headroom
from .planner.ranges import Reach
from .program.inputs import packed
from .program.outputs import assemble
from .program.program import Program
from .result import Phase, Result

#: Backends that can execute a program.
BACKENDS = ("native", "crypten")

#: What a run means that is not what the plan was made for, by whether there is a dealer.
_OTHERWISE = {
    False: "the plan is for runs with a dealer, and as right without one; compile(..., dealer=False) makes one that "
    "sends less then, and whose precision is judged by the roundings of two",
    True: "the plan is for two without a dealer; compile(...) makes one that takes less time online with one",
}


@dataclass(frozen=True, repr=False)
class SecureProgram(Program):
    """A program with what the backends need to run it; made by :func:`autorep_fx.compile`.

    ``print(program)`` shows every step with its shapes. The weights are numbers here, not yet on a fixed-point grid:
    each backend rounds them to its own.

    Attributes:
        base_plan: the native runtime's plan, for any comparison; None where it cannot run the program.
        numbers: the server's part of it.
        reach: largest absolute values of each channel, by name (planner/ranges.py).
        frac_bits: of CrypTen's numbers.
        obstacle: why there is no plan.
        dealer: whether the plan was made for runs with one; it runs without one, too, and the other way round.
    """

    base_plan: Plan | None
    numbers: dict[str, Numbers]
    reach: Reach
    frac_bits: int = 16
    obstacle: str = ""
    dealer: bool = True

    def run(
        self,
        x: Tensor,
        *more: Tensor,
        backend: str = "native",
        comparison: str = "auto",
        network: Network | str | None = None,
        provider: str = "TFP",
        kernels: str = "fused",
        timeout: float = 300.0,
        threads: int = 1,
        check_range: bool = True,
        dealer: bool = True,
    ) -> Result:
        """Answer ``x`` privately, each party a process of its own on this machine.

        The processes are new interpreters that import nothing of the script that calls this.

        Args:
            x: floating-point batch (N, ...); N may differ from that of the example inputs.
            more: of a model of several inputs, the others, in the order of its arguments: as many samples of each.
            backend: "native": client, server and dealer (docs/security.md); "crypten": two parties running CrypTen.
            comparison: native: "fss" (fewest rounds), "gmw" (fewest bytes offline), "mixed" (each activation as it
                takes least where messages are quick), or "auto", whichever is quickest online on the network.
            network: native: slow the link between client and server down to this while online, and without a dealer
                while they prepare: a :class:`~autorep_fx.Network`, "lan" or "wan". None: as fast as it is.
            provider: crypten: who makes the correlations. "TFP": party 0, the server, which can then undo every mask:
                for measuring only. "TTP": a third process, the dealer.
            kernels: crypten: "fused", the compiled kernels and protocols that fit them; where they were not built, and
                on request, "torch", CrypTen's protocols in torch operations.
            timeout: seconds until a run that has not finished is given up.
            threads: threads of each party.
            check_range: native: refuse an input beyond the range that the program was compiled for. Without it, such an
                input is answered, perhaps wrongly; :meth:`headroom` tells.
            dealer: native: False: client and server make the correlations by themselves, and nobody else has to be
                trusted. Online it is the same; before it takes longer (docs/performance.md).

        Raises:
            ValueError: an unknown backend, provider or kernels; ``comparison="fss"`` without a dealer; of a checked
                program, another backend or comparison, or no dealer; a program that clips its input, on CrypTen; ``x``
                of another shape than compiled for, empty, not floating point, not finite, beyond the input range, or
                too large for CrypTen's number format.
            CompileError: the native backend has no form for this program, or no room; says what to do.
            PartyError: a party failed, died or hung; names it and the step.
            MissingDependency: CrypTen is not installed.
        """
        if backend not in BACKENDS:
            raise ValueError(f"backend must be one of {', '.join(map(repr, BACKENDS))}, got {backend!r}")
        values = self._values(x, *more)
        if backend == "crypten":
            if self.checked:
                raise ValueError(
                    "backend='crypten' cannot run a checked program: it has no tags to check the client's messages by; "
                    "run it with 'native', or compile without checked=True"
                )
            if self.base_plan is not None and is_clamped(self.base_plan):
                raise ValueError("backend='crypten' clips no inputs, and this program was compiled with clamp=True; "
                                 "compile it without, or run it with backend='native'")  # fmt: skip
            if not dealer:
                raise ValueError("dealer=False is for backend='native'; with 'crypten' say provider='TFP' or 'TTP'")
            result = run_on_crypten(
                self.crypten, values, provider=provider, kernels=kernels, timeout=timeout, threads=threads
            )
            return Result(assemble(self.public.form, result.output, x.dtype), result.stats)
        options = {
            "comparison": comparison,
            "network": network,
            "timeout": timeout,
            "threads": threads,
            "dealer": dealer,
        }
        if check_range:
            range_of(self.native[0]).check(values.numpy())  # before anything is started
        with self.session(batch=len(x), **options) as session:
            return session.run(x, *more, check_range=False)  # it was looked at

    def session(self, **options: Any) -> ProgramSession:
        """The parties, for many inputs: ``with program.session() as s: s.run(x)``.

        Args:
            options: ``comparison``, ``network``, ``timeout``, ``threads`` and ``dealer`` as for :meth:`run` on the
                native backend; ``batch``, how many samples a run will have, for ``comparison="auto"``: batches of other
                sizes run, too; ``max_batch``, how many a run may have (None: as many as the machine's memory holds
                correlations for).
        """
        return ProgramSession(self, **options)

    def cost(
        self, network: Network | str = "lan", *, comparison: str = "auto", batch: int = 1, dealer: bool = True
    ) -> Cost:
        """Rounds, bytes and predicted seconds of a native run, in all and for each step.

        Args:
            network: a :class:`~autorep_fx.Network`, "loopback", "lan" (0.2 ms, 10 Gbit/s) or "wan" (40 ms, 100 Mbit/s).
            comparison: "fss", "gmw", "mixed" or "auto".
            batch: samples of the run.
            dealer: whether one makes the correlations, or client and server by themselves; the plan is the same, and
                where it was made for the other way the cost says what that means.
        """
        network = network_of(network)
        maker = maker_of(dealer, network)
        cost = plan_cost(self._plan(comparison, network, batch, maker), network, batch=batch, maker=maker)
        return cost if dealer == self.dealer else replace(cost, note=_OTHERWISE[dealer])

    def plan(self, *, comparison: str = "auto", network: Network | str = "loopback", dealer: bool = True) -> Plan:
        """What the native runtime does, step by step: exponents, windows, wire forms, messages. ``print`` it."""
        network = network_of(network)
        return self._plan(comparison, network, 1, maker_of(dealer, network))

    def _plan(self, comparison: str, network: Network, batch: int, maker: Maker) -> Plan:
        allowed = (*VARIANTS, "auto")
        if comparison not in allowed:
            raise ValueError(f"comparison must be one of {', '.join(map(repr, allowed))}, got {comparison!r}")
        if comparison != "auto":
            maker.check_comparison(comparison)
        plan = self.native[0]
        maker.comparisons_of(plan)  # of a checked plan not every maker has any
        return plan.with_comparison(quicker(plan, network, batch, maker) if comparison == "auto" else comparison)

    def save(self, folder: str | Path) -> None:
        """Write the public part and the server's part to a folder (files.py), without pickle."""
        settings = {
            "reach": {name: found.tolist() for name, found in self.reach.items()},
            "frac_bits": self.frac_bits,
            "obstacle": self.obstacle,
        }
        if not self.dealer:
            settings["dealer"] = False
        save_program(folder, self, self.base_plan, self.numbers, settings)

    @staticmethod
    def load(folder: str | Path) -> SecureProgram:
        """Read what :meth:`save` wrote.

        Raises:
            FormatError: it is missing, damaged or of another version.
        """
        program, plan, numbers, settings = load_program(folder)
        reach = {name: np.array(found, np.float64) for name, found in settings.pop("reach").items()}
        return SecureProgram(program.public, program.server, plan, numbers, reach, **settings)

    @property
    def checked(self) -> bool:
        """Whether the server checks the client's messages before it gives its half of the output."""
        return self.base_plan is not None and self.base_plan.checked

    @property
    def native(self) -> tuple[Plan, dict[str, Numbers]]:
        """The native runtime's public plan and the server's ring numbers.

        Raises:
            CompileError: it cannot run this program; says why.
        """
        if self.base_plan is None:
            raise CompileError(self.obstacle)
        return self.base_plan, self.numbers

    def headroom(self, x: Tensor, *more: Tensor) -> Headroom:
        """How near inputs come to what there is room for: in the range, in each window, in the ring. ``print`` it.

        Computed in the clear, with the weights: for whoever has both. Nothing is sent.
        """
        return headroom(self._as_planned, *self.native, self._values(x, *more))

    def _values(self, *given: Tensor) -> Tensor:
        """In float64, of several inputs side by side.

        Raises:
            ValueError: not as many inputs, or one that is no batch of its shape; names it.
        """
        return torch.from_numpy(packed(given, self.public.inputs))

    @cached_property
    def _as_planned(self) -> Program:
        """With the values that the plan has."""
        return unit_squares(self, self.reach)[0]

    @cached_property
    def crypten(self) -> FixedProgram:
        """The program in CrypTen's number format."""
        return fixed_program(self, self.frac_bits, self.reach)

    def __repr__(self) -> str:
        return super().__repr__() if self.dealer else f"{super().__repr__()[:-1]}, planned without a dealer)"

    def __str__(self) -> str:
        return f"SecureProgram{'' if self.dealer else ', planned without a dealer'}: {super().__str__()}"


class ProgramSession:
    """Processes that answer many inputs; see :meth:`SecureProgram.session`.

    Threads may share it: they take turns. A run that is interrupted leaves nothing to the next one.
    """

    def __init__(self, program: SecureProgram, *, comparison: str = "auto", network: Network | str | None = None,
                 timeout: float = 300.0, threads: int = 1, batch: int = 1, max_batch: int | None = None,
                 dealer: bool = True):  # fmt: skip
        shape = network_of(network or "loopback")
        self.program, maker = program, maker_of(dealer, shape)
        self.plan = program._plan(comparison, shape, batch, maker)
        self.range = range_of(self.plan)
        self._session = Session(
            self.plan,
            program.native[1],
            timeout=timeout,
            threads=threads,
            network=None if network is None else shape,
            max_batch=max_batch,
            maker=maker,
        )

    @property
    def setup(self) -> Phase:
        """Cost of what happens once per model."""
        return self._session.setup

    def run(self, x: Tensor, *more: Tensor, check_range: bool = True) -> Result:
        """Answer a batch; offline phase, then online phase. ``check_range`` as in :meth:`SecureProgram.run`."""
        values = packed((x, *more), self.program.public.inputs)
        if check_range:
            self.range.check(values)
        output, stats = self._session.run(values)
        return Result(assemble(self.program.public.form, torch.from_numpy(output), x.dtype), stats)

    def __repr__(self) -> str:
        return f"ProgramSession({self.program!r})"

    def close(self) -> None:
        self._session.close()

    def __enter__(self) -> ProgramSession:
        return self

    def __exit__(self, *_) -> None:
        self.close()
