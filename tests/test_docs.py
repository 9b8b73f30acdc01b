"""The pages of `make docs`: none is forgotten, and neither is a name in the reference. To build them: make docs."""

import importlib.util
import re
from pathlib import Path

import yaml

import autorep_fx as ar

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"

#: Made by docs/hooks/pages.py, of the README and of examples/.
MADE = {"index.md", "examples.md"}


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
    links = re.findall(r"\]\((?!https?:)([^)#]+)(?:#([^)]*))?\)", made.home())
    assert len(links) > 20
    for page, anchor in links:
        assert page in MADE or (DOCS / page).is_file(), page
        assert page != "examples.md" or not anchor or anchor in anchors, anchor
