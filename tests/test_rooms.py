"""The rooms of the design depend on each other in one direction only.

cluster   <-  trainers  <-  tuning
                        <-  serving
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("cluster", "trainers", "tuning", "serving")
MAY_USE = {
    "cluster": {"cluster"},
    "trainers": {"cluster", "trainers"},
    "tuning": {"cluster", "trainers", "tuning"},
    "serving": {"cluster", "trainers", "serving"},
}
FILES = sorted(path.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def imported(nodes: Iterator[ast.AST]) -> set[str]:
    """Top-level packages that the nodes import."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


def at_import_time(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when the module is imported: not function bodies, not what only type checkers see."""
    for child in ast.iter_child_nodes(node):
        is_for_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not is_for_types:
            yield child
            yield from at_import_time(child)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_room_uses_only_the_rooms_before_it(file):
    room, tree = file.parts[0], ast.parse((ROOT / file).read_text())
    is_command_line = file.parts[:2] == ("cluster", "cli")
    used = imported(at_import_time(tree)) if is_command_line else imported(ast.walk(tree))
    assert used & set(ROOMS) <= MAY_USE[room]


@pytest.mark.parametrize("file", [file for file in FILES if file.parts[0] == "cluster"], ids=str)
def test_cluster_does_not_import_torch_when_it_is_imported(file):
    tree = ast.parse((ROOT / file).read_text())
    assert not imported(at_import_time(tree)) & {"torch", "transformers", "deepspeed", "vllm", "mlflow"}


def test_importing_every_module_of_cluster_leaves_torch_out():
    modules = [
        ".".join(file.with_suffix("").parts).removesuffix(".__init__")
        for file in FILES
        if file.parts[0] == "cluster" and file.name != "__main__.py"
    ]
    code = f"import importlib, sys\nfor name in {modules}: importlib.import_module(name)\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
