"""A number in place of a class: targets are floats, the loss is mse_loss, and the epoch of the least error counts."""

import torch
from torch import Tensor, nn

import autorep_fx as ar


def friedman(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Ten features, of which five matter, and what to tell from them (Friedman, 1991), with a mean of 0 and near 1."""
    x = torch.rand(count, 10, generator=torch.Generator().manual_seed(seed))
    y = 10 * (torch.pi * x[:, 0] * x[:, 1]).sin() + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    return x, (y[:, None] - 14.4) / 5


torch.manual_seed(0)
(x, y), (test_x, test_y) = friedman(2048, 0), friedman(512, 1)
loader, test_loader = list(zip(x.split(64), y.split(64))), [(test_x, test_y)]
told = {"loss": "mse_loss", "metric": "l1_loss", "keep_best": "lowest"}

model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
original = ar.transform(model, example_inputs=x[:2])
history = ar.finetune(original, loader, test_loader, epochs=20, lr=5e-3, **told)
print(f"original: {ar.relu_count(original):3} ReLUs, off by {min(history.val_metric):.3f} on average")

hybrid = ar.transform(original)
history = ar.search(hybrid, loader, test_loader, relu_budget=12, teacher=original, epochs=12, lr=3e-3, **told)
print(f"hybrid:   {ar.relu_count(hybrid):3} ReLUs, off by {history.val_metric[history.best - 1]:.3f}")

answer = ar.compile(hybrid, x[:256]).run(test_x[:5]).output
print("private:  " + ", ".join(f"{float(found):.2f} of {float(true):.2f}" for found, true in zip(answer, test_y)))
