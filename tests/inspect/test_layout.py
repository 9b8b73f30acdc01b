"""Where boxes and lines go."""

import networkx as nx

from autorep_fx.inspect.layout import arrange


def graph(edges, sites=()):
    g = nx.DiGraph()
    for name in dict.fromkeys(n for edge in edges for n in edge):
        g.add_node(name, op="call_module", label=name)
        if name in sites:
            g.nodes[name]["site"] = name
    g.add_edges_from(edges)
    return g


def boxes(layout):
    return {"".join(box.nodes): box for box in layout.boxes}


def test_chains_are_one_box_and_sites_stand_alone():
    layout = arrange(graph([("a", "b"), ("b", "s"), ("s", "c"), ("c", "d")], sites="s"))
    assert [box.nodes for box in layout.boxes] == [["a"], ["b"], ["s"], ["c", "d"]]  # "a" reads nothing: an input
    assert layout.columns == 1 and layout.lanes == 0


def test_skip_connections_get_a_lane_and_branches_a_column():
    layout = arrange(graph([("s", "a"), ("a", "t"), ("t", "b"), ("b", "+"), ("s", "d"), ("d", "+"), ("t", "+")], "st"))
    place = boxes(layout)
    assert [place[n].row for n in ("s", "a", "t", "b", "+")] == [0, 1, 2, 3, 4]
    assert place["d"].column == 1 and place["d"].row == 1
    assert place["t"].lane == 0 and place["s"].lane is None


def test_lanes_that_overlap_are_apart_and_others_are_shared():
    chain = [(f"s{i}", f"s{i + 1}") for i in range(6)]
    names = {f"s{i}" for i in range(7)}
    dense = arrange(graph([*chain, ("s0", "s4"), ("s1", "s5")], names))
    assert boxes(dense)["s0"].lane != boxes(dense)["s1"].lane
    apart = arrange(graph([*chain, ("s0", "s2"), ("s2", "s5")], names))
    assert boxes(apart)["s0"].lane == boxes(apart)["s2"].lane == 0 and apart.lanes == 1


def test_no_two_boxes_share_a_place():
    edges = [("s", f"b{i}") for i in range(4)] + [(f"b{i}", "cat") for i in range(4)] + [("c", "cat")]
    layout = arrange(graph(edges, sites=("s", "b1", "b2")))
    places = [(box.row, box.column) for box in layout.boxes]
    assert len(set(places)) == len(places)
    for a, b in layout.lines:
        assert layout.boxes[a].row < layout.boxes[b].row
