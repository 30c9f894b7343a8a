"""Documents and configuration that say what the code says: exit codes, defaults, presets."""

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

import pytest
from source_tree import ROOT, product

from fedward import entry, errors, settings
from fedward.errors import FedwardError
from fedward.privacy.accounting import epsilon
from fedward.privacy.mechanism import expected_event
from fedward.tables import OneOf

DECLARING = {"fedward.settings", "fedward.plugins"}  # where settings are declared and checked
PRESETS = sorted((ROOT / "config").glob("*.toml"))


def error_kinds(kind: type[FedwardError] = FedwardError) -> list[type[FedwardError]]:
    return [kind, *(deeper for child in kind.__subclasses__() for deeper in error_kinds(child))]


def test_every_exit_code_has_its_section_and_no_section_is_of_a_code_that_never_comes() -> None:
    text = (ROOT / "docs" / "errors.md").read_text()
    documented = [int(number) for number in re.findall(r"^## (\d+)\b", text, flags=re.MULTILINE)]
    assert len(documented) == len(set(documented))
    assert set(documented) == {0, entry.INTERRUPTED} | {kind.exit_code for kind in error_kinds()}


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
        name: {field.name.replace("_", "-") for field in own_fields(kind)}
        for name, kind in settings.table_types().items()
    }
    assert {name: set(values) for name, values in settings.default_tables().items()} == tables


def test_the_defaults_stand_in_one_place_only() -> None:
    for kind in settings.table_types().values():
        for field in dataclasses.fields(kind):
            assert field.default is field.default_factory is dataclasses.MISSING, field.name


def own_fields(kind: type) -> list[dataclasses.Field[object]]:
    """The settings of a table; the options beside them have tables of their own."""
    return [field for field in dataclasses.fields(kind) if field.name != "options"]


def allowed_values(table: str, key: str) -> tuple[str, ...]:
    """What a text may be, where its rule lists that."""
    hint = get_type_hints(settings.table_types()[table], include_extras=True)[key.replace("-", "_")]
    rules = [rule for rule in getattr(hint, "__metadata__", ()) if isinstance(rule, OneOf)]
    return rules[0].values if rules else ()


def test_comments_on_defaults_list_exactly_what_may_be_chosen() -> None:
    """And do so for every setting that has a list."""
    table, compared = "", set()
    for line in settings.PROJECT_FILE.read_text().splitlines():
        if line.startswith("["):
            table = line.strip("[]").removeprefix("tool.flwr.app.config.")
        assignment = re.match(r'([a-z0-9-]+) = ".*"\s+# (.+)', line)
        if table in settings.table_types() and assignment and (values := allowed_values(table, assignment[1])):
            said = re.sub(r" \([^)]*\)", "", assignment[2].partition(":")[0])
            assert tuple(said.split(" | ")) == values, f"{table}.{assignment[1]}"
            compared.add((table, assignment[1]))
    listing = {(name, key) for name, keys in settings.default_tables().items() for key in keys}
    assert compared == {place for place in listing if allowed_values(*place)}
    assert ("model", "name") in compared


def test_every_setting_is_read_by_some_module() -> None:
    """Beside `settings.py` itself: a setting that nothing reads promises what it does not hold."""
    tables = {name.replace("-", "_"): kind for name, kind in settings.table_types().items()}
    read = {found for source in product() if source.name not in DECLARING for found in reads(source.tree, tables)}
    declared = {(table, field.name) for table, kind in tables.items() for field in own_fields(kind)}
    declared.remove(("detectors", "names"))  # read by `DetectorSettings.chosen`, beside it
    assert declared <= read, declared - read


def reads(tree: ast.Module, tables: dict[str, type]) -> Iterator[tuple[str, str]]:
    """Where a field is read of a table: `settings.TABLE.FIELD`, or by the name of an argument of the table's type."""
    named: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            name: str | None = node.arg
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id  # a field of a dataclass, such as a plug-in's options
        else:
            continue
        if name and isinstance(node.annotation, ast.Name):
            kinds = {table for table, kind in tables.items() if kind.__name__ == node.annotation.id}
            if kinds:
                named.setdefault(name, set()).update(kinds)
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)):
            continue
        if isinstance(node.value, ast.Attribute | ast.Name):
            name = node.value.attr if isinstance(node.value, ast.Attribute) else node.value.id
            for table in named.get(name, {name}):
                yield table, node.attr


@pytest.mark.parametrize(("before", "after"), [("settings", "training"), ("training", "training")])
def test_a_field_of_the_same_name_elsewhere_is_no_read(before: str, after: str) -> None:
    tables = get_type_hints(settings.Settings)
    tree = ast.parse(
        f"def act({before}: TrainingSettings, other: object) -> None:\n    {before}.seed\n    other.rounds\n"
    )
    assert (after, "seed") in set(reads(tree, tables))
    assert (after, "rounds") not in set(reads(tree, tables))


@pytest.mark.slow
def test_the_epsilons_that_a_preset_names_are_those_that_it_has() -> None:
    path = ROOT / "config" / "update-privacy.toml"
    chosen = settings.load(path)
    event, text = expected_event(chosen.privacy), path.read_text()
    halved = dataclasses.replace(event, noise_multiplier=event.noise_multiplier / 2)
    own, either = (epsilon([found] * chosen.training.rounds) for found in (event, halved))
    assert f"epsilon is {own:.2f} at delta" in text
    assert f"data set of a hospital from another, {either:.1f}." in text


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_preset_loads_changes_something_and_says_what_for(preset: Path) -> None:
    assert settings.load(preset) != settings.load()
    assert preset.read_text().startswith("# Question: ")
