"""What the reference makes of the source: roles of docstrings become links, and names of defaults their values."""

import re

import griffe

_ROLE = re.compile(r":(?:func|class|meth|mod|data|attr):`(~?)([\w.]+)`")


class Docstrings(griffe.Extension):
    """:func:`~package.name` becomes a link, or code where the reference does not have it; ``lr: float = Settings.lr``
    shows the number; under ``Raises:`` every error of the package is a link, imported there or not."""

    def on_object(self, *, obj: griffe.Object, **_) -> None:
        if obj.docstring:
            obj.docstring.value = _ROLE.sub(lambda role: _link(role, obj), obj.docstring.value)

    def on_package(self, *, pkg: griffe.Module, **_) -> None:
        for function in _functions(pkg):
            for parameter in function.parameters:
                while isinstance(parameter.default, griffe.ExprAttribute):
                    parameter.default = pkg.modules_collection[parameter.default.canonical_path].value
        for module in _modules(pkg):
            for name, error in pkg["errors"].classes.items():
                if name not in module.members:
                    module.set_member(name, griffe.Alias(name, error))


def _link(role: re.Match, obj: griffe.Object) -> str:
    short, name = role.groups()
    shown = name.rpartition(".")[2] if short or name.startswith("autorep_fx.") else name
    if not name.startswith("autorep_fx."):
        head, dot, rest = name.partition(".")
        try:
            name = obj.resolve(head) + dot + rest
        except griffe.NameResolutionError:
            return f"`{shown}`"
    return f'<autoref identifier="{name}" optional><code>{shown}</code></autoref>'


def _functions(inside: griffe.Object):
    for member in inside.members.values():
        if member.is_alias:
            continue
        if member.is_function:
            yield member
        elif member.is_module or member.is_class:
            yield from _functions(member)


def _modules(inside: griffe.Module):
    yield inside
    for module in inside.modules.values():
        if not module.is_alias:
            yield from _modules(module)
