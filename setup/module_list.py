"""Writes docs/MODULES.md: every module in one line, the first of its own docstring. `make modules`; a test compares."""

import ast
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "MODULES.md"
TOP = ("main.py", "client.py", "server.py", "attacker.py", "encryption.py", "data_preprocessing.py")
PACKAGES = ("commands", "blockchain", "fedward", "benchmarks")
HEAD = """# Modules

Every module in one line: the first of its own docstring. [ARCHITECTURE.md](ARCHITECTURE.md) tells how they work
together. Written by `make modules`.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD, "## At the top\n", _table([ROOT / name for name in TOP])]
    for package in PACKAGES:
        folders = sorted({file.parent for file in (ROOT / package).rglob("*.py")})
        for folder in folders:
            files = sorted(file for file in folder.glob("*.py") if file.name != "__init__.py")
            parts.append(f"## {folder.relative_to(ROOT).as_posix()}/\n")
            if (folder / "__init__.py").exists():
                parts.append(f"{first_line(folder / '__init__.py')}\n")
            if files:
                parts.append(_table(files))
    return "\n".join(parts)


@cache
def first_line(file: Path) -> str:
    """The first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0]


def _table(files: list[Path]) -> str:
    rows = [f"| [{file.name}](../{file.relative_to(ROOT).as_posix()}) | {first_line(file)} |" for file in files]
    return "\n".join(["| module | what it is |", "|---|---|", *(row.replace("||", "\\|\\|") for row in rows), ""])


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    PAGE.write_text(page(), encoding="utf-8")
