"""Other sizes of pictures and signals."""

from __future__ import annotations

import math

import torch.nn.functional as F

from ..call import Call, Unsupported, Value, operator

_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


@operator("Resize", "Upsample")
def resize(c: Call) -> Value:
    n = c.rank() - 2
    size = _size(c)
    if size[:2] != list(c.shape()[:2]) or n not in _LINEAR:
        raise Unsupported(f"from {c.shape()} to {tuple(size)}; one to three axes behind the channels are supported")
    if size == list(c.shape()):
        return c.proxy(0)
    old = c.name == "Upsample" or c.opset < 11
    how = "asymmetric" if old else c.attribute("coordinate_transformation_mode", "half_pixel")
    kind, rounding = c.attribute("mode", "nearest"), c.attribute("nearest_mode", "round_prefer_floor")
    if c.attribute("antialias", 0) or c.attribute("exclude_outside", 0):
        raise Unsupported("antialias or exclude_outside; the plain interpolation is supported")
    if old:
        rounding = "floor"
    whole = all(b % a == 0 for a, b in zip(c.shape()[2:], size[2:]))
    half = how in ("half_pixel", "pytorch_half_pixel")
    if kind == "nearest":
        # By a whole factor, each element is repeated: all of these agree on that.
        if how == "asymmetric" and rounding == "floor" or whole and half and rounding.startswith("round"):
            return _interpolated(c, size, "nearest")
        if half and rounding == "round_prefer_ceil":
            return _interpolated(c, size, "nearest-exact")
    if kind == "linear" and (half or how == "align_corners"):
        if how == "half_pixel" and any(b == 1 for b in size[2:]):
            raise Unsupported("half_pixel to a single element; export it by pytorch_half_pixel")
        return _interpolated(c, size, _LINEAR[n], how == "align_corners")
    if kind == "cubic" and n == 2 and (half or how == "align_corners") and c.attribute("cubic_coeff_a", -0.75) == -0.75:
        return _interpolated(c, size, "bicubic", how == "align_corners")
    raise Unsupported(
        f"mode={kind!r} with coordinate_transformation_mode={how!r}, nearest_mode={rounding!r} has no counterpart in "
        "torch; half_pixel, align_corners, and asymmetric with floor have"
    )


def _interpolated(c: Call, size: list[int], mode: str, corners: bool | None = None) -> Value:
    options = {} if corners is None else {"align_corners": corners}
    return F.interpolate(c.proxy(0), size=tuple(size[2:]), mode=mode, **options)


def _size(c: Call) -> list[int]:
    """The whole shape of the result."""
    shape = list(c.shape())
    place = 1 if c.name == "Upsample" or c.opset < 11 else 2
    sizes: list[int] = c.numbers(3, "", []) if c.opset >= 11 else []
    scales: list[float] = [] if sizes else c.numbers(place, "scales")
    if c.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Unsupported("keep_aspect_ratio_policy; only 'stretch' is supported")
    axes = [a % len(shape) for a in c.attribute("axes") or range(len(shape))]
    for i, axis in enumerate(axes):
        if axis == 0:
            continue  # the batch's
        shape[axis] = int(sizes[i]) if sizes else math.floor(shape[axis] * scales[i])
    return shape
