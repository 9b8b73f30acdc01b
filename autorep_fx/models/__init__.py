"""The networks of the papers, and readers for their data."""

from .loader import ImageLoader, Images
from .readers import cifar, digits, fashion_mnist, glyphs, tiny_imagenet
from .resnet import resnet18, resnet_cifar
from .vit import vit
from .wide_resnet import wide_resnet

__all__ = [
    "ImageLoader",
    "Images",
    "cifar",
    "digits",
    "fashion_mnist",
    "glyphs",
    "resnet18",
    "resnet_cifar",
    "tiny_imagenet",
    "vit",
    "wide_resnet",
]
