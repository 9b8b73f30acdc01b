"""The base of every graph pass."""

from __future__ import annotations

from torch import fx


class Pass:
    """``requires -> run -> ensures`` on a GraphModule that the pipeline owns; it is rewritten in place.

    A pass is idempotent: a second run changes nothing.
    """

    def requires(self, gm: fx.GraphModule) -> None:
        """Raise if ``gm`` cannot be given to this pass."""

    def run(self, gm: fx.GraphModule) -> None:
        raise NotImplementedError

    def ensures(self, gm: fx.GraphModule) -> None:
        """Raise if the result is not what the pass promises."""

    def __call__(self, gm: fx.GraphModule) -> fx.GraphModule:
        self.requires(gm)
        self.run(gm)
        gm.graph.lint()
        gm.recompile()
        self.ensures(gm)
        return gm
