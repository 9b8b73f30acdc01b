"""What a provider has before it deploys: a trained network, typical inputs, and pictures that clients may ask about.

    python examples/deployment/digits.py FOLDER

Writes weights.safetensors, examples.npy, labels.txt, pictures.args (how a picture becomes an input), and ten pictures,
digit-0.png to digit-9.png.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import autorep_fx as ar
from autorep_fx.models import ImageLoader, digits, resnet_cifar

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
train, test = digits()
network = ar.transform(resnet_cifar(8, in_channels=1), example_inputs=train.normalized(slice(2)))
ar.finetune(network, ImageLoader(train, 64, train=True, pad=1), ImageLoader(test, 64), epochs=4, lr=3e-3)
calibration = (train.normalized(slice(512)), train.labels[:512])
network = ar.transform(network, calibration=calibration, relu_budget=1000)
ar.finetune(network, ImageLoader(train, 64, train=True, pad=1), ImageLoader(test, 64), epochs=2)
ar.save(network, folder / "weights.safetensors")
np.save(folder / "examples.npy", train.normalized(slice(512)).numpy())
(folder / "labels.txt").write_text("\n".join(f"a {digit}" for digit in range(10)))
for digit in range(10):
    index = test.labels.tolist().index(digit)
    Image.fromarray(test.pixels[index, 0].numpy()).save(folder / f"digit-{digit}.png")
(folder / "pictures.args").write_text(f"--mean {train.mean[0]} --std {train.std[0]}\n")
