"""Two heads: what is on the picture, and where. Outputs and targets are tables; the loss adds up a term of each."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import autorep_fx as ar
from autorep_fx.models import Images, digits

SIZE = 16


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Flatten(),
        )  # fmt: skip
        self.digit, self.place = nn.Linear(32 * 16, 10), nn.Linear(32 * 16, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.body(x)
        return {"digit": self.digit(x), "place": self.place(x)}


def placed(images: Images, count: int, seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Digits somewhere on an empty picture; where, as a part of the way from one side to the other, (N, 2)."""
    draw = torch.Generator().manual_seed(seed)
    index = torch.randint(len(images), (count,), generator=draw)
    corners = torch.randint(SIZE - 8 + 1, (count, 2), generator=draw)
    x = torch.zeros(count, 1, SIZE, SIZE)
    for picture, pixels, (row, column) in zip(x, images.pixels[index].float() / 255, corners.tolist()):
        picture[:, row : row + 8, column : column + 8] = pixels
    return x, {"digit": images.labels[index], "place": corners / (SIZE - 8)}


def loss(output: dict[str, Tensor], target: dict[str, Tensor]) -> Tensor:
    return F.cross_entropy(output["digit"], target["digit"]) + 20 * F.mse_loss(output["place"], target["place"])


def found(output: dict[str, Tensor], target: dict[str, Tensor]) -> Tensor:
    """The right digit, within a pixel of where it is."""
    near = ((output["place"] - target["place"]).abs() * (SIZE - 8) < 1).all(1)
    return ((output["digit"].argmax(1) == target["digit"]) & near).float().mean()


torch.manual_seed(0)
train_set, test_set = digits()
(x, target), (test_x, test_target) = placed(train_set, 4096, 0), placed(test_set, 512, 1)
parts = zip(x.split(64), target["digit"].split(64), target["place"].split(64))
loader, test_loader = [(x, {"digit": d, "place": p}) for x, d, p in parts], [(test_x, test_target)]

original = ar.transform(Detector(), example_inputs=x[:2])
history = ar.finetune(original, loader, test_loader, loss=loss, metric=found, epochs=6, lr=3e-3)
print(f"original: {ar.relu_count(original):5,} ReLUs, {history.val_metric[-1]:.2%} found")

hybrid = ar.transform(original, calibration=loader[:8], loss=loss, relu_budget=300)
history = ar.finetune(hybrid, loader, test_loader, teacher=original, loss=loss, metric=found, epochs=3)
print(f"hybrid:   {ar.relu_count(hybrid):5,} ReLUs, {history.val_metric[-1]:.2%} found")

answer = ar.compile(hybrid, x[:256]).run(test_x[:4]).output
for i, (scores, place) in enumerate(zip(answer["digit"], answer["place"])):
    there = (test_target["place"][i] * (SIZE - 8)).int().tolist()
    print(f"private:  a {int(scores.argmax())} at {[round(float(part) * (SIZE - 8), 1) for part in place]}, "
          f"there is a {int(test_target['digit'][i])} at {there}")  # fmt: skip
