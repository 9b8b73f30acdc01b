"""Do two pictures show the same digit? One body for both, and the difference of what it makes of them."""

import torch
from torch import Tensor, nn

import autorep_fx as ar
from autorep_fx.models import Images, digits


class Siamese(nn.Module):
    """Of both pictures in one tensor (N, 2, 8, 8), a score for "the same" (N, 1)."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 16, 16),
        )  # fmt: skip
        self.last = nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        one, other = self.body(x[:, :1]), self.body(x[:, 1:])
        return self.last((one - other).square())


def pairs(images: Images, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Half of them of the same digit."""
    draw = torch.Generator().manual_seed(seed)
    one, other = torch.randint(len(images), (2, count), generator=draw)
    for i in range(0, count, 2):
        like = (images.labels == images.labels[one[i]]).nonzero().flatten()
        other[i] = like[torch.randint(len(like), (), generator=draw)]
    same = (images.labels[one] == images.labels[other]).float()
    return torch.cat([images.normalized(one), images.normalized(other)], 1), same[:, None]


def right(output: Tensor, same: Tensor) -> Tensor:
    return ((output > 0) == (same > 0.5)).float().mean()


torch.manual_seed(0)
train_set, test_set = digits()
(x, same), (test_x, test_same) = pairs(train_set, 6144, 0), pairs(test_set, 512, 1)
loader, test_loader = list(zip(x.split(64), same.split(64))), [(test_x, test_same)]
told = {"loss": "binary_cross_entropy_with_logits", "metric": right}

original = ar.transform(Siamese(), example_inputs=x[:2])
history = ar.finetune(original, loader, test_loader, epochs=5, lr=3e-3, **told)
print(f"original: {ar.relu_count(original):5,} ReLUs, {history.val_metric[-1]:.2%} right")

hybrid = ar.transform(original, calibration=(x[:512], same[:512]), loss=told["loss"], relu_budget=200)
history = ar.finetune(hybrid, loader, test_loader, teacher=original, epochs=3, **told)
print(f"hybrid:   {ar.relu_count(hybrid):5,} ReLUs, {history.val_metric[-1]:.2%} right")

answer = ar.compile(hybrid, x[:256]).run(test_x[:6]).output
said = ["the same" if score > 0 else "two" for score in answer.flatten()]
print("private:  " + ", ".join(said))
print("there is: " + ", ".join("the same" if there > 0.5 else "two" for there in test_same[:6].flatten()))
