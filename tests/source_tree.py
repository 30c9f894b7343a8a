"""Reads the product's source as syntax trees, for the tests that hold the design's rules on who may use what."""

import ast
import re
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


@cache
def imported(source: Source) -> frozenset[str]:
    """Dotted names of all that a module imports, anywhere in it: `from a import b` counts as `a` and `a.b`."""
    names = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ("." * node.level) + (node.module or "")
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return frozenset(names)


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


@cache
def original_names(source: Source) -> dict[str, str]:
    """What a module's imported names are called where they come from, with the module: `{"np": "numpy", …}`."""
    found: dict[str, str] = {}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            found |= {alias.asname or alias.name.partition(".")[0]: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def types_in_reach(*names: str) -> set[str]:
    """Dotted names of the product's classes that one gets to from these names by their types alone.

    From a class to its bases, the types of its attributes, and what its methods return; from a function to what it
    returns. What a function takes is not in reach: who calls it must have it already.
    """
    modules = {source.name: source for source in product()}
    seen: set[str] = set()
    classes: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        module, _, last = name.rpartition(".")
        if module not in modules or name in seen:
            continue
        seen.add(name)
        origins = original_names(modules[module])
        definitions = (node for node in modules[module].tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef))
        definition = next((node for node in definitions if node.name == last), None)
        if definition is None:  # what a module imports can be imported from it
            waiting += [origins[last]] if last in origins else []
            continue
        if isinstance(definition, ast.ClassDef):
            classes.add(name)
        for word in _words_of_types(definition):
            first, _, rest = word.partition(".")
            origin = origins.get(first, f"{module}.{first}")
            waiting += [origin, f"{origin}.{rest}"] if rest else [origin]
    return classes


def _words_of_types(definition: ast.ClassDef | ast.FunctionDef) -> Iterator[str]:
    """Names, dotted or not, in the annotations of what a class has or a function returns; a class's attributes that
    are made by a call have the called name as their type.
    """
    parts: list[ast.AST] = []
    if isinstance(definition, ast.FunctionDef):
        parts += [definition.returns] if definition.returns else []
    else:
        parts += definition.bases
        for node in ast.walk(definition):
            if isinstance(node, ast.FunctionDef) and node.returns:
                parts.append(node.returns)
            elif isinstance(node, ast.AnnAssign):
                parts.append(node.annotation)
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                parts.append(node.value.func)
    for part in parts:
        for node in ast.walk(part):
            if isinstance(node, ast.Name | ast.Attribute):
                yield ast.unparse(node)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from re.findall(r"[\w.]+", node.value)


@cache
def names_used(source: Source) -> frozenset[str]:
    """Original last names of all that a module uses as a value: called, assigned, handed on, or written as a text.

    Types in annotations and in `isinstance` are not used as values: nothing can be built by them.
    """
    return frozenset(_names_used(source))


def _names_used(source: Source) -> Iterator[str]:
    aliases = {name: original.rpartition(".")[2] for name, original in original_names(source).items()}
    types_only = {id(node) for part in _type_positions(source.tree) for node in ast.walk(part)}
    for node in ast.walk(source.tree):
        if id(node) in types_only:
            continue
        if isinstance(node, ast.Name):
            yield aliases.get(node.id, node.id)
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _type_positions(tree: ast.Module) -> Iterator[ast.AST]:
    """Where a type stands as a type."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
            yield node.annotation
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns:
            yield node.returns
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
            yield node.args[1]
        elif isinstance(node, ast.MatchClass):
            yield node.cls


def functions_that_return(names: frozenset[str]) -> set[str]:
    """Dotted names of the product's functions whose return annotation has one of these types in it."""
    return {
        f"{source.name}.{node.name}"
        for source in product()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef) and node.returns
        if names & set(re.findall(r"\w+", ast.unparse(node.returns)))
    }
