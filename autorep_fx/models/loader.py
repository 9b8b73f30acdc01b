"""Images in memory and batches of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..settings.kinds import AtLeastOne, Count
from ..text import brief


@dataclass(frozen=True)
class Images:
    """Labelled images.

    Attributes:
        pixels: (N, C, H, W) uint8.
        labels: (N,) int64.
        mean, std: per channel, in units of a pixel value scaled to 0..1.
        classes: number of classes.
    """

    pixels: Tensor
    labels: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: int

    __repr__ = brief

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index) -> Images:
        """A subset, by slice or index tensor."""
        return replace(self, pixels=self.pixels[index], labels=self.labels[index])

    def normalized(self, index=slice(None)) -> Tensor:
        """(N, C, H, W) float32, mean 0 and deviation 1 over the training set."""
        mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (self.mean, self.std))
        return (self.pixels[index].float() / 255 - mean) / std


class ImageLoader:
    """Batches (inputs float32, labels), re-iterable. A pass depends on ``seed`` and ``epoch`` alone.

    So a run that is resumed at an epoch sees the same batches as one that was never stopped. In a distributed run each
    rank takes its own ``rank`` of ``ranks`` equal parts of every epoch.

    Args:
        images: what to iterate over.
        batch_size: samples a batch, on each rank.
        train: shuffle, drop a last short batch, and augment: crops from an image padded by ``pad``, flips if ``flip``.
        samples: with ``train``, how many images an epoch takes, another random part each time; None: all.
    """

    def __init__(
        self,
        images: Images,
        batch_size: AtLeastOne = 128,
        *,
        train: bool = False,
        pad: Count = 0,
        flip: bool = False,
        samples: AtLeastOne | None = None,
        seed: int = 0,
        rank: int = 0,
        ranks: int = 1,
    ):
        self.images, self.batch_size, self.train = images, batch_size, train
        self.samples = min(samples or len(images), len(images)) if train else len(images)
        self.pad, self.flip, self.seed, self.rank, self.ranks = pad, flip, seed, rank, ranks
        self.epoch = 0

    def __repr__(self) -> str:
        return f"ImageLoader({len(self.images):,} images, batches of {self.batch_size})"

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        share = self.samples // self.ranks if self.train else len(self.images)
        return share // self.batch_size if self.train else -(-share // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.arange(len(self.images))
        if self.train:
            order = torch.randperm(len(order), generator=generator)[: self.samples][self.rank :: self.ranks]
            generator.manual_seed(generator.initial_seed() * 31 + self.rank)
        for i in range(len(self)):
            index = order[i * self.batch_size : (i + 1) * self.batch_size]
            x = self.images.normalized(index)
            yield (self._augment(x, generator) if self.train else x), self.images.labels[index]

    def _augment(self, x: Tensor, generator: torch.Generator) -> Tensor:
        n, _, h, w = x.shape
        if self.pad:
            x = F.pad(x, (self.pad,) * 4)
            top, left = torch.randint(0, 2 * self.pad + 1, (2, n), generator=generator)
            rows = top[:, None] + torch.arange(h)
            columns = left[:, None] + torch.arange(w)
            sample = torch.arange(n)[:, None, None]
            x = x.movedim(1, -1)[sample, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)
        if self.flip:
            flipped = torch.rand(n, generator=generator) < 0.5
            x = torch.where(flipped[:, None, None, None], x.flip(3), x)
        return x.contiguous()
