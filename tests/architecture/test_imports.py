"""Imports go one way, and each untyped library is behind one door."""

import ast
import subprocess
import sys
from collections.abc import Iterable

import pytest
from source_tree import ROOT, Source, imported, imported_units, parse, product, reached_from

# What each unit may import beside itself: main -> commands -> blockchain -> encryption, data_preprocessing -> fedward.
ALLOWED = {
    "main": {"commands", "blockchain", "encryption", "data_preprocessing", "fedward"},
    "commands": {"blockchain", "encryption", "data_preprocessing", "fedward"},
    "client": {"blockchain", "encryption", "data_preprocessing", "fedward"},
    "server": {"blockchain", "encryption", "data_preprocessing", "fedward"},
    "blockchain": {"encryption", "data_preprocessing", "fedward"},
    "encryption": {"fedward"},
    "data_preprocessing": {"fedward"},
    "fedward": set[str](),
}
# Packages inside a unit, lowest first: each imports those before it, and no other. What stands at a unit's top level
# beside them is named too, where packages use it.
ORDER = {
    "fedward": (
        ("errors", "files", "progress", "seeding", "settings", "timing", "types"),
        ("dataset",),
        ("figures",),
        ("ciphertexts",),
        ("learning",),
        ("privacy",),
        ("local_update",),
        ("messages",),
        ("folders",),
        ("voting", "backdoor"),
        ("flower",),
    ),
    "blockchain": (
        ("identity",),
        ("ledger",),
        ("signing",),
        ("node",),
        ("twin",),
        ("verification", "catch_up", "pooled_counts", "witness"),
        ("consortium",),
        ("audit",),
    ),
}
ENTRANCES = {"main", "client", "server"}  # imported by nobody but tests, benchmarks and those who start them
LEDGER_LIBRARIES = {"web3", "eth", "eth_abi", "eth_account", "eth_keys", "eth_utils", "hexbytes", "rlp", "trie"}
TENSORFLOW_DOOR = "fedward.learning.quiet_tensorflow"
MODEL_MODULES = {
    "fedward.learning.model",
    "fedward.privacy.clipped_gradients",
    "fedward.privacy.private_training",
    "fedward.learning.model_file",
    "fedward.learning.training",
    "fedward.local_update",
    "fedward.folders.hospital",
    "fedward.backdoor",
}


def layer_violations(sources: tuple[Source, ...]) -> list[str]:
    return [
        f"{source.name} imports {unit}"
        for source in sources
        for unit in sorted(imported_units(source) & set(ALLOWED) - {source.unit})
        if unit not in ALLOWED[source.unit]
    ]


def users_of(library: str, sources: tuple[Source, ...]) -> set[str]:
    """Modules that import a library or anything inside it."""
    return {
        source.name
        for source in sources
        if any(name == library or name.startswith(f"{library}.") for name in imported(source))
    }


def test_imports_go_one_way() -> None:
    assert {source.unit for source in product()} == set(ALLOWED), "a new unit needs its place in the order"
    assert layer_violations(product()) == []


def order_violations(sources: Iterable[Source]) -> list[str]:
    """Modules that import a package which stands beside or above their own."""
    rank = {f"{unit}.{name}": place for unit, rows in ORDER.items() for place, row in enumerate(rows) for name in row}
    found = []
    for source in sources:
        own = _package(source.name)
        if source.unit not in ORDER or own == source.unit:
            continue
        others = {_package(name) for name in imported(source)} - {own, source.unit}
        for other in sorted(name for name in others if name.partition(".")[0] == source.unit):
            flat = rank.get(other) == rank[own] == 0  # the small modules at the bottom use each other
            if not flat and rank.get(other, len(rank)) >= rank[own]:
                found.append(f"{source.name} imports {other}")
    return found


def _package(name: str) -> str:
    """The first two parts of a dotted name."""
    return ".".join(name.split(".")[:2])


def test_packages_import_those_below_them() -> None:
    units = {_package(source.name) for source in product() if source.unit in ORDER} - set(ORDER)
    assert units == {f"{unit}.{name}" for unit, rows in ORDER.items() for row in rows for name in row}
    assert order_violations(product()) == []


def test_the_order_is_seen_to_be_broken() -> None:
    assert order_violations([parse("fedward.figures.x", "from fedward.folders.simulation import SimulationFolder")])
    assert order_violations([parse("fedward.voting.x", "import fedward.backdoor.detectors")])
    assert not order_violations([parse("fedward.folders.x", "from fedward.figures import plots")])
    assert not order_violations([parse("fedward.files", "from fedward.errors import UsageError")])


def test_the_rule_sees_imports_wherever_they_stand() -> None:
    for text in ("import client", "from commands import console", "def f():\n    import blockchain.node.embedded as n"):
        assert len(layer_violations((parse("fedward.x", text),))) == 1
    assert layer_violations((parse("encryption", "import data_preprocessing"),))
    assert not layer_violations((parse("commands.x", "import commands.y, fedward.z, json"),))
    assert "" in imported_units(parse("fedward.x", "from . import y"))


def test_nothing_is_imported_by_a_relative_or_computed_name() -> None:
    """What the rules could not see."""
    for source in product():
        assert "" not in imported_units(source), source.name
        called = {node.id for node in ast.walk(source.tree) if isinstance(node, ast.Name)}
        assert "__import__" not in called, source.name
        assert "importlib.import_module" not in imported(source), source.name
        attributes = {node.attr for node in ast.walk(source.tree) if isinstance(node, ast.Attribute)}
        assert "import_module" not in attributes, source.name


def test_the_entrances_are_imported_by_nobody() -> None:
    for source in product():
        assert not imported_units(source) & ENTRANCES, source.name


def test_pyfhel_is_behind_encryption() -> None:
    assert users_of("Pyfhel", product()) == {"encryption"}


def test_keras_and_tensorflow_are_behind_the_model() -> None:
    assert users_of("keras", product()) == users_of("tensorflow", product()) == {TENSORFLOW_DOOR}
    learning, privacy = "fedward.learning", "fedward.privacy"
    users = {f"{learning}.model", f"{learning}.scattering", f"{privacy}.clipped_gradients"}
    assert users_of(TENSORFLOW_DOOR, product()) <= users


@pytest.mark.parametrize("library", sorted(LEDGER_LIBRARIES))
def test_the_ledgers_libraries_are_inside_blockchain(library: str) -> None:
    users = users_of(library, product())
    assert {name.partition(".")[0] for name in users} <= {"blockchain"}
    assert users or library != "web3"


def test_the_server_names_no_secret_key_and_imports_no_model() -> None:
    source = next(source for source in product() if source.name == "server")
    identifiers = {node.id for node in ast.walk(source.tree) if isinstance(node, ast.Name)}
    attributes = {node.attr for node in ast.walk(source.tree) if isinstance(node, ast.Attribute)}
    for word in ("SecretContext", "secret_key", "decrypt", "HospitalFolder"):
        assert word not in identifiers | attributes | {name.rpartition(".")[2] for name in imported(source)}
    assert "SecretContext" not in (ROOT / "server.py").read_text()
    for module in MODEL_MODULES:
        assert "server" not in users_of(module, (source,)), module
    reached = {each.name for each in reached_from("server")}
    assert "encryption" not in reached
    assert "encryption" in {each.name for each in reached_from("client")}, "the control"


def test_importing_the_server_loads_no_tensorflow() -> None:
    program = "import sys, server; print(*sorted(sys.modules), sep='\\n')"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "server" in loaded
    learning = {f"fedward.learning.{name}" for name in ("model", "training", "model_file")}
    assert not loaded & ({"tensorflow", "keras"} | learning)
