"""The pages of `make docs`: none is forgotten, and neither is a name in the reference; their tables of speed are made
of what was measured. To build them: make docs."""

import ast
import importlib
import importlib.util
import json
import re
from pathlib import Path

import pytest
import yaml

import autorep_fx as ar

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"

#: A role in a docstring, and its name. Sphinx's dot in front: in whatever module.
ROLE = re.compile(r":(?:func|class|meth|mod|data|attr):`~?([\w.]+)`")

#: A file that is named in a text, and those of other projects that are.
FILE = re.compile(r"(?<![\w/.])(?:\w+/)*\w+\.(?:py|md|h|cpp)\b(?![.(\w])")
ELSEWHERE = {"mpc/primitives/beaver.py", "linux/tcp.h"}

#: Made by docs/hooks/pages.py, of the README and its neighbours and of examples/.
MADE = {"index.md", "changelog.md", "contributing.md", "examples.md"}


def pages_in(nav) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [page for entry in (nav.values() if isinstance(nav, dict) else nav) for page in pages_in(entry)]


def hooks():
    spec = importlib.util.spec_from_file_location("pages", DOCS / "hooks" / "pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def named(identifier: str):
    """What an identifier of the reference is about: an attribute of the longest module of that name that has it."""
    module, _, name = identifier.rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_the_navigation_has_every_page_once_and_no_other():
    pages = pages_in(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert sorted(pages) == sorted({path.name for path in DOCS.glob("*.md")} | MADE)


def test_the_reference_has_every_public_name_once_and_no_other():
    identifiers = re.findall(r"^::: (\S+)$", (DOCS / "reference.md").read_text(), re.M)
    assert sorted(i.rpartition(".")[2] for i in identifiers) == sorted(ar.__all__)
    for identifier in identifiers:
        assert named(identifier) is getattr(ar, identifier.rpartition(".")[2]), identifier


def test_what_they_return_is_there():
    for identifier in re.findall(r"^::: (\S+)$", (DOCS / "reference_results.md").read_text(), re.M):
        assert named(identifier).__doc__, identifier


def test_links_of_the_home_page_lead_somewhere():
    made = hooks()
    anchors = set(re.findall(r"\{ #(\w+) \}", made.examples()))
    links = re.findall(r"\]\((?!https?:)([^)#]+)(?:#([^)]*))?\)", made.beside("README.md"))
    assert len(links) > 20
    for page, anchor in links:
        assert page in MADE or (DOCS / page).is_file(), page
        assert page != "examples.md" or not anchor or anchor in anchors, anchor


def defined(body, before="") -> list[str]:
    """Dotted names that statements define or import, those in classes too."""
    found = []
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.append(before + node.name)
            if isinstance(node, ast.ClassDef):
                found += defined(node.body, f"{before}{node.name}.")
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found += [before + n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found += [before + (alias.asname or alias.name) for alias in node.names]
        elif isinstance(node, (ast.If, ast.Try)):
            found += defined([*node.body, *node.orelse], before)
    return found


def endings(names, dot: str) -> set[str]:
    return {name[i:] for name in names for i in range(len(name)) if i == 0 or name[i - 1] == dot}


def test_roles_of_docstrings_name_what_there_is():
    """An unknown one is shown as code and not as a link, which the build does not call an error."""
    own, names = {}, {f"autorep_fx.{name}" for name in ar.__all__}
    for path in sorted((ROOT / "autorep_fx").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        own[path] = defined(ast.parse(path.read_text()).body)
        names |= {module, *(f"{module}.{name}" for name in own[path])}
    for value in (name for name in ar.__all__ if isinstance(getattr(ar, name), type)):
        real = f"{getattr(ar, value).__module__}.{value}."
        names |= {f"autorep_fx.{value}.{name.removeprefix(real)}" for name in names if name.startswith(real)}
    anywhere = endings(names, ".")
    missing = []
    for path, here in own.items():
        near = endings(here, ".")
        for name in ROLE.findall(path.read_text()):
            there = names if name.startswith("autorep_fx.") else anywhere if name.startswith(".") else near
            if name.lstrip(".") not in there:
                missing.append(f"{path.relative_to(ROOT)}: {name}")
    assert not missing, "\n".join(missing)


def test_files_that_texts_name_exist():
    folders = ("autorep_fx", "benchmarks", "csrc", "docs", "examples", "recipes", "tests")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.*")] + list(ROOT.glob("*.md"))
    known = endings((path.relative_to(ROOT).as_posix() for path in files), "/") | MADE | ELSEWHERE
    texts = [path for path in files if path.suffix in (".md", ".py", ".h", ".cpp") and "tests" not in path.parts]
    missing = []
    for path in texts:
        text = re.sub(r"^#include.*", "", path.read_text(), flags=re.M)
        missing += [f"{path.relative_to(ROOT)}: {name}" for name in FILE.findall(text) if name not in known]
    assert not missing, "\n".join(missing)


def test_the_table_of_limits_has_each_option_its_default_and_tests_that_there_are():
    from autorep_fx.service import gate, metrics
    from autorep_fx.service.settings import Deal, Serve

    table = (DOCS / "deployment.md").read_text().split("## What is counted", 1)[1].split("\n## ", 1)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", table, re.M)]
    limits = {f"--{name.replace('_', '-')}": field.default for name, field in Serve.model_fields.items()
              if type(field.default) in (int, float) and name not in ("threads", "grace", "keep_days")}  # fmt: skip
    told = {option.strip("`"): default for _, _, option, default, *_ in rows[2:] if option}
    assert told == {option: f"{default:g}" for option, default in limits.items()}
    assert {*Deal.model_fields} <= {*Serve.model_fields, "ray"}, "those of the dealer are among them"
    rest = [float(default) for _, _, option, default, *_ in rows[2:] if default and not option]
    assert rest == [gate.PATIENCE, metrics._MOST, metrics._SILENT]
    tests = {
        name for path in (ROOT / "tests").rglob("*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    for counted, *_, shown in rows[2:]:
        assert counted.startswith("**") or (named := re.findall(r"`(test_\w+)`", shown)) and {*named} <= tests, counted


@pytest.fixture
def speed_table(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("speed_table")


def test_the_tables_of_speed_are_what_the_generator_makes_of_the_numbers(speed_table):
    """Where this fails: python benchmarks/speed_table.py."""
    for page in speed_table.pages():
        text = page.read_text()
        assert text == speed_table.filled(text), page.name


def test_every_table_of_speed_is_on_a_page(speed_table):
    text = "\n".join(page.read_text() for page in speed_table.pages())
    assert {name for name in speed_table.BLOCKS if f"<!-- speed: {name} -->" in text} == set(speed_table.BLOCKS)


def test_every_system_of_the_benchmark_has_a_name_in_the_tables(speed_table):
    assert list(importlib.import_module("private_inference").SYSTEMS) == list(speed_table.SYSTEMS)
    assert {*speed_table.ALONE} < {*importlib.import_module("no_dealer").PARTS}


def test_what_a_run_left_out_is_left_out_of_the_tables(speed_table, tmp_path):
    systems = {
        "plain_fp32": {"seconds": 0.02},
        "crypten_relu": {"seconds": 2.0, "rounds": 175, "bytes": 448_000_000},
        "native_fss_all": {"seconds": 0.05, "rounds": 36},
        "native_gmw_all": {"seconds": 0.04, "rounds": 104, "offline_bytes": {"client": 2_500_000, "server": 24}},
    }
    fake = {"repeats": 3, "systems": systems, "networks": {"wan": {"native_gmw_all_predicted": 2.5}}}
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/speed.json").write_text(json.dumps(fake))
    names = ("run", "short", "offline", "networks", "batch", "precision", "startup")  # there is no startup.json
    empty = "\n".join(f"<!-- speed: {name} -->\nold\n<!-- /speed -->" for name in names)
    expected = """<!-- speed: run -->

Medians of 3.

<!-- /speed -->
<!-- speed: short -->

|  | s online | times faster | s offline | MB sent | rounds |
|---|---|---|---|---|---|
| plain PyTorch fp32, 1 thread | 0.0200 |  |  |  |  |
| CrypTen 0.4.1, its own operations | 2.00 | 1 | inside | 448 | 175 |
| native, all ReLUs | 0.0400 | 50 |  |  | 104 |

<!-- /speed -->
<!-- speed: offline -->

| MB | client | server |
|---|---|---|
| native, all ReLUs, `gmw` | 2.5 | 24 B |

<!-- /speed -->
<!-- speed: networks -->

| s | WAN: predicted |
|---|---|
| native, all ReLUs, `gmw` | 2.50 |

<!-- /speed -->
<!-- speed: batch -->
<!-- /speed -->
<!-- speed: precision -->
<!-- /speed -->
<!-- speed: startup -->
old
<!-- /speed -->"""
    assert speed_table.filled(empty, tmp_path) == expected
    assert speed_table.filled(expected, tmp_path) == expected


def test_starting_is_told_of_one_version_or_of_several_side_by_side(speed_table):
    one = {"run s": 0.5, "party MB": {"client": 60.0}}
    assert list(speed_table.startup(one))[2:4] == ["| run s | 0.5 |", "| party MB, client | 60 |"]
    several = list(speed_table.startup({"before": {"run s": 4.0}, "after": one}))
    assert [several[0], *several[2:4]] == [
        "|  | before | after |",
        "| run s | 4 | 0.5 |",
        "| party MB, client |  | 60 |",
    ]


def test_what_was_skipped_without_a_dealer_is_no_row(speed_table):
    run = {"offline": 5.0, "online": 2.5, "offline_bytes": 60_000_000, "memory": {"client": 2e8, "server": 4e8}}
    data = {"plain_fp32": 0.01, "runs": {"all, wan": run}, "resnet50": "skipped: no torchvision"}
    assert list(speed_table.no_dealer(data)) == [
        "| one image | s offline | times plain fp32 | MB offline | s online | MB of memory, a party |",
        "|---|---|---|---|---|---|",
        "| all ReLUs, WAN | 5.00 | 500 | 60 | 2.50 | 400 |",
        "",
    ]


@pytest.mark.parametrize("text", ["<!-- speed: run -->\nnot closed", "<!-- speed: speed -->\n<!-- /speed -->"])
def test_a_block_of_speed_that_nothing_fills_is_an_error(speed_table, text):
    with pytest.raises(ValueError, match="block"):
        speed_table.filled(text)
