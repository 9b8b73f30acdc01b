"""The layers of a transformer in torch.nn as what they consist of, so that their activations are sites.

Their own forward() asks for what a trace does not know (whether tensors are nested, have hooks or want gradients), to
take a kernel for the whole layer in eval mode. Attention itself stays one module.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.fx import Proxy
from torch.nn.modules import transformer


def _encoder_layer(layer: Any, src: Tensor, src_mask: Tensor | None = None,
                   src_key_padding_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:  # fmt: skip
    given = (src_mask, src_key_padding_mask, is_causal)
    if layer.norm_first:
        src = src + layer._sa_block(layer.norm1(src), *given)
        return src + _feed_forward(layer, layer.norm2(src))
    src = layer.norm1(src + layer._sa_block(src, *given))
    return layer.norm2(src + _feed_forward(layer, src))


def _decoder_layer(layer: Any, tgt: Tensor, memory: Tensor, tgt_mask: Tensor | None = None,
                   memory_mask: Tensor | None = None, tgt_key_padding_mask: Tensor | None = None,
                   memory_key_padding_mask: Tensor | None = None, tgt_is_causal: bool = False,
                   memory_is_causal: bool = False) -> Tensor:  # fmt: skip
    own, other = (tgt_mask, tgt_key_padding_mask, tgt_is_causal), (memory_mask, memory_key_padding_mask,
                                                                   memory_is_causal)  # fmt: skip
    if layer.norm_first:
        tgt = tgt + layer._sa_block(layer.norm1(tgt), *own)
        tgt = tgt + layer._mha_block(layer.norm2(tgt), memory, *other)
        return tgt + _feed_forward(layer, layer.norm3(tgt))
    tgt = layer.norm1(tgt + layer._sa_block(tgt, *own))
    tgt = layer.norm2(tgt + layer._mha_block(tgt, memory, *other))
    return layer.norm3(tgt + _feed_forward(layer, tgt))


def _feed_forward(layer: Any, x: Tensor) -> Tensor:
    """With the batch in front, where a site looks for it."""
    if layer.self_attn.batch_first:
        return layer._ff_block(x)
    return layer._ff_block(x.transpose(0, 1)).transpose(0, 1)


def _encoder(encoder: Any, src: Tensor, mask: Tensor | None = None, src_key_padding_mask: Tensor | None = None,
             is_causal: bool | None = None) -> Tensor:  # fmt: skip
    causal = _is_causal(mask, is_causal)
    for layer in encoder.layers:
        src = layer(src, src_mask=mask, is_causal=causal, src_key_padding_mask=src_key_padding_mask)
    return src if encoder.norm is None else encoder.norm(src)


def _decoder(decoder: Any, tgt: Tensor, memory: Tensor, tgt_mask: Tensor | None = None,
             memory_mask: Tensor | None = None, tgt_key_padding_mask: Tensor | None = None,
             memory_key_padding_mask: Tensor | None = None, tgt_is_causal: bool | None = None,
             memory_is_causal: bool = False) -> Tensor:  # fmt: skip
    causal = _is_causal(tgt_mask, tgt_is_causal)
    for layer in decoder.layers:
        tgt = layer(tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask,
                    tgt_key_padding_mask=tgt_key_padding_mask, memory_key_padding_mask=memory_key_padding_mask,
                    tgt_is_causal=causal, memory_is_causal=memory_is_causal)  # fmt: skip
    return tgt if decoder.norm is None else decoder.norm(tgt)


def _transformer(model: Any, src: Tensor, tgt: Tensor, src_mask: Tensor | None = None, tgt_mask: Tensor | None = None,
                 memory_mask: Tensor | None = None, src_key_padding_mask: Tensor | None = None,
                 tgt_key_padding_mask: Tensor | None = None, memory_key_padding_mask: Tensor | None = None,
                 src_is_causal: bool | None = None, tgt_is_causal: bool | None = None,
                 memory_is_causal: bool = False) -> Tensor:  # fmt: skip
    memory = model.encoder(src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal)
    return model.decoder(tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask,
                         tgt_key_padding_mask=tgt_key_padding_mask, memory_key_padding_mask=memory_key_padding_mask,
                         tgt_is_causal=tgt_is_causal, memory_is_causal=memory_is_causal)  # fmt: skip


def _is_causal(mask: Tensor | None, hint: bool | None) -> bool:
    """By the mask, or, where that is of the trace and has no values yet, as is said."""
    if isinstance(mask, Proxy):
        return bool(hint)
    return transformer._detect_is_causal_mask(mask, hint)


_FORWARDS: dict[Callable, Callable] = {
    nn.TransformerEncoderLayer.forward: _encoder_layer,
    nn.TransformerEncoder.forward: _encoder,
    nn.TransformerDecoderLayer.forward: _decoder_layer,
    nn.TransformerDecoder.forward: _decoder,
    nn.Transformer.forward: _transformer,
}

#: What has activations inside.
_CONTAINERS = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.TransformerDecoder, nn.TransformerDecoderLayer,
               nn.Transformer)  # fmt: skip


def is_container(module: nn.Module) -> bool:
    """Whether a module of torch.nn is one to look into."""
    return isinstance(module, _CONTAINERS)


def straight(forward: Callable) -> Callable:
    """``forward`` of one of their classes without the questions; of another class as it is."""
    return _FORWARDS.get(forward, forward)
