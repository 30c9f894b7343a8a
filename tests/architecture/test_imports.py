"""Imports go one way, and each untyped library is behind one door."""

import ast
import subprocess
import sys

import pytest
from source_tree import ROOT, Source, imported, imported_units, parse, product

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
ENTRANCES = {"main", "client", "server"}  # imported by nobody but tests, benchmarks and those who start them
LEDGER_LIBRARIES = {"web3", "eth", "eth_abi", "eth_account", "eth_keys", "eth_utils", "hexbytes", "rlp", "trie"}
TENSORFLOW_DOOR = "fedward.quiet_tensorflow"
MODEL_MODULES = {
    "fedward.model",
    "fedward.clipped_gradients",
    "fedward.private_training",
    "fedward.model_file",
    "fedward.training",
    "fedward.hospital",
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


def test_the_rule_sees_imports_wherever_they_stand() -> None:
    for text in ("import client", "from commands import console", "def f():\n    import blockchain.node as n"):
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
    assert users_of(TENSORFLOW_DOOR, product()) <= {"fedward.model", "fedward.scattering", "fedward.clipped_gradients"}


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
    # `import encryption` as a whole would bring the secret half by another name.
    assert {name for name in imported(source) if name.startswith("encryption")} == {
        "encryption",
        "encryption.PublicContext",
    }
    assert not any(
        isinstance(node, ast.Import) and node.names[0].name == "encryption" for node in ast.walk(source.tree)
    )


def test_importing_the_server_loads_no_tensorflow() -> None:
    program = "import sys, server; print(*sorted(sys.modules), sep='\\n')"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "server" in loaded
    assert not loaded & {"tensorflow", "keras", "fedward.model", "fedward.training", "fedward.model_file"}
