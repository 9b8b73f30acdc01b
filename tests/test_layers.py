"""Imports run downward, and in no circle: what the folders promise."""

import ast
from pathlib import Path

import autorep_fx

ROOT = Path(autorep_fx.__file__).parent

#: From the ground to the roof; names of files or folders, the longest match counts. A file imports from its own line
#: or from lines above it.
LAYERS = [
    ["errors", "text", "progress", "content", "secure.link.network", "secure.owner"],
    ["settings"],
    ["kernels"],
    ["onnx"],
    ["graph"],
    ["hybrid"],
    ["secure.link", "secure.result"],
    ["secure.program"],
    ["secure.lower"],
    ["secure.plan"],
    ["secure.rates"],
    ["secure.correlations"],
    ["secure.parties"],
    ["secure.makers.maker", "secure.makers.walk"],
    ["secure.makers.dealt"],
    ["secure.makers"],
    ["secure.cost"],
    ["secure.host"],
    ["secure.planner"],
    ["secure.crypten"],
    ["secure.files"],
    ["secure.secure_program"],
    ["secure.compile"],
    ["forms.choose"],
    ["forms"],
    ["transform"],
    ["models"],
    ["search"],
    ["inspect"],
    ["arrays"],
    ["service"],
    [""],  # __init__: the public names
    ["commands", "demo"],
    ["demo_imagenet"],
    ["cli"],
    ["__main__"],
]


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in ROOT.rglob("*.py")}


def layer(module: str) -> int:
    found = {name: i for i, names in enumerate(LAYERS) for name in names}
    while module not in found:
        assert module, "every file has a layer"
        module = module.rpartition(".")[0]
        assert module, "every folder has a layer"
    return found[module]


def imports(module: str) -> set[str]:
    """Modules of this package that a module imports, wherever in the file."""
    path = MODULES[module]
    package = module.split(".") if path.name == "__init__.py" and module else module.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [p for p in package[: len(package) - node.level + 1] if p] + (node.module or "").split(".")
            base = ".".join(p for p in base if p)
            found.update(full if (full := f"{base}.{n.name}".strip(".")) in MODULES else base for n in node.names)
    return found - {module}


def test_every_import_runs_downward():
    upward = [f"{module} imports {other}" for module in MODULES if module and module not in ("secure",)
              for other in imports(module) if other and layer(other) > layer(module)]  # fmt: skip
    assert not upward, "\n".join(upward)


def test_no_imports_in_a_circle():
    state: dict[str, int] = {}

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert state.get(module) != 1, " -> ".join((*path, module))
        if module in state:
            return
        state[module] = 1
        for other in sorted(imports(module)):
            visit(other, (*path, module))
        state[module] = 2

    for module in sorted(MODULES):
        visit(module, ())


def test_the_page_on_the_architecture_has_every_room():
    page = (ROOT.parent / "docs" / "architecture.md").read_text()
    rooms = [path.parent.relative_to(ROOT) for path in ROOT.glob("**/__init__.py") if path.parent != ROOT]
    missing = [str(room) for room in rooms if len(room.parts) <= 2 and f"{room.name}/" not in page]
    assert not missing, f"docs/architecture.md says nothing of {missing}"
