"""Accuracy, and what a private run costs, for some ReLU budgets: what is the network worth that you can afford?"""

import torch

import autorep_fx as ar
from autorep_fx.models import ImageLoader, digits, resnet_cifar

torch.manual_seed(0)
train_set, test_set = digits()
loader, test_loader = ImageLoader(train_set, 64, train=True, pad=1), ImageLoader(test_set)
images = train_set.normalized(slice(512))
original = ar.transform(resnet_cifar(8, in_channels=1), example_inputs=images[:2])
accuracy = ar.finetune(original, loader, test_loader, epochs=6, lr=3e-3).val_accuracy[-1]

print(" ReLUs  accuracy  rounds  MB online  MB offline  s online  s offline   (40 ms, 100 Mbit/s)")
for budget in (ar.relu_count(original), 1000, 200, 50, 0):
    hybrid = original
    if budget < ar.relu_count(original):
        hybrid = ar.transform(original, calibration=(images, train_set.labels[:512]), relu_budget=budget)
        accuracy = ar.finetune(hybrid, loader, test_loader, teacher=original, epochs=2).val_accuracy[-1]
    cost = ar.compile(hybrid, images).cost("wan")
    online, offline = (sum(sent.values()) / 1e6 for sent in (cost.online, cost.offline))
    print(f"{budget:6,}  {accuracy:8.2%}  {cost.rounds:6}  {online:9.2f}  {offline:10.2f}  "
          f"{cost.online_seconds:8.3f}  {cost.offline_seconds:9.3f}")  # fmt: skip
