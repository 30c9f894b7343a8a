"""Modules and functions short enough to read, and no check that a switch or a typo turns off."""

import ast
from collections.abc import Iterator

import pytest
from source_tree import ROOT, Source, all_but_tests, parse

LINES_A_MODULE = 400
LINES_A_FUNCTION = 60
ALL = {source.name: source for source in all_but_tests()}


def functions(source: Source) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def broad_handlers(source: Source) -> list[int]:
    """Lines that catch everything and do not raise it again."""
    found = []
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ExceptHandler) and _catches_all(node.type) and not _raises_again(node):
            found.append(node.lineno)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
            found += [node.lineno for kind in node.args if _catches_all(kind)]
    return found


def _catches_all(kind: ast.expr | None) -> bool:
    if kind is None:
        return True
    parts = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return any(ast.unparse(part).rpartition(".")[2] in ("Exception", "BaseException") for part in parts)


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


# These run on py-evm what anybody may have made, and its errors over that are of any kind. Each failure becomes a
# line of the report, a refusal, or an answer.
RUNS_FOREIGN_BYTES = {
    "blockchain.audit.checks.execution": 2,
    "blockchain.node.block_builder": 2,
    "blockchain.node.rpc": 1,
}


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_module_is_short_and_so_are_its_functions(name: str) -> None:
    assert ALL[name].lines <= LINES_A_MODULE
    for function in functions(ALL[name]):
        assert (function.end_lineno or 0) - function.lineno < LINES_A_FUNCTION, function.name


@pytest.mark.parametrize("name", sorted(ALL))
def test_no_assert_and_no_broad_except(name: str) -> None:
    """`python -O` removes an assert; a broad except hides a bug, unless it cleans up and raises it again."""
    assert not [node.lineno for node in ast.walk(ALL[name].tree) if isinstance(node, ast.Assert)]
    assert len(broad_handlers(ALL[name])) == RUNS_FOREIGN_BYTES.get(name, 0)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("try:\n  f()\nexcept:\n  pass", 1),
        ("try:\n  f()\nexcept Exception as error:\n  print(error)", 1),
        ("try:\n  f()\nexcept (OSError, BaseException):\n  raise ValueError", 1),
        ("import contextlib\nwith contextlib.suppress(Exception):\n  f()", 1),
        ("try:\n  f()\nexcept BaseException:\n  g()\n  raise", 0),
        ("try:\n  f()\nexcept OSError:\n  pass", 0),
    ],
)
def test_a_broad_except_is_found_in_every_form(text: str, count: int) -> None:
    assert len(broad_handlers(parse("x", text))) == count


def test_no_two_test_files_share_a_name() -> None:
    # pytest would import the second as the first, and collect neither when all tests run together
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert names
    assert sorted(names) == sorted(set(names))
