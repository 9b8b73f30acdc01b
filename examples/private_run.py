"""Some images answered privately: a client has the images, a server the weights, and neither sees the other's."""

import torch

import autorep_fx as ar
from autorep_fx.models import ImageLoader, digits, resnet_cifar

torch.manual_seed(0)
train_set, test_set = digits()
loader, images = ImageLoader(train_set, 64, train=True, pad=1), train_set.normalized(slice(512))
original = ar.transform(resnet_cifar(8, in_channels=1), example_inputs=images[:2])
ar.finetune(original, loader, epochs=6, lr=3e-3)
hybrid = ar.transform(original, calibration=(images, train_set.labels[:512]), relu_budget=200)
ar.finetune(hybrid, loader, teacher=original, epochs=2)

program = ar.compile(hybrid.eval(), images)  # many images: they show how large the values get
print(f"On a network of 40 ms and 100 Mbit/s an image will take:\n{program.cost('wan')}\n")

x = test_set.normalized(slice(10))
with program.session() as session:  # started once, for as many batches as come
    result = session.run(x)
online = result.stats.online
print(f"answers  {result.output.argmax(1).tolist()}")
print(f"truth    {test_set.labels[:10].tolist()}")
print(f"error    {(result.output - hybrid(x)).abs().max():.4f}, the largest of a logit")
print(f"here     {online.seconds:.3f} s, {online.rounds} rounds, {sum(online.bytes_sent.values()) / 1e6:.2f} MB")
