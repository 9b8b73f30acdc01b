"""Whether one more truncation takes less time than a wider ring: what either sends and computes more."""

from __future__ import annotations

import math

from ..link.network import Network
from ..rates import Rates
from .exponents import untruncated
from .node import Node
from .truncate_at import travels_in_part


def cheaper_to_cut(nodes: dict[str, Node], place: str, sink: Node, network: Network) -> bool:
    """Truncate the value ``place``, with all wires at 32 bits, rather than widen ``sink`` and all that leads into it.

    A site of which only some positions travel is left as it is: what all of them would send is what it is there to
    save.
    """
    if travels_in_part(nodes, place):
        return False
    rates = Rates()  # not those of this machine: the same model has the same plan everywhere

    def seconds(sent: int) -> float:
        return network.seconds(sent) + 3 * sent / rates.bytes  # made, sent, and read again

    cut = seconds(8 * nodes[place].size) + 2 * (network.delay + rates.message + rates.step)
    before = list(untruncated(nodes, sink.inputs))
    sources = {name for node in before for name in node.inputs} - {node.name for node in before}
    elements = sink.size + sum(nodes[name].size for name in sources)
    return cut < seconds(4 * elements) + sum(map(_macs, before)) / (2 * rates.macs)


def _macs(node: Node) -> int:
    if node.attrs.get("kind") not in ("conv2d", "linear"):
        return 0
    return node.size * math.prod(node.attrs["weight_shape"][1:])
