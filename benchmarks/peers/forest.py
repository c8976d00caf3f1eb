"""A forest from a seed: complete regression trees with random splits, told as ONNX attributes and as PMML."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

FEATURES = 10
NAMES = tuple(f"x{number}" for number in range(FEATURES))
TREES = 50
DEPTH = 6
HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4">
<Header description="a forest from a seed"/>
<DataDictionary>{fields}<DataField name="y" optype="continuous" dataType="double"/></DataDictionary>
<MiningModel functionName="regression">{schema}
<Segmentation multipleModelMethod="average">
"""
TREE = """<Segment id="{number}"><True/>
<TreeModel functionName="regression" splitCharacteristic="binarySplit">{schema}
{root}
</TreeModel></Segment>
"""
TAIL = "</Segmentation></MiningModel></PMML>\n"


@dataclass(frozen=True, slots=True)
class Node:
    """A split with what lies at or below its threshold and what lies above, or a leaf's value."""

    feature: int = 0
    threshold: float = 0.0
    below: "Node | None" = None
    above: "Node | None" = None
    value: float = 0.0


def grow(seed: int) -> list[Node]:
    """Always the same trees for a seed; thresholds and values are exact in FP32."""
    dice = random.Random(seed)
    return [_grow(dice, DEPTH) for _ in range(TREES)]


def rows(count: int) -> list[list[float]]:
    """Always the same rows, exact in FP32 and never on a threshold."""
    dice = random.Random(count)
    return [[dice.randrange(1000) / 1024 + 1 / 4096 for _ in NAMES] for _ in range(count)]


def as_attributes(trees: Sequence[Node]) -> dict[str, Any]:
    """The attributes of ONNX's TreeEnsembleRegressor."""
    nodes = [(tree, number, *line) for tree, root in enumerate(trees) for number, line in enumerate(_lines(root))]
    leaves = [(tree, number, node.value) for tree, number, node, _, _ in nodes if node.below is None]
    return {
        "aggregate_function": "AVERAGE",
        "n_targets": 1,
        "nodes_treeids": [tree for tree, *_ in nodes],
        "nodes_nodeids": [number for _, number, *_ in nodes],
        "nodes_featureids": [node.feature for _, _, node, _, _ in nodes],
        "nodes_values": [node.threshold for _, _, node, _, _ in nodes],
        "nodes_modes": ["LEAF" if node.below is None else "BRANCH_LEQ" for _, _, node, _, _ in nodes],
        "nodes_truenodeids": [below for *_, below, _ in nodes],
        "nodes_falsenodeids": [above for *_, above in nodes],
        "target_treeids": [tree for tree, _, _ in leaves],
        "target_nodeids": [number for _, number, _ in leaves],
        "target_ids": [0] * len(leaves),
        "target_weights": [value for _, _, value in leaves],
    }


def as_pmml(trees: Sequence[Node]) -> str:
    """The same forest as a PMML MiningModel."""
    fields = "".join(f'<DataField name="{name}" optype="continuous" dataType="double"/>' for name in NAMES)
    used = "".join(f'<MiningField name="{name}"/>' for name in NAMES)
    schema = f'<MiningSchema>{used}<MiningField name="y" usageType="target"/></MiningSchema>'
    segments = (
        TREE.format(number=number, schema=schema, root=_element(root, "<True/>")) for number, root in enumerate(trees)
    )
    return HEAD.format(fields=fields, schema=schema) + "".join(segments) + TAIL


def _grow(dice: random.Random, depth: int) -> Node:
    if depth == 0:
        return Node(value=dice.randrange(4096) / 64)
    feature, threshold = dice.randrange(FEATURES), dice.randrange(1, 1024) / 1024
    return Node(feature, threshold, _grow(dice, depth - 1), _grow(dice, depth - 1))


def _lines(root: Node) -> Iterator[tuple[Node, int, int]]:
    """Breadth first: a node and the numbers of the two below it."""
    line, following = [root], 1
    for node in line:  # grows while it is read
        if node.below is None or node.above is None:
            yield node, 0, 0
        else:
            line += (node.below, node.above)
            yield node, following, following + 1
            following += 2


def _element(node: Node, predicate: str) -> str:
    if node.below is None or node.above is None:
        return f'<Node score="{node.value!r}">{predicate}</Node>'
    split = f'<SimplePredicate field="{NAMES[node.feature]}" operator="{{}}" value="{node.threshold!r}"/>'
    inner = _element(node.below, split.format("lessOrEqual")) + _element(node.above, split.format("greaterThan"))
    return f"<Node>{predicate}{inner}</Node>"
