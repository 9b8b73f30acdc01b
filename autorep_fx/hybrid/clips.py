"""ReLU6 whose upper clip hardly acts: ReLU in its place costs one private comparison less at every kept position."""

from __future__ import annotations

from torch import fx

from ..errors import CalibrationError
from ..graph.activations import Activation
from .activation import HybridActivation, sites


def clip_rates(gm: fx.GraphModule) -> dict[str, float]:
    """The part of all calibrated inputs that was above 6, by the name of each ReLU6 site, in run order.

    Raises:
        CalibrationError: the model was not calibrated (or was loaded: a file holds no statistics).
    """
    found: dict[str, float] = {}
    for name, site in _clipping(gm).items():
        if site.statistics is None:
            raise CalibrationError(
                f"what arrives at site '{name}' is not known; give autorep_fx.transform the calibration"
            )
        found[name] = site.statistics.clip_rate
    return found


def simplify_clips(gm: fx.GraphModule, at_most: float = 1e-4) -> dict[str, float]:
    """Make plain ReLU of every ReLU6 that clips at most this part of its calibrated inputs; ``gm`` is changed in place.

    Kept positions of such a site take one private comparison, not two. What the model computes changes where an input
    is above 6: look at its accuracy. The polynomials stay as they are.

    Returns:
        ``clip_rates`` of the sites that were changed.

    Raises:
        CalibrationError: see :func:`clip_rates`.
        ValueError: ``at_most`` is not from 0 to 1.
    """
    if not 0 <= at_most <= 1:
        raise ValueError(f"at_most must be a part of the inputs, 0 to 1, got {at_most!r}")
    chosen = {name: rate for name, rate in clip_rates(gm).items() if rate <= at_most}
    for name, site in _clipping(gm).items():
        if name in chosen:
            drop_clip(site)
    return chosen


def drop_clip(site: HybridActivation) -> None:
    """ReLU in place of the ReLU6 of a site."""
    site.activation = Activation("relu").train(site.activation.training)


def _clipping(gm: fx.GraphModule) -> dict[str, HybridActivation]:
    return {name: site for name, site in sites(gm).items() if site.activation.kind == "relu6"}
