"""Figures of the structure of src/greenroom, from its syntax trees: what the plan of the house counts.

usage: python -m scripts.structure [ROOT]    ROOT: another checkout, to compare with
"""

from __future__ import annotations

import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGE = "greenroom"


def modules(source: Path) -> dict[str, ast.Module]:
    """Every module below `source` by its dotted name."""
    found = {}
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text("utf-8"))
    return found


def imports(trees: dict[str, ast.Module]) -> dict[str, set[str]]:
    """Which module imports which, under TYPE_CHECKING and inside functions too."""
    graph: dict[str, set[str]] = {name: set() for name in trees}
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                graph[name].update(alias.name for alias in node.names if alias.name in trees)
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    graph[name].update({full} if full in trees else {node.module} & trees.keys())
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, largest first (Tarjan's strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            at = stack.index(name)
            group, stack[at:] = sorted(stack[at:]), []
            if len(group) > 1:
                found.append(group)

    for name in graph:
        if name not in index:
            visit(name)
    return sorted(found, key=len, reverse=True)


def classes(trees: dict[str, ast.Module]) -> Iterator[tuple[str, ast.ClassDef]]:
    """Every class, with its module."""
    for name, tree in trees.items():
        yield from ((name, node) for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def shared_names(trees: dict[str, ast.Module]) -> list[str]:
    """Names of classes that are defined in several modules; private ones do not count."""
    count = Counter(name for name, _ in {(node.name, module) for module, node in classes(trees)})
    return sorted(name for name, times in count.items() if times > 1 and not name.startswith("_"))


def assigned_from_outside(trees: dict[str, ast.Module]) -> list[str]:
    """``module: object.attribute`` for each attribute of the service's objects that another module assigns."""
    owners: defaultdict[str, set[str]] = defaultdict(set)
    for module, node in classes(trees):
        for attribute in _targets(node):
            if isinstance(attribute.value, ast.Name) and attribute.value.id == "self":
                owners[attribute.attr].add(module)
    found = set()
    for module, tree in trees.items():
        if not module.startswith(f"{PACKAGE}.server"):
            continue
        for attribute in _targets(tree):
            is_own = isinstance(attribute.value, ast.Name) and attribute.value.id in ("self", "cls")
            if not is_own and owners.get(attribute.attr) and module not in owners[attribute.attr]:
                found.add(f"{module}: {ast.unparse(attribute)}")
    return sorted(found)


def _targets(tree: ast.AST) -> Iterator[ast.Attribute]:
    for node in ast.walk(tree):
        targets: Iterable[ast.expr] = ()
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign | ast.AugAssign):
            targets = (node.target,)
        for target in targets:
            for one in target.elts if isinstance(target, ast.Tuple) else (target,):
                if isinstance(one, ast.Attribute):
                    yield one


def spread_classes(trees: dict[str, ast.Module]) -> list[str]:
    """Classes of the core and the service that inherit from a class of another file of their own package which nobody
    else inherits from: one class, written in several files."""
    where: defaultdict[str, set[str]] = defaultdict(set)
    heirs: Counter[str] = Counter()
    for module, node in classes(trees):
        if "abstractmethod" not in ast.unparse(node):  # an interface is meant to have its heir elsewhere
            where[node.name].add(module)
        heirs.update(base.id for base in node.bases if isinstance(base, ast.Name))
    return sorted(
        f"{module}.{node.name} < {base.id}"
        for module, node in classes(trees)
        for base in node.bases
        if isinstance(base, ast.Name)
        and module.startswith((f"{PACKAGE}.core", f"{PACKAGE}.server"))
        and heirs[base.id] == 1
        and any(other != module and other.rpartition(".")[0] == module.rpartition(".")[0] for other in where[base.id])
    )


def is_declaration(statement: ast.stmt) -> bool:
    """Whether a statement does nothing but declare: an import, a constant, a field, a method without a body, a class of
    such."""
    match statement:
        case ast.Import() | ast.ImportFrom() | ast.Pass() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Assign(value=value) | ast.AnnAssign(value=value):
            return value is None or not any(map(_computes, ast.walk(value)))
        case ast.ClassDef(body=body):
            return all(map(is_declaration, body))
        case ast.FunctionDef(body=body) | ast.AsyncFunctionDef(body=body):
            return all(isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant) for one in body)
    return False


def _computes(node: ast.AST) -> bool:
    """A call, unless it only makes an object of a class, as defaults do; or a function in an expression."""
    if isinstance(node, ast.Call):
        return not (isinstance(node.func, ast.Name) and node.func.id[:1].isupper())
    return isinstance(node, ast.Lambda | ast.comprehension)


CONTRACT = {
    "engines/embedded": frozenset(
        {
            "attach", "close", "invitations", "memberships", "queries", "registry", "restrict", "room_messages",
            "room_queries", "room_steps", "session_steps", "statistics", "update",
        }
    ),
    "engines/redis": frozenset({"registry", "room_listing", "statistics"}),
}  # fmt: skip
"""Modules that are steps of the engine contract and nothing else: the suite that every engine passes is their test."""


def untested(source: Path, tests: Path) -> list[str]:
    """Modules without a test file of their name in the same folder of `tests`. Packages, the tools that other tests are
    made of, files that only declare, and steps of the engine contract where its suite is run need none."""
    return [
        str(path)
        for path in sorted(one.relative_to(source) for one in source.rglob("*.py"))
        if path.name not in ("__init__.py", "__main__.py")
        and path.parts[0] != "testing"
        and not (tests / path.with_name(f"test_{path.name}")).is_file()
        and not (
            path.stem in CONTRACT.get(str(path.parent), ()) and (tests / path.with_name("test_contract.py")).is_file()
        )
        and not all(map(is_declaration, ast.parse((source / path).read_text("utf-8")).body))
    ]


def main(arguments: list[str]) -> int:
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parents[1]
    source = root / "src" / PACKAGE
    trees = modules(source)
    groups = circles(imports(trees))
    print(f"import circles: {len(groups)}, of {', '.join(str(len(group)) for group in groups) or 'no'} modules")
    flat = [path for path in (source / "server").glob("*.py") if path.name != "__init__.py"]
    print(f"files directly in server/: {len(flat)}")
    outside = assigned_from_outside(trees)
    print(f"attributes that another module assigns, in server/: {len(outside)}", *outside, sep="\n    ")
    spread = spread_classes(trees)
    print(f"classes spread over files by inheritance: {len(spread)}", *spread, sep="\n    ")
    shared = shared_names(trees)
    print(f"names of several classes: {len(shared)}", *shared, sep="\n    ")
    print(f"modules without a test file of their name: {len(untested(source, root / 'tests'))}")
    lines = sum(len(path.read_text("utf-8").splitlines()) for path in source.rglob("*.py"))
    lua = sum(len(path.read_text("utf-8").splitlines()) for path in source.rglob("*.lua"))
    tools = sum(len(path.read_text("utf-8").splitlines()) for path in (source / "testing").rglob("*.py"))
    print(f"lines: {lines + lua:,} of Python and Lua, {tools:,} of them in testing/")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
