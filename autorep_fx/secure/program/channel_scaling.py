"""Where a program multiplies the channels of a value: in the layer that gives it, and in the layers that read it."""

from __future__ import annotations

from torch import Tensor

from .program import Step

#: What treats every channel by itself and commutes with a positive factor on it.
THROUGH = ("avg_pool2d", "max_pool2d", "mean", "pad", "reshape")


def scales_rows(layer: Step) -> bool:
    """Whether the channels of its result can be multiplied in its weights."""
    return layer.op in ("conv2d", "affine") or (layer.op == "linear" and len(layer.shape) == 1)


def keeps_channels(step: Step, shape: tuple[int, ...]) -> bool:
    """Whether what goes through this step, of this shape, has the same channels side by side behind it."""
    if step.op == "mean":
        return 1 not in step.attrs["dims"]
    if step.op in ("avg_pool2d", "max_pool2d"):
        return len(shape) >= 3  # of two axes, pooling takes both
    if step.op == "pad":
        return len(step.attrs["pads"]) <= 2 * (len(shape) - 1)
    # Flattening leaves the channels' elements side by side.
    return step.op != "reshape" or len(step.shape) == 1 or step.shape[0] == shape[0]


def reads_channels(reader: Step, shape: tuple[int, ...], channels: int) -> bool:
    """Whether the weights of ``reader`` tell the channels apart in what it reads, of this shape."""
    if reader.op == "linear":
        return len(shape) == 1 and shape[0] % channels == 0
    if shape[0] != channels:
        return False
    return reader.op == "affine" or (reader.op == "conv2d" and reader.attrs["groups"] in (1, channels))


def scale_rows(layer: Step, server: dict[str, Tensor], factor: Tensor, own: set[str] | None = None) -> None:
    """Multiply the channels of what a layer gives.

    server: changed, by new tensors, but where ``own`` names them already, to which new ones are added.
    """
    for role in ("weight", "bias", "scale", "shift"):
        if role in layer.secrets:
            key = layer.secrets[role]
            _multiply(server, key, factor.view(-1, *(1,) * (server[key].dim() - 1)), own)


def scale_columns(reader: Step, server: dict[str, Tensor], factor: Tensor, own: set[str] | None = None) -> None:
    """Multiply the weights by the channel that they read. server, own: as of :func:`scale_rows`."""
    role = "scale" if reader.op == "affine" else "weight"
    value = server[reader.secrets[role]]
    if reader.op == "conv2d" and reader.attrs["groups"] > 1:
        factor = factor.repeat_interleave(len(value) // len(factor)).view(-1, 1, 1, 1)
    elif reader.op == "conv2d":
        factor = factor.view(1, -1, 1, 1)
    elif reader.op == "linear":
        factor = factor.repeat_interleave(value.shape[1] // len(factor))
    _multiply(server, reader.secrets[role], factor, own)


def _multiply(server: dict[str, Tensor], key: str, factor: Tensor, own: set[str] | None) -> None:
    if own is not None and key in own:
        server[key].mul_(factor)
        return
    server[key] = server[key] * factor
    if own is not None:
        own.add(key)
