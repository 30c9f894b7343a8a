"""Documents and configuration that say what the code says: exit codes, defaults, presets."""

import ast
import dataclasses
import re
from pathlib import Path
from typing import get_type_hints

import pytest
from source_tree import ROOT, product

import main
from fedward import errors, settings
from fedward.errors import FedwardError

PRESETS = sorted((ROOT / "config").glob("*.toml"))


def error_kinds(kind: type[FedwardError] = FedwardError) -> list[type[FedwardError]]:
    return [kind, *(deeper for child in kind.__subclasses__() for deeper in error_kinds(child))]


def test_every_exit_code_has_its_section_and_no_section_is_of_a_code_that_never_comes() -> None:
    text = (ROOT / "docs" / "errors.md").read_text()
    documented = [int(number) for number in re.findall(r"^## (\d+)\b", text, flags=re.MULTILINE)]
    assert len(documented) == len(set(documented))
    assert set(documented) == {0, main.INTERRUPTED} | {kind.exit_code for kind in error_kinds()}


def test_no_two_kinds_of_error_share_a_code() -> None:
    codes = [kind.exit_code for kind in error_kinds() if "exit_code" in vars(kind)]
    assert sorted(codes) == list(range(1, 11))
    for kind in error_kinds():
        assert kind.__module__ == "fedward.errors", "all of them stand in one place"


@pytest.mark.parametrize("code", range(1, 11))
def test_an_exit_code_gives_back_its_error(code: int) -> None:
    error = errors.error_of(code, "It broke.", "Mend it.")
    assert error.exit_code == code
    assert str(error) == "It broke. Mend it."


def test_an_unknown_exit_code_is_a_bug() -> None:
    assert type(errors.error_of(77, "It broke.", "Mend it.")) is FedwardError


def test_the_defaults_are_valid_and_complete() -> None:
    assert settings.to_tables(settings.load()) == settings.default_tables()


def test_the_defaults_name_exactly_the_settings_that_there_are() -> None:
    tables = {
        name: {field.name.replace("_", "-") for field in dataclasses.fields(kind)}
        for name, kind in get_type_hints(settings.Settings).items()
    }
    assert {name: set(values) for name, values in settings.default_tables().items()} == tables


def test_the_defaults_stand_in_one_place_only() -> None:
    for kind in get_type_hints(settings.Settings).values():
        for field in dataclasses.fields(kind):
            assert field.default is field.default_factory is dataclasses.MISSING, field.name


def test_every_setting_is_read_by_some_module() -> None:
    """Beside `settings.py` itself: a setting that nothing reads promises what it does not hold."""
    read = {
        node.attr
        for source in product()
        if source.name != "fedward.settings"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    for table, kind in get_type_hints(settings.Settings).items():
        for field in dataclasses.fields(kind):
            assert field.name in read, f"{table}.{field.name}"


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_preset_loads_changes_something_and_says_what_for(preset: Path) -> None:
    assert settings.load(preset) != settings.load()
    assert preset.read_text().startswith("# Question: ")
