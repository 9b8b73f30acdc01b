"""The tables of speed in README.md and docs/, made of what one run measured, so that no figure is copied by hand.

    python benchmarks/private_inference.py --repeats 7 --json docs/speed.json
    python benchmarks/no_dealer.py --repeats 3 --json docs/no_dealer.json
    python benchmarks/speed_table.py

The last fills every block from ``<!-- speed: NAME -->`` to ``<!-- /speed -->``; the block about starting is made of
docs/startup.json, where there is one. What a run left out is left out: a cell, a row, a column or a whole table.
tests/test_docs.py holds the pages to the files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tables import table

ROOT = Path(__file__).resolve().parents[1]
SPEED, STARTUP, NO_DEALER = "docs/speed.json", "docs/startup.json", "docs/no_dealer.json"

#: The systems of private_inference.py: what each is called here, and its comparison.
SYSTEMS = {
    "plain_fp32": ("plain PyTorch fp32, 1 thread", ""),
    "crypten_relu": ("CrypTen 0.4.1, its own operations", ""),
    "crypten_fused": ("CrypTen with our kernels, all ReLUs", ""),
    "crypten_fused_12900": ("CrypTen with our kernels, 12,900 ReLUs, squares at the rest", ""),
    "crypten_fused_squares": ("CrypTen with our kernels, squares alone", ""),
    "native_fss_all": ("native, all ReLUs", "fss"),
    "native_gmw_all": ("native, all ReLUs", "gmw"),
    "native_fss_12900": ("native, 12,900 ReLUs, squares at the rest", "fss"),
    "native_gmw_12900": ("native, 12,900 ReLUs, squares at the rest", "gmw"),
    "native_12900_lines": ("native, 12,900 ReLUs, lines at the rest", "fss"),
    "native_6_sites": ("native, 12,900 ReLUs in 6 layers, lines at the rest", "fss"),
    "native_lines": ("native, lines alone", "fss"),
}
BASELINE, PLAIN = "crypten_relu", "plain_fp32"

#: The networks of no_dealer.py.
ALONE = {
    "all": "all ReLUs",
    "squares": "12,900 ReLUs, squares",
    "6 sites, lines": "ReLUs in 6 layers, lines",
    "efficientnet_lite0": "EfficientNet-Lite0 at 224x224",
    "resnet50": "ResNet-50 at 224x224",
}

#: Where its parties were.
LINKS = {"loopback": "loopback", "lan": "LAN", "wan": "WAN", "dealer": "with a dealer, loopback"}

#: Rows of the short table; of several names the quickest.
SHORT = (
    ("plain_fp32",),
    ("crypten_relu",),
    ("crypten_fused",),
    ("native_fss_all", "native_gmw_all"),
    ("native_fss_12900", "native_gmw_12900"),
    ("native_6_sites",),
)

_BLOCK = re.compile(r"(<!-- speed: (\S+) -->\n).*?(<!-- /speed -->)", re.DOTALL)


def main() -> None:
    for page in pages():
        text = page.read_text()
        if (new := filled(text)) != text:
            page.write_text(new)
            print(page.relative_to(ROOT))


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def filled(text: str, root: Path = ROOT) -> str:
    """A page with its blocks made anew; one stays as it is while the file that it is made of does not exist.

    Raises:
        ValueError: a block is not closed, or nothing makes one of that name.
    """

    def block(found: re.Match) -> str:
        before, name, after = found.groups()
        if name not in BLOCKS:
            raise ValueError(f"no block is called {name!r}; there are {', '.join(BLOCKS)}")
        source, make = BLOCKS[name]
        if not (root / source).exists():
            return found.group()
        lines = "\n".join(make(json.loads((root / source).read_text()))).strip("\n")
        return f"{before}\n{lines}\n\n{after}" if lines else before + after

    new, count = _BLOCK.subn(block, text)
    if count != text.count("<!-- speed:"):
        raise ValueError("a block that begins with <!-- speed: NAME --> ends with <!-- /speed -->, each on a line")
    return new


def run(data: dict) -> Iterator[str]:
    """Where and how everything in the file was measured."""
    machine = data.get("machine", {})
    facts = [machine.get("cpu"), machine.get("tier") and f"kernels of tier `{machine['tier']}`",
             machine.get("torch") and f"torch {machine['torch']}"]  # fmt: skip
    parts = [
        "repeats" in data and f"medians of {data['repeats']}",
        "cores" in machine and f"on {machine['cores']} cores ({', '.join(filter(None, facts))})",
        "command" in data and f"in one run of\n`{data['command']}`",
    ]
    if text := ", ".join(filter(None, parts)):
        yield f"{text[0].upper()}{text[1:]}."


def short(data: dict) -> Iterator[str]:
    systems = data.get("systems", {})
    quickest = [min(there, key=lambda name: systems[name]["seconds"])
                for names in SHORT if (there := [name for name in names if name in systems])]  # fmt: skip
    columns = ("s online", "times faster", "s offline", "MB sent", "rounds")
    yield from table("", columns, ((SYSTEMS[name][0], _system(name, systems)) for name in quickest))


def long(data: dict) -> Iterator[str]:
    systems = data.get("systems", {})
    columns = ("s online", "fastest", "times faster", "times plain fp32", "MB sent", "rounds", "s offline",
               "MB sent offline", "largest error")  # fmt: skip
    yield from table("", columns, ((_label(name), _system(name, systems)) for name in SYSTEMS if name in systems))


def crypten(data: dict) -> Iterator[str]:
    systems = {name: row for name, row in data.get("systems", {}).items() if name.startswith("crypten")}
    columns = ("s online", "fastest", "times faster", "rounds", "MB sent", "largest error")
    yield from table("", columns, ((_label(name), _system(name, systems)) for name in SYSTEMS if name in systems))


def _system(name: str, systems: dict) -> dict[str, str]:
    row, cells = systems[name], {}
    cells["s online"] = _seconds(row["seconds"])
    if "fastest" in row:
        cells["fastest"] = _seconds(row["fastest"])
    if BASELINE in systems and name != PLAIN:
        cells["times faster"] = "1" if name == BASELINE else _times(systems[BASELINE]["seconds"] / row["seconds"])
    if PLAIN in systems and name != PLAIN:
        cells["times plain fp32"] = _times(row["seconds"] / systems[PLAIN]["seconds"])
    if "bytes" in row:
        cells["MB sent"] = _megabytes(row["bytes"])
    if "rounds" in row:
        cells["rounds"] = str(row["rounds"])
    if name.startswith("crypten"):  # it makes correlations while it runs
        cells["s offline"] = "inside"
    elif "offline_seconds" in row:
        cells["s offline"] = _seconds(row["offline_seconds"])
    if "offline_bytes" in row:
        cells["MB sent offline"] = _megabytes(sum(row["offline_bytes"].values()))
    if "error" in row:
        cells["largest error"] = f"{row['error']:.2g}"
    return cells


def offline(data: dict) -> Iterator[str]:
    """What each party sends before the input, for one inference, and what is sent once for a model."""

    def cells(row: dict) -> dict[str, str]:
        found = {party: _megabytes(size) for party, size in row.get("offline_bytes", {}).items()}
        if "setup_bytes" in row:
            found["once per model"] = _megabytes(sum(row["setup_bytes"].values()))
        if "setup_seconds" in row:
            found["s once"] = _seconds(row["setup_seconds"])
        return found

    systems = data.get("systems", {})
    columns = ("client", "server", "dealer", "once per model", "s once")
    yield from table("MB", columns, ((_label(name), cells(systems[name])) for name in SYSTEMS if name in systems))


def batch(data: dict) -> Iterator[str]:
    found = data.get("batch", {})

    def cells(name: str) -> dict[str, str]:
        if name == PLAIN:
            return {"s online": _seconds(found[name])} if name in found else {}
        cells = {}
        for phase in ("online", "offline"):
            if (key := f"{name}_{phase}") in found:
                cells[f"s {phase}"] = _seconds(found[key])
                cells[f"{phase}, times plain fp32"] = _times(found[f"{key}_ratio"])
        return cells

    columns = ("s online", "online, times plain fp32", "s offline", "offline, times plain fp32")
    title = f"an image, in batches of {found['images']}" if "images" in found else "an image, in batches"
    yield from table(title, columns, ((_label(name), cells(name)) for name in SYSTEMS))


def networks(data: dict) -> Iterator[str]:
    shapes = data.get("networks", {})
    kinds = {"": "online", "_predicted": "predicted", "_offline_predicted": "offline, predicted"}

    def cells(name: str) -> dict[str, str]:
        return {
            f"{shape.upper()}: {kind}": _seconds(found[name + suffix])
            for shape, found in shapes.items()
            for suffix, kind in kinds.items()
            if name + suffix in found
        }

    columns = [f"{shape.upper()}: {kind}" for shape in shapes for kind in kinds.values()]
    yield from table("s", columns, ((_label(name), cells(name)) for name in SYSTEMS))


def precision(data: dict) -> Iterator[str]:
    def rows() -> Iterator[tuple[str, dict[str, str]]]:
        for key, title in (("digits", "scikit-learn's digits"), ("fashion", "Fashion-MNIST")):
            found = data.get("precision", {}).get(key, {})
            for kind, form in (("relu", "all ReLUs"), ("squares", "squares at 95 %"), ("lines", "lines at 95 %")):
                yield f"{title}, {form}", cells(found, kind)

    def cells(found: dict, kind: str) -> dict[str, str]:
        made = {}
        if (accuracy := found.get(f"{kind}_accuracy")) is not None:
            made |= {"images": str(found["images"]), "accuracy": f"{accuracy:.1%}"}
        for comparison in ("fss", "gmw"):
            if (same := found.get(f"{kind}_{comparison}_same_class")) is not None:
                made[f"same class, `{comparison}`"] = f"{same * found['images']:.0f}"
            if (error := found.get(f"{kind}_{comparison}_largest_error")) is not None:
                made[f"largest error, `{comparison}`"] = f"{error:.2g}"
        return made

    columns = [
        "images",
        "accuracy",
        *(f"{what}, `{c}`" for what in ("same class", "largest error") for c in ("fss", "gmw")),
    ]
    yield from table("ResNet-8", columns, rows())


def startup(data: dict) -> Iterator[str]:
    """One version's numbers by name, nested or not, or those of several by the version's name: a column each."""
    versions = data if all(isinstance(found, dict) and "run s" in found for found in data.values()) else {"": data}
    columns = {version: dict(_flat(found)) for version, found in versions.items()}
    names = dict.fromkeys(name for found in columns.values() for name in found)
    rows = ((name, {version: found[name] for version, found in columns.items() if name in found}) for name in names)
    yield from table("", list(columns), rows)


def no_dealer(data: dict) -> Iterator[str]:
    """What two parties alone take, and beside it the same network with a dealer."""

    def cells(row: dict, plain: float) -> dict[str, str]:
        found = {"s offline": _seconds(row["offline"]), "times plain fp32": _times(row["offline"] / plain),
                 "MB offline": _megabytes(row["offline_bytes"]), "s online": _seconds(row["online"]),
                 "MB of memory, a party": _megabytes(max(row["memory"].values()))}  # fmt: skip
        return found | ({"rounds offline": str(row["offline_rounds"])} if "offline_rounds" in row else {})

    def rows() -> Iterator[tuple[str, dict[str, str]]]:
        runs = data.get("runs", {})
        for name, title in ALONE.items():
            for link, place in LINKS.items():
                if (key := f"{name}, {link}") in runs:
                    yield f"{title}, {place}", cells(runs[key], data["plain_fp32"])
            if isinstance(data.get(name), dict):  # where it was skipped, a word why
                yield f"{title}, {LINKS['loopback']}", cells(data[name], data[name]["plain_fp32"])

    columns = ("s offline", "times plain fp32", "MB offline", "rounds offline", "s online", "MB of memory, a party")
    yield from table("one image", columns, rows())


def _flat(found: dict, before: str = "") -> Iterator[tuple[str, float]]:
    for name, value in found.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}, ")
        else:
            yield before + name, value


def _label(name: str) -> str:
    label, comparison = SYSTEMS[name]
    return f"{label}, `{comparison}`" if comparison else label


def _seconds(value: float) -> str:
    return f"{value:#.3g}".rstrip(".")


def _times(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _megabytes(size: float) -> str:
    """Of less than 10 kB the bytes."""
    if size < 1e4:
        return f"{size:.0f} B"
    return f"{size / 1e6:.2g}" if size < 1e7 else f"{size / 1e6:.0f}"


class Block(NamedTuple):
    source: str
    make: Callable[[dict], Iterable[str]]


BLOCKS = {
    **{make.__name__: Block(SPEED, make) for make in (run, short, long, crypten, offline, batch, networks, precision)},
    "startup": Block(STARTUP, startup),
    "no_dealer": Block(NO_DEALER, no_dealer),
}

if __name__ == "__main__":
    main()
