"""The module at every site: activation where it is kept, polynomial elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from ..graph.activations import Activation, Leaf
from ..graph.canonicalize import site_nodes


class HybridActivation(Leaf):
    """``keep * act(x) + (1 - keep) * poly(x)``, element by element.

    Shapes: ``x`` is (N, *shape), ``keep`` boolean of ``shape`` (usually (C, H, W)), ``coeffs`` (degree + 1, shape[0])
    with ``coeffs[k]`` multiplying ``x**k``. While nothing is replaced the site computes exactly what the activation
    does, on inputs of any size; ``keep`` gets its shape from the first input seen. An input (N,), one number a sample,
    is taken as (N, 1); an input () holds nothing of a single sample, and leaves the site without a shape.

    Args:
        activation: the function of the kept positions.
        degree: degree of the polynomial.
        shape: shape of one sample, where it is known.

    Attributes:
        keep: bool buffer of ``shape``, True where the activation stays; None until the shape is known.
        coeffs: Parameter (degree + 1, shape[0]); the identity until it is fitted; None until the shape is known.
        input_range: float buffer (2,), smallest and largest calibrated input; None until calibrated.
        fit_error: float buffer (shape[0],), mean squared error of the polynomial per channel; None until fitted.
        statistics: what calibration saw (:class:`~autorep_fx.graph.statistics.SiteStatistics`), not in the state_dict.

    Source: Peng et al., AutoReP (ICCV 2023), section 3.
    """

    _LEARNED = ("keep", "coeffs", "input_range", "fit_error")

    def __init__(self, activation: Activation, degree: int = 2, shape: tuple[int, ...] | None = None):
        super().__init__()
        self.activation = activation
        self.degree = degree
        self.gate: nn.Module | None = None  # learns keep during a search (hybrid.gate)
        self.statistics = None
        self._replaced = 0
        self.register_buffer("keep", None)
        self.register_parameter("coeffs", None)
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
            identity = torch.zeros(self.degree + 1, keep.shape[0], device=self.keep.device)
            identity[1] = 1
            self.coeffs = nn.Parameter(identity)
        self._count()

    def set_coeffs(self, coeffs: Tensor) -> None:
        """Set the polynomial of every channel, (degree + 1, C); another degree than before is allowed."""
        if self.keep is None or coeffs.dim() != 2 or coeffs.shape[1] != self.keep.shape[0] or len(coeffs) < 2:
            raise ValueError(f"coeffs must be (degree + 1, C) for a site of shape {self.shape}, got {coeffs.shape}")
        old = self.coeffs
        self.degree = len(coeffs) - 1
        coeffs = coeffs.detach().to(old.device, old.dtype)
        if coeffs.shape == old.shape:
            with torch.no_grad():
                old.copy_(coeffs)  # in place: an optimizer may hold it
        else:
            self.coeffs = nn.Parameter(coeffs.clone(), requires_grad=old.requires_grad)

    def polynomial(self, x: Tensor) -> Tensor:
        """The polynomial of every element of ``x`` (N, *shape), by Horner's rule, in the dtype of ``x``."""
        coeffs = self.coeffs.to(x.dtype).reshape(len(self.coeffs), -1, *(1,) * (x.dim() - 2))
        y = coeffs[-1] * x + coeffs[-2]
        for c in coeffs[:-2].flip(0):
            y = y * x + c
        return y

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 1:
            return self(x.unsqueeze(1)).squeeze(1)
        if self.keep is None and x.dim() and not torch.compiler.is_compiling():
            self.set_keep(torch.ones(x.shape[1:], dtype=torch.bool, device=x.device))
        gated = self.gate is not None and self.training
        if not gated and self._replaced == 0:  # in this order: a compiled model must not depend on the count
            return self.activation(x)
        if x.shape[1:] != self.keep.shape:
            raise ValueError(
                f"this site was masked for inputs of shape (N, {', '.join(map(str, self.keep.shape))}) and got "
                f"{tuple(x.shape)}; transform the model again for another input size"
            )
        poly = self.polynomial(x)
        if gated:
            return torch.lerp(poly, self.activation(x), self.gate(self.keep).to(x.dtype))
        return poly if self._replaced == self.total else torch.where(self.keep, self.activation(x), poly)

    def _count(self) -> None:
        self._replaced = int((~self.keep).sum())
        # Coefficients that nothing reads must not wait for a gradient (DistributedDataParallel would).
        if self.gate is None:
            self.coeffs.requires_grad_(self._replaced > 0)

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        # The file knows the shapes, a freshly traced module does not yet: take them from it.
        for name in self._LEARNED:
            value, mine = state_dict.get(prefix + name), getattr(self, name)
            if value is not None and (mine is None or (name == "coeffs" and mine.shape != value.shape)):
                device = next((t.device for t in (self.keep, *self.activation.parameters()) if t is not None), "cpu")
                blank = torch.empty_like(value, device=device)
                setattr(self, name, nn.Parameter(blank) if name == "coeffs" else blank)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        if self.coeffs is not None:
            self.degree = len(self.coeffs) - 1
        if self.keep is not None:
            self._count()

    def extra_repr(self) -> str:
        if self.keep is None:
            return f"degree={self.degree}, shape not known yet"
        return f"shape={self.shape}, kept={self.kept} of {self.total}, degree={self.degree}"


def hybridize(gm: fx.GraphModule, degree: int = 2) -> fx.GraphModule:
    """Put a :class:`HybridActivation` where the graph has an :class:`Activation`; all positions stay kept::

    before:  relu = call_module[layer.relu](conv)      layer.relu: Activation(relu)
    after:   relu = call_module[layer.relu](conv)      layer.relu: HybridActivation(Activation(relu))
    """
    for node in site_nodes(gm, Activation):
        activation = gm.get_submodule(node.target)
        site = HybridActivation(activation, degree)
        site.train(activation.training)
        gm.set_submodule(node.target, site)
    return gm


def sites(gm: fx.GraphModule) -> dict[str, HybridActivation]:
    """The sites of a transformed model by name, in the order in which they run."""
    if not isinstance(gm, fx.GraphModule):
        raise TypeError(f"expected the GraphModule that autorep_fx.transform returns, got {type(gm).__name__}")
    return {node.target: gm.get_submodule(node.target) for node in site_nodes(gm, HybridActivation)}


def relu_count(gm: fx.GraphModule) -> int:
    """Activation elements per sample that are kept, counted as the papers do (CIFAR ResNet-18: 557,056).

    Raises:
        ValueError: shapes are not known yet.
    """
    unknown = [name for name, site in sites(gm).items() if site.shape is None]
    if unknown:
        raise ValueError(
            f"the shape of site '{unknown[0]}' is not known yet; run the model once, or give transform() "
            "example_inputs or calibration"
        )
    return sum(site.kept for site in sites(gm).values())
