"""The project's file: what the parties of a study on separate hosts agree on before any of them starts a process.

The administrator writes the tables `study`, `server` and `settings`. `main.py provision` adds the table `deployed`,
which says which ledger and which code the study has, and hands the file on to the hospitals. Nothing in it is secret;
that all have the same one is confirmed by people, who read its numbers to each other (`fedward.hosts.spoken`).
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tomli_w

from fedward import settings as setting
from fedward.checked_json import Matching, UnfitJsonError, checked, to_json
from fedward.errors import UsageError
from fedward.files import read_file, write_atomic
from fedward.settings import Settings
from fedward.tables import Between, flat, nested, parse_toml
from fedward.types import Address, HospitalId

MOST_BYTES = 1024 * 1024

NAME = Matching(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", "a name of at most 32 small letters, digits and hyphens")
_HOST = Matching(r"[A-Za-z0-9.:-]{1,253}", "a host's name or IP address")
ADDRESS = Matching(r"0x[0-9a-fA-F]{40}", "an address: 0x and 40 hexadecimal digits")
DIGEST = Matching(r"[0-9a-f]{64}", "64 hexadecimal digits")


@dataclass(frozen=True)
class Study:
    """What is trained, and by whom.

    Attributes:
        name: The study's, for people and files.
        hospitals: Their names. The first one deals the keys that hide releases from the server.
        findings: What the model tells, in the order of its outputs.
        class_names: Names without and with the finding; or the findings, where there are several.
    """

    name: Annotated[str, NAME]
    hospitals: tuple[Annotated[HospitalId, NAME], ...]
    findings: tuple[str, ...]
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """Where the server answers, by TLS: the one port that hospitals reach.

    Attributes:
        host: Its name or IP address, as hospitals reach it; the certificate names it.
        port: Its TCP port.
    """

    host: Annotated[str, _HOST]
    port: Annotated[int, Between(1, 65535)]


@dataclass(frozen=True)
class Deployed:
    """What `provision` made, and hospitals agree to.

    Attributes:
        contract: The ledger's address.
        chain_id: The ledger's chain.
        genesis_hash: Hexadecimal; the hash of its block 0.
        settings_digest, model_digest: Hexadecimal; of the settings and the initial model, as on the ledger.
        bundle: Hexadecimal SHA-256 of the code that hospitals are to run.
        certificate: PEM; of the authority that signed the server's TLS certificate.
        witnesses: Accounts that may attest to aggregates.
    """

    contract: Annotated[Address, ADDRESS]
    chain_id: Annotated[int, Between(1, 2**31 - 1)]
    genesis_hash: Annotated[str, DIGEST]
    settings_digest: Annotated[str, DIGEST]
    model_digest: Annotated[str, DIGEST]
    bundle: Annotated[str, DIGEST]
    certificate: str
    witnesses: tuple[Annotated[Address, ADDRESS], ...] = ()


@dataclass(frozen=True)
class _Format:
    """The file's tables but for the settings."""

    study: Study
    server: Place
    deployed: Deployed | None = None


@dataclass(frozen=True)
class Project:
    """A project's file, read.

    Attributes:
        study: What is trained, and by whom.
        server: Where the server answers.
        settings: All settings: the defaults, but for those that the file gives.
        deployed: None before `provision`.
    """

    study: Study
    server: Place
    settings: Settings
    deployed: Deployed | None

    @classmethod
    def load(cls, path: Path) -> "Project":
        """Read a project's file.

        Raises:
            UsageError: it is missing or no TOML, a table or key is missing or unknown, or a value is wrong.
        """
        remedy = "Correct it; config/hosts/project.toml is an example."
        content = read_file(path, MOST_BYTES, "The project's file", "Name the file.", through_link=True)
        try:
            tables = parse_toml(content)
        except ValueError as error:
            raise UsageError(f"{path} is not valid TOML: {error}.", remedy) from error
        own_settings = tables.pop("settings", {})
        if not isinstance(own_settings, dict):
            raise UsageError(f"{path}: settings is no table.", remedy)
        given = flat(own_settings)
        try:
            found = checked(_Format, _with_underscores(tables))
        except UnfitJsonError as error:
            raise UsageError(f"{path}: {error}.", remedy) from error
        names = found.study.hospitals
        if len(names) < 2 or len(set(names)) < len(names):
            raise UsageError(f"{path}: study.hospitals must name at least two different hospitals.", remedy)
        values = [(f"{table}.{key}", value) for table, values in given.items() for key, value in values.items()]
        settings = setting.load(None, ("data.hospitals", len(names)), *values)
        return cls(found.study, found.server, settings, found.deployed)

    def save(self, path: Path) -> None:
        """Write the file, with the settings that differ from the defaults.

        Raises:
            ResourceError: the disk is full or the folder cannot be written.
        """
        defaults, tables = setting.default_tables(), setting.to_tables(self.settings)
        changed = {
            name: {key: value for key, value in table.items() if value != defaults[name][key]}
            for name, table in tables.items()
            if name != "run"
        }
        found = to_json(_Format(self.study, self.server, self.deployed))
        content = {name: table for name, table in _with_hyphens(found).items() if table is not None}
        content["settings"] = nested({name: table for name, table in changed.items() if table})
        write_atomic(path, tomli_w.dumps(content, multiline_strings=True).encode())

    def require_deployed(self) -> Deployed:
        """What `provision` added.

        Raises:
            UsageError: this is the file as it was before.
        """
        if self.deployed is None:
            raise UsageError(
                "This project's file names no ledger: it is the one from before `provision`.",
                "Ask the administrator for the file project.toml of the server's kit.",
            )
        return self.deployed

    def with_settings(self, settings: Settings) -> "Project":
        """The same project with other settings."""
        return dataclasses.replace(self, settings=settings)

    def with_deployed(self, deployed: Deployed) -> "Project":
        """The same project with what `provision` made."""
        return dataclasses.replace(self, deployed=deployed)


def _with_underscores(value: Any) -> Any:
    """The keys of nested tables as Python's names; TOML's have hyphens."""
    if isinstance(value, dict):
        return {key.replace("-", "_"): _with_underscores(inner) for key, inner in value.items()}
    return value


def _with_hyphens(value: Any) -> Any:
    if isinstance(value, dict):
        return {key.replace("_", "-"): _with_hyphens(inner) for key, inner in value.items()}
    return value
