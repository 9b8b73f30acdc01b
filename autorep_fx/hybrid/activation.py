"""The module at every site: activation where it is kept, a square or a line elsewhere."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Container
from typing import TypeVar

import torch
from torch import Tensor, fx, nn

from ..graph.activations import Activation, Leaf
from ..graph.canonicalize import site_nodes
from ..graph.statistics import SiteStatistics
from ..graph.targets import path_of
from ..graph.unread import read
from .gate import Gate

T = TypeVar("T")

_UNKNOWN = "is not known yet; run the model once, or give transform() example_inputs or calibration"


class HybridActivation(Leaf):
    """``keep * act(x) + (1 - keep) * poly(x)``, element by element; ``poly`` is a line at the positions of ``line``.

    Shapes: ``x`` is (N, *shape), ``keep`` and ``line`` boolean of ``shape`` (usually (C, H, W)), ``coeffs``
    (degree + 1, shape[0]) with ``coeffs[k]`` multiplying ``x**k``, ``line_coeffs`` (2, shape[0]) likewise. While
    nothing is replaced the site computes exactly what the activation does, on inputs of any size; ``keep`` gets its
    shape from the first input seen. An input (N,), one number a sample, is taken as (N, 1); an input () holds nothing
    of a single sample, and leaves the site without a shape.

    Args:
        activation: the function of the kept positions.
        degree: degree of the polynomial.
        shape: shape of one sample, where it is known.

    Attributes:
        keep: bool buffer of ``shape``, True where the activation stays; None until the shape is known.
        coeffs: Parameter (degree + 1, shape[0]); the identity until it is fitted; None until the shape is known.
        line: bool buffer of ``shape``, True where a position that is not kept takes the line and not the polynomial of
            ``degree``; says nothing about kept ones. None: nowhere.
        line_coeffs: Parameter (2, shape[0]), the lines of the channels; None where ``line`` is.
        input_range: float buffer (2,), smallest and largest calibrated input; None until calibrated.
        fit_error: float buffer (shape[0],), mean squared error of the polynomial per channel; None until fitted.
        statistics: what calibration saw (:class:`~autorep_fx.graph.statistics.SiteStatistics`), not in the state_dict.

    Source: Peng et al., AutoReP (ICCV 2023), section 3; lines are ours.
    """

    keep: Tensor | None
    coeffs: nn.Parameter | None
    line: Tensor | None
    line_coeffs: nn.Parameter | None
    input_range: Tensor | None
    fit_error: Tensor | None
    activation: Activation

    _LEARNED = ("keep", "coeffs", "line", "line_coeffs", "input_range", "fit_error")

    def __init__(self, activation: Activation, degree: int = 2, shape: tuple[int, ...] | None = None):
        super().__init__()
        self.activation = activation
        self.degree = degree
        self.gate: Gate | None = None  # learns keep during a search
        self.share: Tensor | None = None  # in training, of what replaced positions take; the rest is the activation's
        self.statistics: SiteStatistics | None = None
        self._replaced = self._lines = 0
        self.register_buffer("keep", None)
        self.register_parameter("coeffs", None)
        self.register_buffer("line", None)
        self.register_parameter("line_coeffs", None)
        self.register_buffer("input_range", None)
        self.register_buffer("fit_error", None)
        if shape is not None:
            self.set_keep(torch.ones(shape, dtype=torch.bool))

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Shape of one sample at this site, (C, H, W) for an image; None until known."""
        return None if self.keep is None else tuple(self.keep.shape)

    @property
    def total(self) -> int:
        """Elements per sample."""
        return 0 if self.keep is None else self.keep.numel()

    @property
    def kept(self) -> int:
        """Elements per sample that keep their activation."""
        return self.total - self._replaced

    @property
    def lines(self) -> int:
        """Elements per sample that take a line by ``line``; of degree 1, the other replaced ones are lines as well."""
        return self._lines

    @property
    def takes_line(self) -> Tensor:
        """Boolean of ``shape``: replaced, and by ``line``."""
        keep = known(self.keep)
        return torch.zeros_like(keep) if self.line is None else self.line & ~keep

    def set_keep(self, keep: Tensor) -> None:
        """Set the mask, a boolean tensor of the shape of one sample.

        Raises:
            ValueError: not boolean, or of another shape than the site's.
        """
        if keep.dtype != torch.bool:
            raise ValueError(f"keep must be a boolean tensor, got {keep.dtype}")
        if self.keep is not None and keep.shape != self.keep.shape:
            raise ValueError(f"keep has shape {tuple(keep.shape)}, this site has {self.shape}")
        self.keep = keep.detach().clone().to(self.keep.device if self.keep is not None else keep.device)
        if self.coeffs is None:
            self.coeffs = self._identity(self.degree)
        self._count()

    def set_line(self, line: Tensor | None) -> None:
        """Say which positions take the line where they are not kept, a boolean tensor of the site's shape; None: none.

        The line is the identity until it is fitted.

        Raises:
            ValueError: not boolean, or of another shape than the site's.
        """
        if line is None:
            self.line = self.line_coeffs = None
        else:
            if self.keep is None or line.dtype != torch.bool or line.shape != self.keep.shape:
                raise ValueError(f"line must be a boolean tensor of the site's shape {self.shape}, got {line.dtype} of "
                                 f"{tuple(line.shape)}")  # fmt: skip
            self.line = line.detach().clone().to(self.keep.device)
            if self.line_coeffs is None:
                self.line_coeffs = self._identity(1)
        self._count()

    def set_line_coeffs(self, coeffs: Tensor) -> None:
        """Set the line of every channel, (2, C)."""
        if self.line_coeffs is None or coeffs.shape != self.line_coeffs.shape:
            raise ValueError(f"line_coeffs must be (2, C) for a site of shape {self.shape} that has lines, got "
                             f"{tuple(coeffs.shape)}")  # fmt: skip
        with torch.no_grad():
            self.line_coeffs.copy_(coeffs)  # in place: an optimizer may hold it

    def set_coeffs(self, coeffs: Tensor) -> None:
        """Set the polynomial of every channel, (degree + 1, C); another degree than before is allowed."""
        old = self.coeffs
        if old is None or coeffs.dim() != 2 or coeffs.shape[1] != old.shape[1] or len(coeffs) < 2:
            raise ValueError(f"coeffs must be (degree + 1, C) for a site of shape {self.shape}, got {coeffs.shape}")
        self.degree = len(coeffs) - 1
        coeffs = coeffs.detach().to(old.device, old.dtype)
        if coeffs.shape == old.shape:
            with torch.no_grad():
                old.copy_(coeffs)  # in place: an optimizer may hold it
        else:
            self.coeffs = nn.Parameter(coeffs.clone(), requires_grad=old.requires_grad)

    def _identity(self, degree: int) -> nn.Parameter:
        keep = known(self.keep)
        identity = torch.zeros(degree + 1, keep.shape[0], device=keep.device)
        identity[1] = 1
        return nn.Parameter(identity)

    def polynomial(self, x: Tensor) -> Tensor:
        """The polynomial of every element of ``x`` (N, *shape), in the dtype of ``x``."""
        return horner(known(self.coeffs), x)

    def replacement(self, x: Tensor) -> Tensor:
        """What every element of ``x`` (N, *shape) gets where it is not kept: its polynomial, or its line."""
        if self.line is None or self.line_coeffs is None:
            return self.polynomial(x)
        if self.gate is None and self._lines == self._replaced:
            return horner(self.line_coeffs, x)
        return torch.where(self.line, horner(self.line_coeffs, x), self.polynomial(x))

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 1:
            return self(x.unsqueeze(1)).squeeze(1)
        if self.keep is None and x.dim() and not torch.compiler.is_compiling():
            self.set_keep(torch.ones(x.shape[1:], dtype=torch.bool, device=x.device))
        gate = self.gate if self.training else None
        if gate is None and self._replaced == 0:  # in this order: a compiled model must not depend on the count
            return self.activation(x)
        keep = known(self.keep)
        if x.shape[1:] != keep.shape:
            raise ValueError(
                f"this site was masked for inputs of shape (N, {', '.join(map(str, keep.shape))}) and got "
                f"{tuple(x.shape)}; transform the model again for another input size"
            )
        poly = self.replacement(x)
        if gate is not None:
            return torch.lerp(poly, self.activation(x), gate(keep).to(x.dtype))
        if self.share is not None and self.training:
            kept = self.activation(x)
            return torch.where(keep, kept, torch.lerp(kept, poly, self.share.to(x.dtype)))
        return poly if self._replaced == self.total else torch.where(keep, self.activation(x), poly)

    def _count(self) -> None:
        self._replaced, self._lines = int((~known(self.keep)).sum()), int(self.takes_line.sum())
        # Coefficients that nothing reads must not wait for a gradient (DistributedDataParallel would).
        if self.gate is None and self.coeffs is not None:
            self.coeffs.requires_grad_(self._replaced > self._lines)
            if self.line_coeffs is not None:
                self.line_coeffs.requires_grad_(self._lines > 0)

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        # The file knows the shapes, a freshly traced module does not yet: take them from it.
        for name in self._LEARNED:
            value, mine = state_dict.get(prefix + name), getattr(self, name)
            if name.startswith("line") and value is None and prefix + "keep" in state_dict:
                setattr(self, name, None)
            if value is not None and (mine is None or (name == "coeffs" and mine.shape != value.shape)):
                device = next((t.device for t in (self.keep, *self.activation.parameters()) if t is not None), "cpu")
                blank = torch.empty_like(value, device=device)
                setattr(self, name, nn.Parameter(blank) if name.endswith("coeffs") else blank)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        if self.coeffs is not None:
            self.degree = len(self.coeffs) - 1
        if self.keep is not None:
            self._count()

    def extra_repr(self) -> str:
        if self.keep is None:
            return f"degree={self.degree}, shape not known yet"
        lines = f", lines={self.lines}" if self.line is not None else ""
        return f"shape={self.shape}, kept={self.kept} of {self.total}{lines}, degree={self.degree}"


def known(value: T | None) -> T:
    """What a site has as soon as its shape, or what arrives there, is known: ``known(site.keep)``.

    Raises:
        ValueError: it is not known yet.
    """
    if value is None:
        raise ValueError(f"what arrives at this site {_UNKNOWN}")
    return value


def horner(coeffs: Tensor, x: Tensor) -> Tensor:
    """The polynomials ``coeffs`` (degree + 1, C) of ``x`` (N, C, ...), in the dtype of ``x``."""
    coeffs = coeffs.to(x.dtype).reshape(len(coeffs), -1, *(1,) * (x.dim() - 2))
    y = coeffs[-1] * x + coeffs[-2]
    for c in coeffs[:-2].flip(0):
        y = y * x + c
    return y


def hybridize(gm: fx.GraphModule, degree: int = 2, named: Container[str] = ()) -> fx.GraphModule:
    """Put a :class:`HybridActivation` where the graph has an :class:`Activation`; all positions stay kept::

    before:  relu = call_module[layer.relu](conv)      layer.relu: Activation(relu)
    after:   relu = call_module[layer.relu](conv)      layer.relu: HybridActivation(Activation(relu))

    What is computed and not returned has no sites, but for those that are ``named``, as an earlier version saved them.
    """
    returned = read(gm)
    for node in site_nodes(gm, Activation):
        if node not in returned and path_of(node) not in named:
            continue
        activation = gm.get_submodule(path_of(node))
        if isinstance(activation, Activation):
            site = HybridActivation(activation, degree)
            site.train(activation.training)
            gm.set_submodule(path_of(node), site)
    return gm


def sites(gm: fx.GraphModule) -> dict[str, HybridActivation]:
    """The sites of a transformed model by name, in the order in which they run."""
    if not isinstance(gm, fx.GraphModule):
        raise TypeError(f"expected the GraphModule that autorep_fx.transform returns, got {type(gm).__name__}")
    called = {node: gm.get_submodule(path_of(node)) for node in site_nodes(gm, HybridActivation)}
    return {path_of(node): site for node, site in called.items() if isinstance(site, HybridActivation)}


def copy_without_statistics(gm: fx.GraphModule) -> fx.GraphModule:
    """A deep copy but for what calibration saw, which is a float64 for each position many times over."""
    statistics = {site: site.statistics for site in sites(gm).values()}
    for site in statistics:
        site.statistics = None
    try:
        return copy.deepcopy(gm)
    finally:
        for site, found in statistics.items():
            site.statistics = found


def masks_digest(gm: fx.GraphModule) -> str:
    """Of which positions are kept and which take a line: models with the same masks have the same one."""
    digest = hashlib.sha256()
    for site in sites(gm).values():
        for mask in (site.keep, site.line):
            digest.update(b"-" if mask is None else mask.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def relu_count(gm: fx.GraphModule) -> int:
    """Activation elements per sample that are kept, counted as the papers do (CIFAR ResNet-18: 557,056).

    Raises:
        ValueError: shapes are not known yet.
    """
    unknown = [name for name, site in sites(gm).items() if site.shape is None]
    if unknown:
        raise ValueError(f"the shape of site '{unknown[0]}' {_UNKNOWN}")
    return sum(site.kept for site in sites(gm).values())
