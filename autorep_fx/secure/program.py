"""A private inference as data: which steps run in which order, and what the server alone knows."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .stats import Result

if TYPE_CHECKING:
    from .cost import Cost
    from .native.backend import ProgramSession
    from .native.plan import Plan
    from .native.planner import Numbers
    from .network import Network

#: Backends that can execute a program.
BACKENDS = ("native", "crypten")


@dataclass(frozen=True)
class Step:
    """One operation on secret-shared tensors.

    Attributes:
        name: name of the result, unique in the program; the graph node's name where there is one.
        op: what to do, a key of every executor's table.
        inputs: names of earlier results.
        shape: shape of the result without the batch, which is always axis 0.
        attrs: public parameters (strides, indices, numbers).
        secrets: role -> key into the server's part, for weights, biases and coefficients.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PublicProgram:
    """What every party may know: the architecture, which positions keep their activation, the number format.

    Attributes:
        input: name of the input value.
        input_shape: its shape without the batch.
        steps: in the order in which they run.
        output: name of the value that the client learns.
        frac_bits: a real v is the ring element ``round(v * 2**frac_bits)``.
        secret_shapes: shape of every tensor in the server's part.
    """

    input: str
    input_shape: tuple[int, ...]
    steps: tuple[Step, ...]
    output: str
    frac_bits: int
    secret_shapes: dict[str, tuple[int, ...]]

    @property
    def output_shape(self) -> tuple[int, ...]:
        return next((s.shape for s in self.steps if s.name == self.output), self.input_shape)

    def last_uses(self) -> dict[str, list[str]]:
        """Step name -> values that nobody reads after it."""
        reader = {name: step.name for step in self.steps for name in step.inputs}
        gone: dict[str, list[str]] = {}
        for name, step in reader.items():
            if name != self.output:
                gone.setdefault(step, []).append(name)
        return gone


@dataclass(frozen=True)
class SecureProgram:
    """A public part, which both parties get, and the server's part: float64 weights, biases and coefficients.

    ``print(program)`` shows every step with its shapes. The weights are numbers here, not yet on a fixed-point grid:
    each executor rounds them to its own.

    Attributes:
        reach: largest absolute values, by name (native/ranges.py); what the native runtime plans its exponents with.
        margin_bits: by how many bits other inputs may exceed them.
    """

    public: PublicProgram
    server: dict[str, Tensor]
    reach: dict[str, float] = field(default_factory=dict)
    margin_bits: int = 2

    @property
    def steps(self) -> tuple[Step, ...]:
        return self.public.steps

    @property
    def frac_bits(self) -> int:
        return self.public.frac_bits

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
        if backend == "native":
            from .native.backend import run as run_native

            return run_native(self, x, comparison=comparison, network=network, timeout=timeout, threads=threads)
        from .crypten.launch import run

        return run(self, x.detach(), provider=provider, kernels=kernels, timeout=timeout, threads=threads)

    def session(self, **options: Any) -> ProgramSession:
        """Client, server and dealer for many inputs: ``with program.session() as s: s.run(x)``.

        Args:
            options: ``comparison``, ``network``, ``timeout`` and ``threads`` as for :meth:`run` on the native backend;
                ``batch``, how many samples a run will have, for ``comparison="auto"``. Batches of any size run.
        """
        from .native.backend import ProgramSession

        return ProgramSession(self, **options)

    def cost(self, network: Network | str = "lan", *, comparison: str = "auto", batch: int = 1) -> Cost:
        """Rounds, bytes and predicted seconds of a native run, in all and for each step.

        Args:
            network: a :class:`~autorep_fx.Network`, "loopback", "lan" (0.2 ms, 10 Gbit/s) or "wan" (40 ms, 100 Mbit/s).
            comparison: "fss", "gmw" or "auto".
            batch: samples of the run.
        """
        from .native.backend import cost

        return cost(self, network, comparison, batch)

    def plan(self, *, comparison: str = "auto", network: Network | str = "loopback") -> Plan:
        """What the native runtime does, step by step: exponents, windows, wire forms, messages. ``print`` it."""
        from .native.backend import plan

        return plan(self, comparison, network)

    def save(self, folder: str | Path) -> None:
        """Write the public part and the server's part to a folder (files.py), without pickle."""
        from .files import save_program

        save_program(self, folder)

    @staticmethod
    def load(folder: str | Path) -> SecureProgram:
        """Read what :meth:`save` wrote.

        Raises:
            FormatError: it is missing, damaged or of another version.
        """
        from .files import load_program

        return load_program(folder)

    @cached_property
    def native(self) -> tuple[Plan, dict[str, Numbers]]:
        """The native runtime's public plan and the server's ring numbers."""
        from .native.planner import make_plan

        return make_plan(self, self.reach, margin=self.margin_bits)

    def check_input(self, x: Tensor) -> None:
        """Raise ValueError unless ``x`` is a batch that this program can run."""
        wanted = f"(N, {', '.join(map(str, self.public.input_shape))})"
        if not isinstance(x, Tensor):
            raise ValueError(f"x must be a floating-point tensor of shape {wanted}, got {type(x).__name__}")
        if not x.is_floating_point():
            raise ValueError(f"x must be a floating-point tensor, got {x.dtype}; convert it with x.float()")
        if x.dim() == 0 or tuple(x.shape[1:]) != self.public.input_shape or len(x) == 0:
            raise ValueError(f"x has shape {tuple(x.shape)}; this program was compiled for {wanted} with N > 0")
        if not torch.isfinite(x).all():
            raise ValueError(f"x holds {int((~torch.isfinite(x)).sum())} values that are NaN or infinite")
        # Products have 2 * frac_bits fractional bits and must stay below 2**62 in a ring of 64 bits.
        limit = 2.0 ** (62 - 2 * self.frac_bits)
        if x.abs().max() >= limit:
            raise ValueError(
                f"x holds values up to {float(x.abs().max()):.3g}; at frac_bits={self.frac_bits} the limit is "
                f"{limit:.3g}, compile with fewer frac_bits or scale the input"
            )

    def __str__(self) -> str:
        rows = [("step", "op", "inputs", "shape", "server's part", "public")]
        rows.append((self.public.input, "input", "", _shape(self.public.input_shape), "", "held by the client"))
        for step in self.steps:
            secrets = " ".join(f"{role}{list(self.public.secret_shapes[key])}" for role, key in step.secrets.items())
            attrs = " ".join(f"{key}={_short(value)}" for key, value in step.attrs.items())
            rows.append((step.name, step.op, " ".join(step.inputs), _shape(step.shape), secrets, attrs))
        rows.append(("output", "open", self.public.output, _shape(self.public.output_shape), "", "to the client"))
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
        numbers = sum(t.numel() for t in self.server.values())
        return "\n".join(
            [f"SecureProgram: {len(self.steps)} steps, {numbers:,} private numbers, frac_bits={self.frac_bits}", *lines]
        )


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, ("N", *shape)))


def _short(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"<{value.numel()}>"
    return str(value).replace(" ", "")
