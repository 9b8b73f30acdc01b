"""A U-Net that says which pixels are ink: masks for targets, a loss by its name and a metric of one's own."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import autorep_fx as ar
from autorep_fx.models import Images, digits


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in ((1, 8), (8, 16), (16, 16)))
        self.up = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in ((32, 8), (16, 8)))
        self.last = nn.Conv2d(8, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        full = F.relu(self.down[0](x))
        half = F.relu(self.down[1](F.avg_pool2d(full, 2)))
        x = F.relu(self.down[2](F.avg_pool2d(half, 2)))
        x = F.relu(self.up[0](torch.cat([F.interpolate(x, scale_factor=2), half], 1)))
        x = F.relu(self.up[1](torch.cat([F.interpolate(x, scale_factor=2), full], 1)))
        return self.last(x)


def noisy(images: Images, seed: int) -> tuple[Tensor, Tensor]:
    """Digits in noise (N, 1, 8, 8), and where their ink is, of the same shape."""
    ink = images.pixels.float() / 255
    return ink + 0.4 * torch.randn(ink.shape, generator=torch.Generator().manual_seed(seed)), (ink > 0.3).float()


def overlap(output: Tensor, mask: Tensor) -> Tensor:
    """Intersection over union of what is found and what is there."""
    found, there = output > 0, mask > 0.5
    return (found & there).sum() / (found | there).sum()


torch.manual_seed(0)
train_set, test_set = digits()
(x, masks), (test_x, test_masks) = noisy(train_set, 0), noisy(test_set, 1)
loader, test_loader = list(zip(x.split(64), masks.split(64))), [(test_x, test_masks)]
told = {"loss": "binary_cross_entropy_with_logits", "metric": overlap}

original = ar.transform(UNet(), example_inputs=x[:2])
history = ar.finetune(original, loader, test_loader, epochs=6, lr=5e-3, **told)
print(f"original: {ar.relu_count(original):5,} ReLUs, overlap {history.val_metric[-1]:.2%}")

hybrid = ar.transform(original, calibration=(x[:512], masks[:512]), loss=told["loss"], relu_budget=200)
history = ar.finetune(hybrid, loader, test_loader, teacher=original, epochs=3, keep_best="highest", **told)
print(f"hybrid:   {ar.relu_count(hybrid):5,} ReLUs, overlap {max(history.val_metric):.2%}")

answer = ar.compile(hybrid, x[:256]).run(test_x[:4]).output
print(f"private:  overlap {overlap(answer, test_masks[:4]):.2%} of four images, "
      f"{overlap(hybrid(test_x[:4]), test_masks[:4]):.2%} in plaintext")  # fmt: skip
