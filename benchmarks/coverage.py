"""Which architectures of torchvision, timm and pytorchcv are transformed exactly and compile for two parties.

    python benchmarks/coverage.py [--out docs/coverage.md] [--only NAME ...]

Needs those packages (an environment of its own is best; they are none of this package's). Random weights, inputs of
96x96 (or what an architecture insists on). Every row is written as soon as it is there; rows that are there already are
not computed again.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
import warnings
from pathlib import Path

import torch

import autorep_fx as ar
from autorep_fx.errors import AutorepError
from autorep_fx.secure.lower.lowered import lowered
from autorep_fx.secure.program.plaintext import execute

NAMES = {
    "torchvision": """
        alexnet vgg11 vgg16_bn resnet18 resnet50 resnext50_32x4d wide_resnet50_2 densenet121 squeezenet1_0
        squeezenet1_1 googlenet inception_v3 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large mnasnet0_5
        mnasnet1_0 shufflenet_v2_x0_5 shufflenet_v2_x1_0 regnet_x_400mf regnet_x_800mf regnet_y_400mf regnet_y_800mf
        efficientnet_b0 efficientnet_b2 efficientnet_v2_s convnext_tiny swin_t vit_b_16
    """,
    "timm": """
        resnet18 resnet18d resnet26d resnet26t resnet50 resnetblur18 seresnet18 skresnet18 ecaresnet26t gcresnet33ts
        resnetv2_50 resnest14d res2net50_26w_4s dla34 dla46_c dpn48b hrnet_w18_small cspresnet50 cspdarknet53
        darknet53 densenet121 efficientnet_b0 tf_efficientnet_b0 efficientnet_lite0 tf_efficientnet_lite0
        mobilenetv2_100 mobilenetv3_large_100 mobilenetv3_small_100 mobilenetv4_conv_small mixnet_s mnasnet_100
        fbnetc_100 ghostnet_100 hardcorenas_a lcnet_050 tinynet_e spnasnet_100 rexnet_100 regnetx_002 regnety_002
        repvgg_a0 mobileone_s0 vgg11_bn xception41 selecsls42 vovnet39a inception_v4 nf_resnet26 convnext_atto
        vit_tiny_patch16_224 mixer_s16_224
    """,
    "pytorchcv": """
        alexnet resnet10 resnet14 preresnet10 resnext14_16x4d seresnet10 sepreresnet10 densenet121 squeezenet_v1_1
        squeezeresnet_v1_1 mobilenet_wd4 fdmobilenet_wd4 mobilenetv2_wd4 mobilenetv3_small_w7d20 shufflenet_g1_wd4
        shufflenetv2_wd2 menet108_8x1_g3 mnasnet_small darknet_tiny darknet53 igcv3_wd4 diracnet18v2
        airnet50_1x64d_r2 scnet50 peleenet proxylessnas_cpu spnasnet fbnet_cb vovnet27s
        hardnet39ds regnetx002 regnety002 efficientnet_b0 ghostnet hrnet_w18_small_v1 dla34 selecsls42 nin_cifar10
        resnet20_cifar10 wrn16_10_cifar10 densenet40_k12_cifar10
    """,
}

#: Sizes that an architecture insists on.
SIZES = {"inception_v3": 299, "inception_v4": 128, "vit_b_16": 224, "swin_t": 64, "vit_tiny_patch16_224": 224,
         "mixer_s16_224": 224, "alexnet": 224}  # fmt: skip

#: Networks that normalise what their first layer makes of the picture. As they are initialised none of their layers has
#: a bias, so that where the picture is grey they divide by nothing but ``eps``, which no trained one does. And networks
#: whose last layer is initialised with zeros, so that whatever the picture is they say nothing.
WITH_BIASES = ("convnext_tiny", "convnext_atto", "vit_b_16", "mixer_s16_224")


def build(package: str, name: str) -> torch.nn.Module:
    if package == "torchvision":
        import torchvision

        kwargs = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
        return torchvision.models.get_model(name, weights=None, **kwargs)
    if package == "timm":
        import timm

        return timm.create_model(name, pretrained=False)
    from pytorchcv.model_provider import get_model

    return get_model(name, pretrained=False)


def row(package: str, name: str) -> dict:
    torch.manual_seed(0)
    found = {"package": package, "name": name}
    started = time.time()
    try:
        model = build(package, name).eval()
        if name in WITH_BIASES:
            biased(model)
        model = settled(model, x := inputs(package, name))
    except Exception as error:
        return found | {"error": f"not built: {first_line(error)}"}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gm = ar.transform(model, example_inputs=x[:2])
        with torch.no_grad():
            same = all(torch.equal(a, b) for a, b in zip(tensors(gm(x[:2])), tensors(model(x[:2]))))
        found.update(sites=len(ar.sites(gm)), activations=ar.relu_count(gm), exact=same)
    except AutorepError as error:
        return found | {"error": f"transform: {first_line(error)}"}
    except Exception as error:
        return found | {"error": f"transform fails: {type(error).__name__}: {first_line(error)}"}
    try:
        program = lowered(gm, x[:2])
        with torch.no_grad():
            wanted = model.double()(x[:2].double())
        off = float((execute(program, x[:2]) - wanted).abs().max() / wanted.abs().max().clamp(min=1e-9))
        if off > 1e-4:
            return found | {"error": f"program is off by {off:.2g}"}
        model.float()
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            compiled = ar.compile(gm, x)
        if compiled.base_plan is None:
            return found | {"error": f"native: {first_line(compiled.obstacle)}"}
        notes = [str(w.message) for w in told if "fixed point is off" in str(w.message)]
        note = "with parameters that are not all 0" if name in WITH_BIASES else ""
        found.update(compiles=True, note=first_line(notes[0]) if notes else note)
    except AutorepError as error:
        coarse = "fixed point is off" in str(error)
        found.update({"coarse": True, "note": first_line(error)} if coarse else {"error": reason(str(error))})
    except Exception as error:
        found["error"] = f"compile fails: {type(error).__name__}: {first_line(error)}"
    return found | {"seconds": round(time.time() - started, 1)}


def inputs(package: str, name: str, n: int = 8) -> torch.Tensor:
    """Smooth pictures of different brightness, colour and contrast, as photographs are."""
    size = 32 if "cifar" in name else SIZES.get(name, 224 if package == "pytorchcv" else 96)
    x = torch.nn.functional.interpolate(torch.randn(n, 3, 8, 8), size=(size, size), mode="bilinear")
    return x * torch.rand(n, 1, 1, 1).add(0.5) + torch.randn(n, 3, 1, 1) + 0.1 * torch.randn_like(x)


def settled(model: torch.nn.Module, x: torch.Tensor) -> torch.nn.Module:
    """With batch statistics that are those of the inputs, as a trained network's are."""
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(x)
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
    return model.eval()


@torch.no_grad()
def biased(model: torch.nn.Module) -> None:
    """Gives values to biases and scales of layers that start from nothing."""
    for weight in model.parameters():
        if weight.abs().max() < 1e-3:
            weight.normal_(std=0.1)


def tensors(output) -> list[torch.Tensor]:
    return [output] if isinstance(output, torch.Tensor) else [t for part in output for t in tensors(part)]


def first_line(error) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:160].replace("|", "/")


def reason(text: str) -> str:
    problems = [line.strip(" -") for line in text.splitlines() if line.strip().startswith("-")]
    return first_line(problems[0] if problems else text)


def write(path: Path, rows: list[dict]) -> None:
    exact, compiles = sum(bool(r.get("exact")) for r in rows), sum(bool(r.get("compiles")) for r in rows)
    refused, coarse = sum("error" in r for r in rows), sum(bool(r.get("coarse")) for r in rows)
    counts = f"{len(rows)} architectures: {exact} exact, {compiles} compile, {coarse} are coarse, {refused} are refused"
    lines = [
        "# Coverage",
        "",
        "Made by `python benchmarks/coverage.py`. Random weights, inputs of 96x96 where an architecture allows it.",
        "*Exact*: in eval mode the transformed model computes bit for bit what the model computes. *Compiles*: for",
        "the native runtime, with every activation kept, and the program agrees with the model in float64. *Coarse*:",
        "it has a plan, and fixed point is off by more than a fifth of what the outputs of different inputs differ by,",
        "so that `compile` refuses it unless it is given a larger `max_error`; with random weights they differ by",
        "little. *With parameters that are not all 0*: as they are initialised no layer of a ConvNeXt has a bias, so",
        "that where a picture is grey its first norm divides by nothing but `eps`, and the last layer of a ViT of",
        "torchvision and of a Mixer is 0 altogether; parameters that start from 0 are drawn.",
        "",
        f"{counts}.",
        "",
        "| package | architecture | sites | activations | exact | compiles | |",
        "|---|---|---:|---:|---|---|---|",
    ]
    for r in rows:
        count = f"{r['activations']:,}" if "activations" in r else ""
        yes = ["yes" if r.get("exact") else "no"]
        yes.append("yes" if r.get("compiles") else "coarse" if r.get("coarse") else "no")
        cells = (r["package"], r["name"], r.get("sites", ""), count, *yes, r.get("error") or r.get("note", ""))
        lines.append(f"| {' | '.join(map(str, cells))} |")
    # The page goes on with the layers, written by hand, and with what benchmarks/trained.py measured.
    before = path.read_text() if path.is_file() else ""
    _, heading, rest = before.partition("\n## ")
    path.write_text("\n".join(lines) + "\n" + heading + rest)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/coverage.md"))
    parser.add_argument("--rows", type=Path, default=Path("out/coverage.json"), help="what was computed, to go on from")
    parser.add_argument("--only", nargs="*", help="architectures to compute (again)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.rows.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(options.rows.read_text()) if options.rows.is_file() else {}
    for package, names in NAMES.items():
        for name in names.split():
            key = f"{package}/{name}"
            if key in known and name not in (options.only or ()) or options.only and name not in options.only:
                continue
            known[key] = row(package, name)
            print(key, {k: v for k, v in known[key].items() if k not in ("package", "name")}, flush=True)
            options.rows.write_text(json.dumps(known, indent=1))
            gc.collect()
    keys = (f"{package}/{name}" for package, names in NAMES.items() for name in names.split())
    write(options.out, [known[key] for key in keys if key in known])


if __name__ == "__main__":
    main()
