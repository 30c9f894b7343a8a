"""Settings: one frozen dataclass a stage, filled from `[tool.flwr.app.config]` of pyproject.toml.

The defaults live in that file and nowhere else. Nothing is guessed: an unknown key names its closest known one,
and a wrong type or range names the TOML key.
"""

import dataclasses
import difflib
import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from fedward.errors import UsageError

Scalar = bool | int | float | str
Table = dict[str, dict[str, Scalar]]

PROJECT_FILE = Path(__file__).resolve().parent.parent / "pyproject.toml"


@dataclass(frozen=True)
class Between:
    """Bounds of a number, both included unless `above` is set (then the lower one is not)."""

    low: float
    high: float
    above: bool = False

    def problem(self, value: Scalar) -> str | None:
        """Say what is wrong with a value, or None."""
        number = value if isinstance(value, int) else float(value)  # a whole number may be too large for a float
        if (number > self.low if self.above else number >= self.low) and number <= self.high:
            return None
        lower = f"above {self.low:g}" if self.above else f"at least {self.low:g}"
        return f"must be {lower} and at most {self.high:g}"


@dataclass(frozen=True)
class OneOf:
    """The only values that a text may take."""

    values: tuple[str, ...]

    def problem(self, value: Scalar) -> str | None:
        """Say what is wrong with a value, or None."""
        return None if value in self.values else f"must be one of {', '.join(self.values)}"


@dataclass(frozen=True)
class DataSettings:
    """Where the images come from and how they are shared out."""

    source: str
    finding: str
    hospitals: Annotated[int, Between(2, 128)]
    partition: Annotated[str, OneOf(("iid", "dirichlet", "by-column"))]
    alpha: Annotated[float, Between(0, 1e6, above=True)]
    column: str
    image_size: Annotated[int, Between(16, 512)]
    val_share: Annotated[float, Between(0, 0.5, above=True)]
    test_share: Annotated[float, Between(0, 0.5, above=True)]
    max_bad_share: Annotated[float, Between(0, 1)]
    synthetic_images: Annotated[int, Between(60, 1_000_000)]


@dataclass(frozen=True)
class ModelSettings:
    """Which architecture is trained, and from which weights."""

    name: Annotated[str, OneOf(("cnn", "densenet121", "scatter"))]
    weights: str


@dataclass(frozen=True)
class TrainingSettings:
    """How each hospital trains, and for how many rounds."""

    seed: Annotated[int, Between(0, 2**31 - 1)]
    rounds: Annotated[int, Between(1, 10_000)]
    local_epochs: Annotated[int, Between(1, 1_000)]
    batch_size: Annotated[int, Between(1, 4_096)]
    learning_rate: Annotated[float, Between(0, 10, above=True)]
    proximal_mu: Annotated[float, Between(0, 1_000)]
    positive_weight: Annotated[float, Between(0.01, 100)]
    server_optimizer: Annotated[str, OneOf(("none", "momentum", "adam", "yogi"))]
    server_learning_rate: Annotated[float, Between(0, 10)]
    server_momentum: Annotated[float, Between(0, 0.999)]
    server_decay: Annotated[float, Between(0, 0.99999)]
    server_floor: Annotated[float, Between(1e-6, 1)]


@dataclass(frozen=True)
class PrivacySettings:
    """What is clipped, and how much noise is added before anything leaves a hospital."""

    mode: Annotated[str, OneOf(("none", "update", "sample"))]
    unit: Annotated[str, OneOf(("patient", "image"))]
    clip_norm: Annotated[float, Between(0, 1e6, above=True)]
    noise_multiplier: Annotated[float, Between(0, 1e6, above=True)]
    delta: Annotated[float, Between(0, 0.1, above=True)]
    target_epsilon: Annotated[float, Between(0, 1_000)]
    budget: Annotated[float, Between(0, 1e6)]
    sampling_rate: Annotated[float, Between(0, 1, above=True)]
    steps: Annotated[int, Between(1, 100_000)]
    learning_rate: Annotated[float, Between(0, 1_000, above=True)]
    momentum: Annotated[float, Between(0, 0.999)]


@dataclass(frozen=True)
class EncryptionSettings:
    """The public range of an update's coordinates, and how finely it is divided."""

    value_range: Annotated[float, Between(0, 1e6, above=True)]
    field_bits: Annotated[int, Between(0, 40)]
    preset: Annotated[str, OneOf(("exact", "fine", "small"))]


@dataclass(frozen=True)
class LedgerSettings:
    """The contract's rules for a round."""

    chain_id: Annotated[int, Between(1, 2**31 - 1)]
    min_included: Annotated[int, Between(2, 128)]
    reject_quorum: Annotated[int, Between(0, 128)]
    min_votes: Annotated[int, Between(0, 128)]
    submission_timeout_s: Annotated[int, Between(1, 30 * 24 * 3600)]
    voting_timeout_s: Annotated[int, Between(1, 30 * 24 * 3600)]
    witness_required: bool


@dataclass(frozen=True)
class VotingSettings:
    """When a candidate model is clearly worse than the one it would replace."""

    tolerance: Annotated[float, Between(0, 100)]
    z_score: Annotated[float, Between(0, 100)]


@dataclass(frozen=True)
class MetricsSettings:
    """Whether validation counts reach the server encrypted."""

    encrypted: bool


@dataclass(frozen=True)
class SpeedSettings:
    """Settings that change how long a run takes, and nothing else."""

    clients_at_once: Annotated[int, Between(0, 1_024)]
    poll_interval_s: Annotated[float, Between(0, 60, above=True)]
    encryption_workers: Annotated[int, Between(0, 64)]


@dataclass(frozen=True)
class RunSettings:
    """The server's own: where its folder is and its node of the ledger listens; filled in by whoever starts it.

    Hospitals are sent these with the rest, and use neither: each has its own folder, and its own node's address in it.
    """

    folder: str
    rpc_url: str


@dataclass(frozen=True)
class Settings:
    """All of them, a table a stage."""

    data: DataSettings
    model: ModelSettings
    training: TrainingSettings
    privacy: PrivacySettings
    encryption: EncryptionSettings
    ledger: LedgerSettings
    voting: VotingSettings
    metrics: MetricsSettings
    speed: SpeedSettings
    run: RunSettings

    def digest(self) -> bytes:
        """32 bytes that change with any setting that carries a guarantee or changes a result."""
        return digest_of(self.guaranteed())

    def guaranteed(self) -> Table:
        """The tables behind the digest.

        What each hospital has of its own is left out, so that all of them agree: where its data lies and how a
        simulation shares it out, speed, and the run's own paths.
        """
        guaranteed = {name: table for name, table in to_tables(self).items() if name not in ("data", "speed", "run")}
        # Where a hospital keeps the initial weights is its own matter; which they are is on the ledger by themselves.
        guaranteed["model"] = {"name": self.model.name}
        guaranteed["data"] = {"finding": self.data.finding, "image-size": self.data.image_size}
        return guaranteed


def digest_of(tables: Mapping[str, Mapping[str, Any]]) -> bytes:
    """SHA-256 of settings as JSON with sorted keys and no spaces: what the ledger records as the settings digest."""
    return hashlib.sha256(json.dumps(tables, sort_keys=True, separators=(",", ":")).encode()).digest()


def default_tables() -> Table:
    """The defaults, as they stand in pyproject.toml."""
    with PROJECT_FILE.open("rb") as file:
        tables: Table = tomllib.load(file)["tool"]["flwr"]["app"]["config"]
    return tables


def to_tables(settings: Settings) -> Table:
    """The settings as nested tables with the TOML's own keys."""
    return {
        table.name: {
            key.replace("_", "-"): value for key, value in dataclasses.asdict(getattr(settings, table.name)).items()
        }
        for table in dataclasses.fields(settings)
    }


def from_tables(tables: Mapping[str, Mapping[str, Any]]) -> Settings:
    """Check complete nested tables and freeze them.

    Args:
        tables: One mapping a table, keys in kebab-case; every key must be there.

    Raises:
        UsageError: a key is unknown or missing, or a value is of the wrong type or out of range.
    """
    hints = get_type_hints(Settings)
    for name in tables:
        if name not in hints:
            raise _unknown(name, list(hints))
    return Settings(**{name: _table(name, table_type, tables.get(name, {})) for name, table_type in hints.items()})


def from_run_config(flat: Mapping[str, Scalar]) -> Settings:
    """Settings from Flower's run config, whose keys are flattened to `table.key`."""
    tables: Table = {}
    for dotted, value in flat.items():
        table, _, key = dotted.partition(".")
        tables.setdefault(table, {})[key] = value
    return from_tables(tables)


def load(config_file: Path | None = None, *overrides: tuple[str, Scalar]) -> Settings:
    """Settings in the order of precedence: defaults, then a TOML file, then overrides from first to last.

    Args:
        config_file: A TOML file with the same tables as the defaults, as few or as many as wanted.
        overrides: Pairs of `table.key` and value. Texts are read as the type that the key has.

    Raises:
        UsageError: the file cannot be read, or a key or value is wrong.
    """
    tables = default_tables()
    if config_file is not None:
        for table, values in _read_toml(config_file).items():
            if not isinstance(values, dict):
                raise UsageError(
                    f"{config_file}: '{table}' stands outside any table.", "Put it below a header such as [training]."
                )
            for key, value in values.items():
                _set(tables, f"{table}.{key}", value)
    for dotted, value in overrides:
        _set(tables, dotted, value)
    return from_tables(tables)


def parse_assignment(text: str) -> tuple[str, str]:
    """Split `table.key=value`.

    Raises:
        UsageError: there is no equals sign.
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set {text} has no value.", "Write --set table.key=value.")
    return key.strip(), value.strip()


def replace(settings: Settings, dotted: str, value: Scalar) -> Settings:
    """The same settings but for one value.

    Raises:
        UsageError: there is no such setting, or the value is wrong.
    """
    tables = to_tables(settings)
    _set(tables, dotted, value)
    return from_tables(tables)


def _read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file, or say why not."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise UsageError(
            f"The settings file {path} could not be read: {error.strerror}.", "Check the path given to --config."
        ) from error
    except ValueError as error:  # of the TOML, the UTF-8, or a number with thousands of digits
        raise UsageError(f"{path} is not valid TOML: {error}.", "Correct it; config/ has examples.") from error


def _set(tables: Table, dotted: str, value: Scalar) -> None:
    """Replace one value, reading a text as the type that the setting has."""
    table, _, key = dotted.partition(".")
    known = [f"{name}.{known_key}" for name, values in tables.items() for known_key in values]
    if dotted not in known:
        raise _unknown(dotted, known)
    tables[table][key] = _parse(dotted, value, _wanted_type(table, key)) if isinstance(value, str) else value


def _wanted_type(table: str, key: str) -> type:
    """The type that a setting has, whatever it is set to so far."""
    wanted: type = get_type_hints(get_type_hints(Settings)[table])[key.replace("-", "_")]
    return wanted


def _parse(dotted: str, text: str, wanted: type) -> Scalar:
    """Read a text as bool, int, float or str."""
    if wanted is str:
        return text
    if wanted is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        if wanted in (int, float):
            return wanted(text)
    except ValueError:
        pass
    raise _wrong(dotted, text, f"must be {_TYPE_WORDS[wanted]}")


def _table(name: str, table_type: type, values: Mapping[str, Any]) -> Any:
    """Check one table against its dataclass and build it."""
    hints = get_type_hints(table_type, include_extras=True)
    keys = {field_name.replace("_", "-"): field_name for field_name in hints}
    for key in values:
        if key not in keys:
            raise _unknown(f"{name}.{key}", [f"{name}.{known}" for known in keys])
    missing = [key for key in keys if key not in values]
    if missing:
        raise UsageError(f"The setting {name}.{missing[0]} is missing.", "Take pyproject.toml's tables as they are.")
    return table_type(
        **{keys[key]: _checked(f"{name}.{key}", value, hints[keys[key]]) for key, value in values.items()}
    )


_TYPE_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def _checked(dotted: str, value: Any, hint: Any) -> Scalar:
    """Check one value's type and range; a whole number passes for a float."""
    wanted, rules = (get_args(hint)[0], get_args(hint)[1:]) if get_origin(hint) is Annotated else (hint, ())
    if wanted is float and type(value) is int:
        try:
            value = float(value)
        except OverflowError as error:
            raise _wrong(dotted, value, "must be smaller") from error
    if type(value) is not wanted:
        raise _wrong(dotted, value, f"must be {_TYPE_WORDS[wanted]}")
    for rule in rules:
        problem = rule.problem(value)
        if problem:
            raise _wrong(dotted, value, problem)
    return value  # type: ignore[no-any-return]


def _wrong(dotted: str, value: object, problem: str) -> UsageError:
    return UsageError(f"The setting {dotted} is {value!r} but {problem}.", f"Change it with --set {dotted}=VALUE.")


def _unknown(name: str, known: list[str]) -> UsageError:
    closest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return UsageError(f"There is no setting {name!r}.", f"Did you mean {closest[0]!r}?" if closest else "")
