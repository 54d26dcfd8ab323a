"""Imports run one way: no folder imports another that imports it, however far off."""

import ast
import graphlib
import pathlib

ROOT = pathlib.Path(__file__).parents[1]


def room(dotted: str) -> str:
    """The folder below `mpt_jax`, or the file in it, that a module belongs to."""
    return [*dotted.split("."), "mpt_jax"][1]


def imports(file: pathlib.Path) -> set[str]:
    """The rooms that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mpt_jax":
            found |= {room(f"{node.module}.{name.name}") for name in node.names}
    return found


def test_no_folders_import_each_other():
    graph: dict[str, set[str]] = {}
    for top, package in ((ROOT / "mpt_jax", "mpt_jax"), (ROOT / "tasks", "mpt_jax.tasks")):
        for file in top.rglob("*.py"):
            parts = file.relative_to(top).with_suffix("").parts
            here = room(".".join((package, *parts)))
            graph[here] = graph.get(here, set()) | (imports(file) - {here})
    assert {"engine", "product", "tasks"} <= graph.keys()
    order = list(graphlib.TopologicalSorter(graph).static_order())  # a CycleError names the circle
    assert order.index("errors") < order.index("product") < order.index("engine")
