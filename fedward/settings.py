"""Settings: a frozen dataclass for each table, loaded from pyproject.toml, TOML files and overrides, and checked.

The defaults stand in `[tool.flwr.app.config]` of pyproject.toml and nowhere else. Nothing is guessed: the error for an
unknown key names the closest known key, and the error for a wrong type or range names the TOML key.

`fedward.plugins` has what can be chosen by a name. Options of the plug-in NAME are a table of their own,
`KIND.NAME`: `server-optimizer.adam` is the table of the options of the server optimizer "adam".
"""

import dataclasses
import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, get_type_hints

from fedward.conflicts import check_adversarial_training
from fedward.errors import UsageError
from fedward.plugins import (
    DETECTORS,
    IMAGE_ENCRYPTIONS,
    KINDS,
    MODELS,
    PRIVACY_MODES,
    SERVER_OPTIMIZERS,
    DetectorOptions,
    ImageEncryptionOptions,
    NoOptions,
    ServerOptimizerOptions,
)
from fedward.tables import (
    Between,
    OneOf,
    Scalar,
    SomeOf,
    Tables,
    ZeroOr,
    check_table,
    flat,
    kebab,
    listed,
    one_table,
    parse,
    read_toml,
    run_tables,
    unknown,
    values_of,
)

# Of a phase of a round. A party that can send transactions can move the embedded chain's time up to 15 s ahead of
# the clock, and validators of other chains as much; that must not end a phase, or take much of it.
SHORTEST_PHASE_S = 180

PROJECT_FILE = Path(__file__).resolve().parent.parent / "pyproject.toml"


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
    patients: str
    patient_regex: str
    uncertain: Annotated[str, OneOf(("leave-out", "negative", "positive"))]
    contradictions: Annotated[str, OneOf(("leave-out", "keep"))]
    synthetic_images: Annotated[int, Between(60, 1_000_000)]


@dataclass(frozen=True)
class ModelSettings:
    """Which architecture is trained, and from which weights."""

    name: Annotated[str, OneOf(tuple(MODELS))]
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
    adversarial: Annotated[str, OneOf(("none", "fgsm", "pgd", "mixed"))]
    adversarial_eps: Annotated[float, Between(0, 1)]
    adversarial_share: Annotated[float, Between(0, 1)]


@dataclass(frozen=True)
class ServerOptimizerSettings:
    """How hospitals apply a round's mean update to the model; the server never sees a mean update."""

    name: Annotated[str, OneOf(tuple(SERVER_OPTIMIZERS))]
    options: Mapping[str, ServerOptimizerOptions] = dataclasses.field(hash=False)


@dataclass(frozen=True)
class PrivacySettings:
    """What is clipped, and how much noise is added before anything leaves a hospital."""

    mode: Annotated[str, OneOf(tuple(PRIVACY_MODES))]
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
    preset: Annotated[str, OneOf(("exact", "fine", "small"))]


@dataclass(frozen=True)
class LedgerSettings:
    """The contract's rules for a round."""

    chain_id: Annotated[int, Between(1, 2**31 - 1)]
    min_included: Annotated[int, Between(2, 128)]
    reject_quorum: Annotated[int, Between(0, 128)]
    min_votes: Annotated[int, Between(0, 128)]
    release_threshold: Annotated[int, ZeroOr(2, 128)]
    submission_timeout_s: Annotated[int, Between(SHORTEST_PHASE_S, 30 * 24 * 3600)]
    voting_timeout_s: Annotated[int, Between(SHORTEST_PHASE_S, 30 * 24 * 3600)]
    witness_required: bool


@dataclass(frozen=True)
class DetectorSettings:
    """Which detectors look at a candidate model at every hospital."""

    names: Annotated[str, SomeOf(tuple(DETECTORS))]
    options: Mapping[str, DetectorOptions] = dataclasses.field(hash=False)

    def chosen(self) -> dict[str, DetectorOptions]:
        """The options of each detector that is named, in that order."""
        return {name: self.options[name] for name in listed(self.names)}


@dataclass(frozen=True)
class AttributionSettings:
    """How whoever ruins rounds is found: `blockchain.attribution` says how, and what each means."""

    suspension: Annotated[int, Between(0, 10_000)]
    patience: Annotated[int, Between(1, 1_000)]


@dataclass(frozen=True)
class ImageEncryptionSettings:
    """How images that others may see are encrypted; with any method, a hospital keeps its own sealed, too."""

    method: Annotated[str, OneOf(tuple(IMAGE_ENCRYPTIONS))]
    options: Mapping[str, ImageEncryptionOptions] = dataclasses.field(hash=False)

    @property
    def at_rest(self) -> bool:
        """Whether a hospital keeps its images sealed, and no decoded ones in a cache."""
        return self.method != "none"


@dataclass(frozen=True)
class MetricsSettings:
    """Whether validation counts reach the server encrypted."""

    encrypted: bool


@dataclass(frozen=True)
class SpeedSettings:
    """Settings that change how long a run takes, and nothing else."""

    clients_at_once: Annotated[int, Between(0, 1_024)]
    poll_interval_s: Annotated[float, Between(0, 60, above=True)]
    answer_timeout_s: Annotated[float, Between(0, 24 * 3600, above=True)]


@dataclass(frozen=True)
class RunSettings:
    """The server's own folder, the address of its node of the ledger, and of how many rounds it keeps single updates.

    Filled in by whoever starts the server. Hospitals are sent these with all settings, and use none: each has a folder
    of its own, with the address of its own node inside.
    """

    folder: str
    rpc_url: str
    keep_rounds: Annotated[int, Between(0, 1_000_000)]


@dataclass(frozen=True)
class Settings:
    """All settings, one attribute for each table."""

    data: DataSettings
    model: ModelSettings
    training: TrainingSettings
    server_optimizer: ServerOptimizerSettings
    privacy: PrivacySettings
    encryption: EncryptionSettings
    ledger: LedgerSettings
    detectors: DetectorSettings
    attribution: AttributionSettings
    image_encryption: ImageEncryptionSettings
    metrics: MetricsSettings
    speed: SpeedSettings
    run: RunSettings

    def __post_init__(self) -> None:
        check_adversarial_training(self.training.adversarial, self.model.name)

    def digest(self) -> bytes:
        """32 bytes that change with any setting that carries a guarantee or changes a result."""
        return digest_of(self.guaranteed())

    def guaranteed(self) -> Tables:
        """The tables behind the digest."""
        return guaranteed(to_tables(self))


def guaranteed(tables: Mapping[str, Mapping[str, Any]]) -> Tables:
    """The part of all settings that is in the digest.

    It is computed from the tables as they are, so that an audit can compute the digest of a run of another version,
    whose settings had other names.

    What each hospital has of its own is left out, so that all of them agree: where its data lies and how a
    simulation shares it out, speed, and the run's own paths. Where a hospital keeps the initial weights is left out,
    too: the ledger records the digest of those weights.

    Args:
        tables: All settings, complete.

    Raises:
        KeyError: there is no table `data` or `model`, or it lacks what is in the digest of it.
    """
    kept = {name: dict(table) for name, table in tables.items() if name not in ("data", "speed", "run")}
    kept["model"] = {"name": tables["model"]["name"]}
    kept["data"] = {key: tables["data"][key] for key in ("finding", "image-size")}
    return kept


def digest_of(tables: Mapping[str, Mapping[str, Any]]) -> bytes:
    """SHA-256 of settings as JSON with sorted keys and no spaces: what the ledger records as the settings digest."""
    return hashlib.sha256(json.dumps(tables, sort_keys=True, separators=(",", ":")).encode()).digest()


def default_tables() -> Tables:
    """The defaults, as they stand in pyproject.toml."""
    with PROJECT_FILE.open("rb") as file:
        return flat(tomllib.load(file)["tool"]["flwr"]["app"]["config"])


def table_types() -> dict[str, type]:
    """The dataclass of each table, by the table's name: those of settings, and those of plug-ins' options."""
    found: dict[str, type] = {}
    registries = {dotted.partition(".")[0]: registry for dotted, registry in KINDS.items()}
    for field, kind in get_type_hints(Settings).items():
        found[kebab(field)] = kind
        for name, plugin in registries.get(kebab(field), {}).items():
            if plugin.options is not NoOptions:
                found[f"{kebab(field)}.{name}"] = plugin.options
    return found


def to_tables(settings: Settings) -> Tables:
    """The settings as tables with the TOML's own keys."""
    tables: Tables = {}
    for field in dataclasses.fields(settings):
        table, name = getattr(settings, field.name), kebab(field.name)
        tables[name] = values_of(table)
        for plugin, options in getattr(table, "options", {}).items():
            if not isinstance(options, NoOptions):
                tables[f"{name}.{plugin}"] = values_of(options)
    return tables


def from_tables(tables: Mapping[str, Mapping[str, Any]]) -> Settings:
    """Check complete tables and freeze them.

    Args:
        tables: One mapping a table, keys in kebab-case; every key must be there.

    Raises:
        UsageError: a key is unknown or missing, or a value is of the wrong type or out of range.
    """
    types = table_types()
    for name in tables:
        if name not in types:
            raise unknown(name, list(types))
    built: dict[str, Any] = {
        name: one_table(name, kind, tables.get(name, {})) for name, kind in types.items() if "." in name
    }
    for field, kind in get_type_hints(Settings).items():
        name = kebab(field)
        built[name] = one_table(name, kind, tables.get(name, {}), _options(name, built))
    return Settings(**{field: built[kebab(field)] for field in get_type_hints(Settings)})


def from_run(tables: Mapping[str, Mapping[str, Any]]) -> Settings:
    """Settings of a run that was started before, from the tables in its `run.json`.

    Raises:
        UsageError: another version of Fedward started it, with other settings than this one knows.
    """
    try:
        return from_tables(tables)
    except UsageError as error:
        raise UsageError(
            f"This run's settings are not this version's. {error.what}",
            "Use the version of Fedward that started the run; `audit`, `export`, `evaluate` and `keys` need not.",
        ) from error


def to_run_config(settings: Settings) -> dict[str, Scalar]:
    """The settings as Flower's run config has them, whose keys are flattened to `table.key`."""
    tables = to_tables(settings)
    return {f"{table}.{key}": value for table, keys in tables.items() for key, value in keys.items()}


def from_run_config(flat: Mapping[str, Scalar]) -> Settings:
    """Settings from Flower's run config, whose keys are flattened to `table.key`."""
    return from_tables(run_tables(flat))


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
        for table, values in flat(read_toml(config_file)).items():
            check_table(config_file, table, values, tables)
            for key, value in values.items():
                _set(tables, f"{table}.{key}", value)
    for dotted, value in overrides:
        _set(tables, dotted, value)
    return from_tables(tables)


def replace(settings: Settings, dotted: str, value: Scalar) -> Settings:
    """The same settings but for one value.

    Raises:
        UsageError: there is no such setting, or the value is wrong.
    """
    tables = to_tables(settings)
    _set(tables, dotted, value)
    return from_tables(tables)


def _options(kind: str, built: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options of each plug-in of a kind, taken from the tables that are built already."""
    registry = next((found for dotted, found in KINDS.items() if dotted.startswith(f"{kind}.")), {})
    return MappingProxyType({name: built.get(f"{kind}.{name}", NoOptions()) for name in registry})


def _set(tables: Tables, dotted: str, value: Scalar) -> None:
    """Replace one value, reading a text as the type that the setting has."""
    table, _, key = dotted.rpartition(".")
    known = [f"{name}.{known_key}" for name, values in tables.items() for known_key in values]
    if dotted not in known:
        raise unknown(dotted, known)
    tables[table][key] = parse(dotted, value, _wanted_type(table, key)) if isinstance(value, str) else value


def _wanted_type(table: str, key: str) -> type:
    """The type that a setting has, whatever it is set to so far."""
    return get_type_hints(table_types()[table])[key.replace("-", "_")]  # type: ignore[no-any-return]
