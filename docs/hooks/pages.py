"""Pages that `make docs` makes of what lies outside docs/: the README and its neighbours, and the examples."""

import ast
import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: Files beside docs/, and what each is called among the pages.
BESIDE = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}

#: A link of Markdown to a path: what is before the path, the path, its anchor.
_LINK = re.compile(r"(\[[^\]]*\]\()(?![a-z]+:|#)([^)#\s]+)((?:#[^)\s]*)?\))")


def on_files(files, config):
    from mkdocs.structure.files import File

    for name, text in (*((page, beside(file)) for file, page in BESIDE.items()), ("examples.md", examples())):
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown, page, **_):
    if page.parent is None:  # alone in its tab, so there is nothing to choose beside it
        page.meta["hide"] = ["navigation"]
    return _LINK.sub(lambda link: _moved(link, "../"), markdown)


def beside(file: str) -> str:
    """A file beside docs/ with links as they are from docs/."""
    return _LINK.sub(lambda link: _moved(link, ""), (ROOT / file).read_text())


def examples() -> str:
    """Every program of examples/, under its name."""
    parts = ["# Examples\n", "Programs to copy; each is run by a test.\n"]
    for folder in ("examples", "examples/deployment"):
        if folder != "examples":
            parts.append("## Three machines { #deployment }\n\nWhat each of the three owners runs.\n")
        level = "##" if folder == "examples" else "###"
        for path in sorted((ROOT / folder).glob("*.py")):
            code = path.read_text()
            says = ast.get_docstring(ast.parse(code)) or ""
            parts.append(f"{level} {path.name} {{ #{path.stem} }}\n\n{says}\n\n```python\n{code.rstrip()}\n```\n")
        parts += map(notebook, sorted((ROOT / folder).glob("*.ipynb")))
    return "\n".join(parts)


def notebook(path: Path) -> str:
    """A notebook under its name: what its first cell says, and its code."""
    cells = json.loads(path.read_text())["cells"]
    says = "".join(cells[0]["source"]).partition("\n")[2].strip()
    code = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    return f"## {path.name} {{ #{path.stem} }}\n\n{says}\n\n```python\n{code}\n```\n"


def _moved(link: re.Match, up: str) -> str:
    """A link to a file of this repository, as it is from docs/."""
    before, path, after = link.groups()
    if path.startswith(f"{up}docs/"):
        return before + path.removeprefix(f"{up}docs/") + after
    if path.startswith(up) and (page := BESIDE.get(path.removeprefix(up))):
        return before + page + after
    if path.startswith(f"{up}examples/"):
        name = Path(path).stem
        return f"{before}examples.md)" if name == "examples" else f"{before}examples.md#{name})"
    return link.group()
