"""A network of your own becomes hybrid: a tenth of its ReLUs stay, everywhere else it computes a fitted polynomial."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import autorep_fx as ar
from autorep_fx.models import ImageLoader, Images, digits


class Network(nn.Module):
    """Any traceable network will do, however its activations are spelled."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.second, self.third = nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.Conv2d(32, 32, 3, padding=1)
        self.last = nn.Linear(32 * 4 * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.second(self.first(x)))
        x = x + self.third(x).clamp(min=0)
        return self.last(x.flatten(1))


def train(model: nn.Module, images: Images, epochs: int) -> None:
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=1e-3)
    for _ in range(epochs):
        for x, labels in ImageLoader(images, 64, train=True, pad=1):
            optimizer.zero_grad()
            F.cross_entropy(model(x), labels).backward()
            optimizer.step()


def accuracy(model: nn.Module, images: Images) -> float:
    with torch.no_grad():
        return (model.eval()(images.normalized()).argmax(1) == images.labels).double().mean().item()


torch.manual_seed(0)
train_set, test_set = digits()
model = Network()
train(model, train_set, epochs=8)
hybrid = ar.transform(model, calibration=(train_set.normalized(), train_set.labels), relu_budget=200)

print(ar.inspect(hybrid, test_set.normalized()))
print(f"\naccuracy: {accuracy(model, test_set):.2%}, as a hybrid {accuracy(hybrid, test_set):.2%}", end=", ")
train(hybrid, train_set, epochs=2)  # it is an ordinary module: your own training goes on with it
print(f"trained a little more {accuracy(hybrid, test_set):.2%}")
ar.save(hybrid, "hybrid.safetensors")  # and back: ar.load(Network(), "hybrid.safetensors")
