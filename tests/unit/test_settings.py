"""Settings: who overrides whom, what is refused and by which name, and what the digest covers."""

import dataclasses
import math
import os
from pathlib import Path
from typing import get_type_hints

import pytest
import tomli_w

from blockchain.node.chain import MAX_AHEAD_S
from fedward import settings as setting
from fedward.errors import UsageError
from fedward.plugins import AdaptiveOptions
from fedward.settings import SHORTEST_PHASE_S
from fedward.tables import Between, OneOf, Scalar, SomeOf, ZeroOr, nested

SAFE_TO_DIFFER = {"speed", "run"}  # tables in which hospitals need not agree
IN_THE_DIGEST_OF_DATA = {"finding", "image-size"}


def config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    return path


def message(*arguments: object) -> str:
    """What `load` says when it refuses."""
    with pytest.raises(UsageError) as refused:
        setting.load(*arguments)  # type: ignore[arg-type]
    assert refused.value.exit_code == 2
    return refused.value.what + " " + refused.value.remedy


def rules_of(table: str, key: str) -> tuple[Between | OneOf | SomeOf, ...]:
    """The rules that a setting is annotated with."""
    hint = get_type_hints(setting.table_types()[table], include_extras=True)[key.replace("-", "_")]
    return getattr(hint, "__metadata__", ())


def another_value(table: str, key: str, value: Scalar) -> Scalar:
    """A valid value other than a setting's own."""
    if isinstance(value, bool):
        return not value
    for rule in rules_of(table, key):
        if isinstance(rule, OneOf):
            return next(other for other in rule.values if other != value)
        if isinstance(rule, SomeOf):
            return "" if value else rule.values[0]
        if isinstance(rule, ZeroOr):
            return 0 if value else int(rule.low)
        if isinstance(value, int):
            return value + 1 if value < rule.high else value - 1
    return value + "x" if isinstance(value, str) else float(value) / 2 or 0.5


ALL_SETTINGS = [(table, key, value) for table, keys in setting.default_tables().items() for key, value in keys.items()]
EACH = pytest.mark.parametrize(
    ("table", "key", "value"), ALL_SETTINGS, ids=[f"{table}.{key}" for table, key, _ in ALL_SETTINGS]
)


def test_later_wins_over_file_and_file_over_default(tmp_path: Path) -> None:
    file = config(tmp_path, "[training]\nrounds = 7\nseed = 8\nbatch-size = 9\n")
    loaded = setting.load(file, ("training.seed", 20), ("training.batch-size", 21), ("training.batch-size", "22"))
    assert (loaded.training.rounds, loaded.training.seed, loaded.training.batch_size) == (7, 20, 22)
    assert loaded.training.local_epochs == setting.load().training.local_epochs


def test_a_text_is_read_as_the_settings_type_whatever_a_file_has_set(tmp_path: Path) -> None:
    """A file may write a whole number for a fraction; that does not make the setting a whole number."""
    file = config(tmp_path, "[training]\nlearning-rate = 1\n")
    assert setting.load(file).training.learning_rate == 1.0
    assert type(setting.load(file).training.learning_rate) is float
    assert setting.load(file, ("training.learning-rate", "0.25")).training.learning_rate == 0.25


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("training.rounds", "12", 12),
        ("privacy.delta", "1e-7", 1e-7),
        ("privacy.clip-norm", "3", 3.0),
        ("data.source", "123", "123"),
        ("data.source", "", ""),
        ("privacy.mode", "update", "update"),
    ],
)
def test_texts_are_parsed(key: str, text: str, value: Scalar) -> None:
    table, _, name = key.partition(".")
    parsed = getattr(getattr(setting.load(None, (key, text)), table), name.replace("-", "_"))
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("training.rounds", "many", "a whole number"),
        ("training.rounds", "1.5", "a whole number"),
        ("training.rounds", 1.0, "a whole number"),
        ("training.rounds", True, "a whole number"),
        ("training.rounds", "9" * 5000, "a whole number"),
        ("privacy.delta", "small", "a number"),
        ("privacy.delta", True, "a number"),
        ("data.source", 3, "a text"),
        ("training.rounds", 0, "at least 1"),
        ("training.seed", 10**400, "at most"),
        ("data.alpha", 10**400, "smaller"),
        ("data.alpha", 0, "above 0"),
        ("data.alpha", "nan", "above 0"),
        ("data.alpha", math.inf, "at most"),
        ("privacy.clip-norm", -1.0, "above 0"),
        ("data.hospitals", 129, "at most 128"),
        ("ledger.release-threshold", 1, "must be 0, or at least 2 and at most 128"),
        ("data.partition", "random", "iid, dirichlet, by-column"),
    ],
)
def test_a_wrong_value_is_refused_by_the_tomls_own_key(key: str, value: Scalar, words: str) -> None:
    said = message(None, (key, value))
    assert key in said
    assert words in said


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("training.round", "training.rounds"),
        ("privacy.clip_norm", "privacy.clip-norm"),
        ("trainng.seed", "training.seed"),
        ("rounds", "training.rounds"),
        ("data", "data.alpha"),
    ],
)
def test_an_unknown_key_names_its_closest(typed: str, meant: str) -> None:
    said = message(None, (typed, "1"))
    assert f"{typed!r}" in said
    assert meant.partition(".")[0] in said.partition("Did you mean")[2]
    if meant != "data.alpha":
        assert f"Did you mean {meant!r}?" in said


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    assert "no-such.toml" in message(tmp_path / "no-such.toml")
    assert "could not be read" in message(tmp_path)
    for text in ("training = [", "[training]\nrounds = 99" + "9" * 5000, "[training]\nrounds = 1\nrounds = 2"):
        assert "not valid TOML" in message(config(tmp_path, text))
    (tmp_path / "settings.toml").write_bytes(b"\xff\xfe")
    assert "not valid TOML" in message(tmp_path / "settings.toml")
    assert "outside any table" in message(config(tmp_path, "rounds = 3"))
    assert "Did you mean 'training.rounds'?" in message(config(tmp_path, "[training]\nround = 3"))


@pytest.mark.parametrize(
    "text",
    ["a = " + "[" * 100_000, "a = " + "{a=" * 3_000 + "1" + "}" * 3_000, "a" + ".a" * 20_000 + " = 1"],
    ids=["lists", "tables in one line", "a key of many dots"],
)
def test_files_that_nest_without_end_are_refused(tmp_path: Path, text: str) -> None:
    assert "nests too deeply" in message(config(tmp_path, text))


def test_a_file_of_settings_is_a_regular_one_of_sane_size(tmp_path: Path) -> None:
    """A pipe would be waited for, and a device never ends."""
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in message(tmp_path / "pipe")
    assert "not a regular file" in message(Path("/dev/zero"))
    assert "null byte" in message(Path("a\0b"))
    with (tmp_path / "long.toml").open("wb") as file:
        file.truncate(2**30)
    assert "longer than" in message(tmp_path / "long.toml")


def test_one_table_under_two_names_loses_nothing(tmp_path: Path) -> None:
    """TOML takes [a.b] and ["a.b"] for two; here they are one, and neither replaces the other."""
    halves = ["[server-optimizer.adam]\nlearning-rate = 0.5\n", '["server-optimizer.adam"]\nmomentum = 0.25\n']
    for text in ("".join(halves), "".join(reversed(halves))):
        loaded = setting.load(config(tmp_path, text)).server_optimizer.options["adam"]
        assert loaded == AdaptiveOptions(0.5, 0.25, 0.99, 0.001)
    twice = halves[1] + "[server-optimizer.adam]\nmomentum = 0.5\n"
    assert "momentum is given twice" in message(config(tmp_path, twice))


def test_an_unknown_table_is_refused_though_it_is_empty(tmp_path: Path) -> None:
    assert "Did you mean 'training'?" in message(config(tmp_path, "[trainng]\n"))
    assert setting.load(config(tmp_path, "[training]\n[server-optimizer]\n")) == setting.load()


def test_incomplete_or_foreign_tables_are_refused() -> None:
    tables = setting.default_tables()
    del tables["training"]["seed"]
    with pytest.raises(UsageError, match=r"training\.seed is missing"):
        setting.from_tables(tables)
    with pytest.raises(UsageError, match="Did you mean 'model'"):
        setting.from_tables(setting.default_tables() | {"modell": {}})
    without = setting.default_tables()
    del without["server-optimizer.adam"]
    with pytest.raises(UsageError, match=r"server-optimizer\.adam\.learning-rate is missing"):
        setting.from_tables(without)
    with pytest.raises(UsageError, match=r"no setting 'server-optimizer\.sgd'"):
        setting.from_tables(setting.default_tables() | {"server-optimizer.sgd": {}})


def test_options_of_a_plugin_are_a_table_inside_that_of_its_kind(tmp_path: Path) -> None:
    text = '[server-optimizer]\nname = "adam"\n[server-optimizer.adam]\nlearning-rate = 0.5\n'
    loaded = setting.load(config(tmp_path, text), ("server-optimizer.adam.momentum", "0.25"))
    assert loaded.server_optimizer.name == "adam"
    assert loaded.server_optimizer.options["adam"] == AdaptiveOptions(0.5, 0.25, 0.99, 0.001)
    assert loaded.server_optimizer.options["yogi"] == AdaptiveOptions(0.01, 0.9, 0.99, 0.001)
    # Whoever writes them as TOML and reads that again has the same.
    again = tmp_path / "again.toml"
    again.write_bytes(tomli_w.dumps(nested(setting.to_tables(loaded))).encode())
    assert "[server-optimizer.adam]" in again.read_text()
    assert setting.load(again) == loaded
    assert "server-optimizer.adam.momentum" in message(None, ("server-optimizer.adam.momentm", 1))
    assert "server-optimizer.adam.momentum" in message(None, ("server-optimizer.adam.momentum", 1))


def test_options_that_are_not_chosen_are_in_the_digest_too() -> None:
    """Nobody need know which plug-in reads which table to see that two hospitals agree."""
    before = setting.load()
    assert before.server_optimizer.name == "none"
    assert setting.replace(before, "server-optimizer.adam.decay", 0.5).digest() != before.digest()


def test_the_digest_of_stored_tables_needs_no_knowledge_of_them() -> None:
    """An audit finds that of a run whose settings had other names."""
    tables = setting.to_tables(setting.load())
    assert setting.guaranteed(tables) == setting.load().guaranteed()
    older = {name: table for name, table in tables.items() if "." not in name} | {"voting": {"tolerance": 0.1}}
    kept = setting.guaranteed(older)
    assert kept["voting"] == {"tolerance": 0.1}
    assert set(kept) == set(older) - {"speed", "run"}
    assert kept["data"] == {"finding": "auto", "image-size": 64}
    assert kept["model"] == {"name": "cnn"}


def test_flowers_flat_config_gives_the_same_settings() -> None:
    flat = {f"{table}.{key}": value for table, key, value in ALL_SETTINGS}
    assert setting.from_run_config(flat) == setting.load()
    with pytest.raises(UsageError):
        setting.from_run_config(flat | {"training": 1})


@EACH
def test_replace_changes_one_value_and_nothing_else(table: str, key: str, value: Scalar) -> None:
    other = another_value(table, key, value)
    changed = setting.to_tables(setting.replace(setting.load(), f"{table}.{key}", other))
    assert changed[table].pop(key) == other
    rest = setting.default_tables()
    rest[table].pop(key)
    assert changed == rest


@EACH
def test_the_digest_covers_what_carries_a_guarantee_or_changes_a_result(table: str, key: str, value: Scalar) -> None:
    before = setting.load()
    after = setting.replace(before, f"{table}.{key}", another_value(table, key, value))
    covered = table not in SAFE_TO_DIFFER and (table != "data" or key in IN_THE_DIGEST_OF_DATA)
    covered &= (table, key) != ("model", "weights")  # a path of the hospital's own; the weights' digest is apart
    assert (before.digest() != after.digest()) == covered


def test_the_digest_does_not_depend_on_how_a_number_was_written(tmp_path: Path) -> None:
    whole, fraction = (config(tmp_path, f"[privacy]\nclip-norm = {text}\n") for text in ("1", "1.0"))
    assert setting.load(whole).digest() == setting.load(fraction).digest()
    assert len(setting.load().digest()) == 32


@EACH
def test_bounds_are_held_at_their_very_edge(table: str, key: str, value: Scalar) -> None:
    for rule in rules_of(table, key):
        if not isinstance(rule, Between):
            continue
        edges = (rule.low, rule.high) if not rule.above else (rule.high,)
        for edge in edges:
            setting.load(None, (f"{table}.{key}", type(value)(edge)))
        step = 1 if isinstance(value, int) else 1e-6
        for beyond in (rule.low if rule.above else rule.low - step, rule.high + step):
            assert f"{table}.{key}" in message(None, (f"{table}.{key}", type(value)(beyond)))


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setting.load().training.seed = 5  # type: ignore[misc]


@pytest.mark.parametrize("key", ["ledger.submission-timeout-s", "ledger.voting-timeout-s"])
def test_a_phase_is_longer_than_the_chain_may_run_ahead_of_the_clock(key: str) -> None:
    """Whoever can send transactions takes the chain 15 s ahead, and could end a phase of less than that at once."""
    assert MAX_AHEAD_S <= 15  # as far as Ethereum clients accept a block from the future
    assert SHORTEST_PHASE_S >= 10 * MAX_AHEAD_S
    assert setting.replace(setting.load(), key, SHORTEST_PHASE_S)
    for short in (SHORTEST_PHASE_S - 1, 57, 1, 0):
        with pytest.raises(UsageError, match=f"{key} is {short} but must be at least 180"):
            setting.replace(setting.load(), key, short)


def test_a_byte_order_mark_before_a_table_is_none_of_it(tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_bytes(b"\xef\xbb\xbf[training]\r\nrounds = 7\r\n")
    assert setting.load(config).training.rounds == 7
