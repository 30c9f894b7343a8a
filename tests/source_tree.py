"""Reads the product's source as syntax trees, for the tests that hold the design's rules on who may use what."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("commands", "blockchain", "fedward")  # what runs; benchmarks only measure it


@dataclass(frozen=True)
class Source:
    """One file of Python.

    Attributes:
        name: Its dotted module name, such as `fedward.backdoor.detectors`; of a package's `__init__.py` the package's.
        path: Where it lies, from the project's root, with slashes.
        tree: Its syntax tree.
        lines: Its number of lines.
    """

    name: str
    path: str
    tree: ast.Module
    lines: int

    @property
    def unit(self) -> str:
        """The top-level package or module that it is a part of."""
        return self.name.partition(".")[0]


def parse(name: str, text: str, path: str = "") -> Source:
    """A source from its text."""
    return Source(name, path or f"{name.replace('.', '/')}.py", ast.parse(text), len(text.splitlines()))


@cache
def product() -> tuple[Source, ...]:
    """All modules that run at a hospital, a server or a user."""
    files = [*ROOT.glob("*.py"), *(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))]
    return tuple(_read(file) for file in sorted(files))


@cache
def all_but_tests() -> tuple[Source, ...]:
    """The product and the scripts that measure it."""
    return (*product(), *(_read(file) for file in sorted((ROOT / "benchmarks").rglob("*.py"))))


def _read(file: Path) -> Source:
    path = file.relative_to(ROOT)
    name = ".".join(part for part in path.with_suffix("").parts if part != "__init__")
    return parse(name, file.read_text(), path.as_posix())


def imported(source: Source) -> set[str]:
    """Dotted names of all that a module imports, anywhere in it: `from a import b` counts as `a` and `a.b`."""
    names = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ("." * node.level) + (node.module or "")
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return names


def imported_units(source: Source) -> set[str]:
    """Top-level packages and modules that a module imports; a relative import shows as an empty name."""
    return {name.partition(".")[0] for name in imported(source)}


def reached_from(*entrances: str) -> set[Source]:
    """The product's modules that these import, directly or through others, the packages they lie in, and themselves."""
    modules = {source.name: source for source in product()}
    reached: set[str] = set()
    waiting = list(entrances)
    while waiting:
        name = waiting.pop()
        if name in modules and name not in reached:
            reached.add(name)
            waiting += [name.rpartition(".")[0], *imported(modules[name])]
    return {modules[name] for name in reached}


def calls_by_name(source: Source) -> Iterator[str]:
    """Original names of all that a module calls by a plain or dotted name, through `import … as …` too."""
    aliases = {
        alias.asname: alias.name
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield aliases.get(node.func.id, node.func.id)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.func.attr
