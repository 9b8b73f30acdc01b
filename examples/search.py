"""Which ReLUs to keep: chosen at once by a score, or learnt together with the weights and the polynomials."""

import torch

import autorep_fx as ar
from autorep_fx.models import ImageLoader, digits, resnet_cifar

BUDGET = 50  # ReLUs per image, of 4,608

torch.manual_seed(0)
train_set, test_set = digits()
loader, test_loader = ImageLoader(train_set, 64, train=True, pad=1), ImageLoader(test_set)
original = ar.transform(resnet_cifar(8, in_channels=1), example_inputs=train_set.normalized(slice(2)))
history = ar.finetune(original, loader, test_loader, epochs=6, lr=3e-3)
print(f"original:       {ar.relu_count(original):5,} ReLUs, accuracy {history.val_accuracy[-1]:.2%}")

calibration = (train_set.normalized(slice(512)), train_set.labels[:512])
hybrid = ar.transform(original, calibration=calibration, relu_budget=BUDGET)
history = ar.finetune(hybrid, loader, test_loader, teacher=original, epochs=4)
print(f"chosen at once: {ar.relu_count(hybrid):5,} ReLUs, accuracy {history.val_accuracy[-1]:.2%}")

hybrid = ar.transform(original)
history = ar.search(hybrid, loader, test_loader, relu_budget=BUDGET, teacher=original, epochs=4)
print(f"learnt:         {ar.relu_count(hybrid):5,} ReLUs, accuracy {history.val_accuracy[-1]:.2%}")
print("kept by layer:  " + ", ".join(f"{name} {site.kept}" for name, site in ar.sites(hybrid).items()))
