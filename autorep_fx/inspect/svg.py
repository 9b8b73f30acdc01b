"""The graph as inline SVG; its colours are the style sheet's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from markupsafe import Markup

from ..text import elide
from . import table
from .cost import LayerCost
from .layout import Box, Layout, arrange

if TYPE_CHECKING:
    import networkx as nx

_ROW, _BOX = 40, 26
_SPINE, _COLUMN, _LANE, _GAP, _MARGIN = 196, 150, 14, 22, 86
_CHARACTER = 6.3
_JOINS = {"+", "−", "×", "÷"}


def draw(graph: nx.DiGraph, anchors: dict[str, str], costs: Iterable[LayerCost] = ()) -> Markup:
    """The graph from top to bottom, longest path on the left, skip connections and branches to its right.

    Args:
        graph: from :func:`autorep_fx.inspect.network.to_networkx`.
        anchors: by site name, the id of the element that a click leads to.
        costs: of the nodes; what the style sheet shows in place of shares, when it is asked to.
    """
    layout = arrange(graph)
    drawing = _Drawing(graph, layout, anchors, {layer.node: layer.seconds for layer in costs})
    return Markup(
        '<svg class="graph" width="{w:.0f}" height="{h:.0f}" viewBox="0 0 {w:.0f} {h:.0f}" role="img" '
        'aria-label="Graph of the model">{lines}{boxes}</svg>'
    ).format(w=drawing.width, h=drawing.height, lines=drawing.lines(), boxes=drawing.boxes())


class _Drawing:
    def __init__(self, graph: nx.DiGraph, layout: Layout, anchors: dict[str, str], seconds: dict[str, float]):
        self.graph, self.layout, self.anchors, self.seconds = graph, layout, anchors, seconds
        self.slowest = max(seconds.values(), default=0.0)
        self.branches = _MARGIN + _SPINE + _GAP + layout.lanes * _LANE
        self.width = self.branches + (layout.columns - 1) * (_COLUMN + _GAP) + 4
        self.height = layout.rows * _ROW + 4

    # --- places ---

    def middle(self, box: Box) -> float:
        if box.column == 0:
            return _MARGIN + _SPINE / 2
        return self.branches + (box.column - 1) * (_COLUMN + _GAP) + _COLUMN / 2

    def top(self, box: Box) -> float:
        return box.row * _ROW + (_ROW - _BOX) / 2

    def half(self, box: Box) -> float:
        """Half the drawn width."""
        if self.is_join(box):
            return _BOX / 2
        widest = (_SPINE if box.column == 0 else _COLUMN) / 2
        if self.site(box):
            return widest
        return min(widest, max(26, len(self.label(box)) * _CHARACTER / 2 + 10))

    # --- what a box is ---

    def site(self, box: Box) -> dict | None:
        attributes = self.graph.nodes[box.nodes[0]]
        return attributes if "site" in attributes else None

    def label(self, box: Box) -> str:
        return " · ".join(self.graph.nodes[n]["label"] for n in box.nodes)

    def is_join(self, box: Box) -> bool:
        return len(box.nodes) == 1 and self.label(box) in _JOINS

    # --- drawing ---

    def lines(self) -> Markup:
        paths = (self.line(self.layout.boxes[a], self.layout.boxes[b]) for a, b in self.layout.lines)
        return Markup('<g class="edges">{}</g>').format(
            Markup("").join(Markup('<path d="{}"/>').format(p) for p in paths)
        )

    def line(self, a: Box, b: Box) -> str:
        start, end = self.top(a) + _BOX, self.top(b)
        xa, xb = self.middle(a), self.middle(b)
        if xa == xb and b.row == a.row + 1:
            return f"M{xa:g} {start:g}V{end:g}"
        if a.column == 0 and (b.row > a.row + 1 or a.lane is not None):
            # Out of the spine's side, down its lane, and into the reader's side (or top).
            x = _MARGIN + _SPINE + _GAP / 2 + (a.lane or 0) * _LANE
            out = f"M{xa + self.half(a):g} {start - _BOX / 2:g}H{x - 7:g}q7 0 7 7"
        elif a.column == 0:
            return f"M{xa + self.half(a):g} {start - _BOX / 2:g}H{xb - 9:g}q9 0 9 9V{end:g}"
        elif b.column == a.column:
            # Past what stands between, along the right edge.
            x = xa + _COLUMN / 2 + _GAP / 2
            out = f"M{xa:g} {start:g}q0 6 6 6H{x - 7:g}q7 0 7 7" if b.row > a.row + 1 else ""
        else:
            x, out = xa, f"M{xa:g} {start:g}"
        y = end + _BOX / 2
        if b.column and x < xb:
            return f"{out}V{end - 10:g}q0 5 5 5H{xb - 5:g}q5 0 5 5"
        if x > xb:
            return f"{out}V{y - 7:g}q0 7 -7 7H{xb + self.half(b):g}"
        return f"{out}V{y - 7:g}q0 7 7 7H{xb - self.half(b):g}"

    def boxes(self) -> Markup:
        shown, parts = None, []
        for box in sorted(self.layout.boxes, key=lambda box: (box.column, box.row)):
            shape = self.graph.nodes[box.nodes[-1]]["shape"]
            parts.append(self.box(box))
            if box.column == 0 and shape and shape != shown:
                shown = shape
                parts.append(
                    Markup('<text class="shape" x="{:g}" y="{:g}">{}</text>').format(
                        _MARGIN - 8, self.top(box) + _BOX / 2 + 4, elide(table.shape(shape), 12)
                    )
                )
        return Markup("").join(parts)

    def box(self, box: Box) -> Markup:
        x, y, half = self.middle(box), self.top(box), self.half(box)
        title = Markup("<title>{}</title>").format("\n\n".join(self.details(node) for node in box.nodes))
        site = self.site(box)
        if site:
            return self.pill(box, site, title)
        if self.is_join(box):
            return Markup(
                '<g class="join">{}<circle cx="{:g}" cy="{:g}" r="{:g}"/><text x="{:g}" y="{:g}">{}</text></g>'
            ).format(title, x, y + _BOX / 2, _BOX / 2 - 3, x, y + _BOX / 2 + 4.5, self.label(box))
        outer = self.graph.nodes[box.nodes[0]]["op"] in ("placeholder", "output", "get_attr")
        return Markup(
            '<g class="{}">{}<rect x="{:g}" y="{:g}" width="{:g}" height="{}" rx="{}"/>{}'
            '<text x="{:g}" y="{:g}">{}</text></g>'
        ).format(
            "end" if outer else "op", title, x - half, y, 2 * half, _BOX, 13 if outer else 4,
            "" if outer else self.bar(box), x, y + _BOX / 2 + 4,
            elide(self.label(box), int((2 * half - 12) / _CHARACTER)),
        )  # fmt: skip

    def cost(self, box: Box) -> float:
        """Its part of the slowest layer's time."""
        return sum(self.seconds.get(node, 0.0) for node in box.nodes) / self.slowest if self.slowest else 0.0

    def bar(self, box: Box) -> Markup:
        """The part of a box's background that its cost colours."""
        width = 2 * self.half(box) * min(self.cost(box), 1.0)
        if width < 0.5:
            return Markup("")
        return Markup('<rect class="cost by-cost" x="{:g}" y="{:g}" width="{:.1f}" height="{}"/>').format(
            self.middle(box) - self.half(box), self.top(box), width, _BOX
        )

    def pill(self, box: Box, site: dict, title: Markup) -> Markup:
        """A site: of its background the warm part is kept, and what has a line below it takes lines."""
        x, y, half = self.middle(box) - self.half(box), self.top(box), self.half(box)
        total, kept, lines = site["total"], site["kept"], site["lines"]
        share = kept / total if total else None
        text = "lines" if total and lines == total else "?" if share is None else table.percent(share)
        room = int((2 * half - 26) / 6.5) - len(text)
        key = f"clip{box.nodes[0]}"
        warm = 0 if not share else max(2.0, 2 * half * share)  # a sliver stays visible
        lined = Markup("")
        if total and lines:
            wide = 2 * half * lines / total
            lined = Markup(
                '<rect class="lined by-share" x="{x:.1f}" y="{y:g}" width="{w:.1f}" height="{h}"/>'
                '<rect class="stripe by-share" x="{x:.1f}" y="{low:g}" width="{w:.1f}" height="2"/>'
            ).format(x=x + 2 * half - wide, y=y, w=wide, h=_BOX, low=y + _BOX - 5)
        return Markup(
            '<a href="#{anchor}" class="site">{title}<clipPath id="{key}"><rect x="{x:g}" y="{y:g}" width="{w:g}" '
            'height="{h}" rx="13"/></clipPath><g clip-path="url(#{key})">'
            '<rect class="{back} by-share" x="{x:g}" y="{y:g}" width="{w:g}" height="{h}"/>'
            '{lined}<rect class="kept by-share" x="{x:g}" y="{y:g}" width="{warm:.1f}" height="{h}"/>'
            '<rect class="base by-cost" x="{x:g}" y="{y:g}" width="{w:g}" height="{h}"/>{cost}</g>'
            '<rect class="rim" x="{x:g}" y="{y:g}" width="{w:g}" height="{h}" rx="13"/>'
            '<text class="name" x="{left:g}" y="{line:g}">{name}</text>'
            '<text class="share by-share" x="{right:g}" y="{line:g}">{text}</text>'
            '<text class="share by-cost" x="{right:g}" y="{line:g}">{time}</text></a>'
        ).format(
            anchor=self.anchors.get(site["site"], ""), title=title, key=key, x=x, y=y, w=2 * half, h=_BOX, warm=warm,
            back="unknown" if share is None else "replaced", left=x + 12, right=x + 2 * half - 12,
            lined=lined, cost=self.bar(box), time=table.milliseconds(self.seconds.get(box.nodes[0], 0.0)),
            line=y + _BOX / 2 + 4, name=elide(site["site"], room), text=text,
        )  # fmt: skip

    def details(self, node: str) -> str:
        """What hovering shows of one node."""
        a = self.graph.nodes[node]
        lines = [f"{a['label']}  ({a['op']} {a['target']})"]
        if a["shape"] is not None:
            lines.append(f"gives {table.shape(a['shape']) or 'one number'}")
        if a["parameters"]:
            lines.append(f"{a['parameters']:,} parameters")
        if node in self.seconds:
            lines.append(f"{table.milliseconds(self.seconds[node])} ms online")
        if a.get("total") is not None:
            lines.append(f"{a['kept']:,} of {a['total']:,} kept" + (f", {a['lines']:,} lines" if a["lines"] else ""))
        return "\n".join(lines)
