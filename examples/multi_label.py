"""Several labels at once: which digits are on a picture of two. Targets are ten zeros and ones."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import autorep_fx as ar
from autorep_fx.models import Images, digits


def pairs(images: Images, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Two digits side by side (N, 1, 8, 16), and which there are (N, 10)."""
    index = torch.randint(len(images), (2, count), generator=torch.Generator().manual_seed(seed))
    labels = F.one_hot(images.labels[index], 10).amax(0).float()
    return torch.cat([images.normalized(part) for part in index], 3), labels


def all_right(output: Tensor, labels: Tensor) -> Tensor:
    return ((output > 0) == (labels > 0.5)).all(1).float().mean()


torch.manual_seed(0)
train_set, test_set = digits()
(x, labels), (test_x, test_labels) = pairs(train_set, 4096, 0), pairs(test_set, 512, 1)
loader, test_loader = list(zip(x.split(64), labels.split(64))), [(test_x, test_labels)]
told = {"loss": F.binary_cross_entropy_with_logits, "metric": all_right}

model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1),
    nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 32, 10),
)  # fmt: skip
original = ar.transform(model, example_inputs=x[:2])
history = ar.finetune(original, loader, test_loader, epochs=4, lr=3e-3, **told)
print(f"original: {ar.relu_count(original):5,} ReLUs, all labels right on {history.val_metric[-1]:.2%}")

hybrid = ar.transform(original, calibration=(x[:512], labels[:512]), loss=told["loss"], relu_budget=150)
history = ar.finetune(hybrid, loader, test_loader, teacher=original, epochs=2, **told)
print(f"hybrid:   {ar.relu_count(hybrid):5,} ReLUs, all labels right on {history.val_metric[-1]:.2%}")

answer = ar.compile(hybrid, x[:256]).run(test_x[:5]).output
for found, there in zip(answer, test_labels):
    print(f"private:  {(found > 0).nonzero().flatten().tolist()}, there are {there.nonzero().flatten().tolist()}")
