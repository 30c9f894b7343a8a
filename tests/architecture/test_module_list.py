"""docs/MODULES.md has every module in one line, as its docstring has it."""

import runpy

from source_tree import ROOT, product

LISTING = runpy.run_path(str(ROOT / "setup" / "module_list.py"))


def test_the_page_is_what_the_modules_say() -> None:
    assert LISTING["PAGE"].read_text(encoding="utf-8") == LISTING["page"](), "run `make modules`"


def test_every_module_says_what_it_is() -> None:
    page = LISTING["page"]()
    for source in product():
        line = LISTING["first_line"](ROOT / source.path)
        assert line.endswith("."), source.path
        assert source.path.endswith("__init__.py") or f"](../{source.path}) | {line}" in page, source.path
