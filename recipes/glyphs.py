"""Pictures of the 62 letters and digits in the fonts of Debian packages, as Chars74K-Fnt has them: 32x32, grey.

    apt-get install --no-install-recommends $(cat recipes/glyphs_packages.txt)
    python recipes/glyphs.py --out out/glyphs

Writes glyphs.npz there, which ``autorep_fx.models.glyphs`` reads. A fifth of the families are for testing; families
whose names begin with the same word are on the same side. A font that lacks a character, or whose small letters are its
capitals, is left out. Of a font all characters have one scale and one baseline, so that o and O differ.
"""

from __future__ import annotations

import argparse
import hashlib
import string
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm.auto import tqdm

CHARACTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase
SIZE, EDGE, PROBE = 32, 2, 128
#: A font of which more capitals look like their small letters than these (c, o, s, v, w, x, z do in many) has one case.
_ALIKE = 9
_TEST = 5  # one family in so many


def fonts(packages: list[str]) -> list[Path]:
    """Font files of installed packages, sorted; those that are not installed are named."""
    found, missing = [], []
    for package in packages:
        listed = subprocess.run(["dpkg-query", "--listfiles", package], capture_output=True, text=True)
        if listed.returncode:
            missing.append(package)
        found += [Path(line) for line in listed.stdout.splitlines() if line.lower().endswith((".ttf", ".otf"))]
    if missing:
        print(f"not installed: {', '.join(missing)}")
    return sorted({path.resolve() for path in found if path.is_file()})


def drawn(path: Path) -> tuple[str, np.ndarray] | None:
    """Family and pictures (62, 32, 32) uint8, white on black; None where the font does not have them all."""
    try:
        probe = ImageFont.truetype(path, PROBE)
        boxes = np.array([probe.getbbox(c, anchor="ls") for c in CHARACTERS])
        top, bottom = boxes[:, 1].min(), boxes[:, 3].max()
        width = (boxes[:, 2] - boxes[:, 0]).max()
        if bottom <= top or width <= 0:
            return None
        scale = (SIZE - 2 * EDGE) / max(bottom - top, width)
        font = ImageFont.truetype(path, PROBE * scale)
        missing = picture(font, "\U0010fffd", top * scale)
        pictures = np.stack([picture(font, c, top * scale) for c in CHARACTERS])
    except (OSError, ValueError, UnicodeError):
        return None
    if (pictures.reshape(len(pictures), -1).max(1) < 128).any() or (pictures == missing).all((1, 2)).any():
        return None
    upper, lower = pictures[10:36].astype(int), pictures[36:].astype(int)
    return None if (np.abs(upper - lower).mean((1, 2)) < 2).sum() > _ALIKE else (probe.getname()[0], pictures)


def picture(font: ImageFont.FreeTypeFont, character: str, top: float) -> np.ndarray:
    image = Image.new("L", (SIZE, SIZE))
    left, _, right, _ = font.getbbox(character, anchor="ls")
    ImageDraw.Draw(image).text(((SIZE - left - right) / 2, EDGE - top), character, fill=255, font=font, anchor="ls")
    return np.asarray(image)


def is_test(family: str) -> bool:
    return int(hashlib.sha256(family.split()[0].lower().encode()).hexdigest(), 16) % _TEST == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for glyphs.npz")
    parser.add_argument("--packages", type=Path, default=Path(__file__).with_name("glyphs_packages.txt"))
    args = parser.parse_args()
    families, pictures, seen = [], [], set()
    for path in tqdm(fonts(args.packages.read_text().split()), "fonts", unit="font", disable=None):
        found = drawn(path)
        if found is None or found[1].tobytes() in seen:  # the same font in two packages
            continue
        seen.add(found[1].tobytes())
        families.append(found[0])
        pictures.append(found[1])
    if not pictures:
        raise SystemExit(f"no fonts: apt-get install --no-install-recommends $(cat {args.packages})")
    test = np.array([is_test(family) for family in families])
    args.out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        args.out / "glyphs.npz",
        pixels=np.concatenate(pictures),
        labels=np.tile(np.arange(len(CHARACTERS), dtype=np.uint8), len(pictures)),
        test=test.repeat(len(CHARACTERS)),
    )
    for name, side in (("train", ~test), ("test", test)):
        kinds = len({family for family, inside in zip(families, side) if inside})
        print(f"{name}: {side.sum()} fonts of {kinds} families, {62 * side.sum():,} pictures")


if __name__ == "__main__":
    main()
