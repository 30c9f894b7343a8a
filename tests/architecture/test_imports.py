"""Imports go one way, and each untyped library is behind one door."""

import ast
import subprocess
import sys
from collections.abc import Iterable

import pytest
from source_tree import (
    ROOT,
    Source,
    imported,
    imported_units,
    names_used,
    parse,
    product,
    reached_from,
    types_in_reach,
)

# What each unit may import beside itself: main -> commands -> blockchain -> encryption, data_preprocessing -> fedward.
ALLOWED = {
    "main": {"commands", "blockchain", "encryption", "data_preprocessing", "fedward"},
    "commands": {"blockchain", "encryption", "data_preprocessing", "fedward"},
    "client": {"blockchain", "encryption", "data_preprocessing", "fedward"},
    "server": {"blockchain", "encryption", "data_preprocessing", "fedward"},
    "attacker": {"client", "fedward"},
    "blockchain": {"encryption", "data_preprocessing", "fedward"},
    "encryption": {"fedward"},
    "data_preprocessing": {"fedward"},
    "fedward": set[str](),
}
# Packages inside a unit, lowest first: each imports those before it, and no other. What stands at a unit's top level
# beside them is named too, where packages use it.
ORDER = {
    "fedward": (
        (
            "archive",
            "checked_json",
            "chosen",
            "conflicts",
            "entry",
            "errors",
            "files",
            "plugins",
            "progress",
            "seeding",
            "settings",
            "tables",
            "timing",
            "types",
        ),
        ("dataset",),
        ("figures",),
        ("ciphertexts",),
        ("sharing",),
        ("learning",),
        ("adversarial", "reconstruction"),
        ("cloaking",),
        ("explaining",),
        ("privacy",),
        ("local_update",),
        ("messages",),
        ("folders",),
        ("voting", "backdoor"),
        ("labs", "screening", "strip"),
        ("flower", "flower_home", "flower_process", "in_process"),
        ("hosts",),
    ),
    "blockchain": (
        ("identity", "keystore", "password"),
        ("ledger",),
        ("signing",),
        ("node",),
        ("twin",),
        ("attribution", "closed_sums", "kept_counts", "own_images"),
        ("verification", "catch_up", "pooled_counts", "witness"),
        ("consortium",),
        ("key_sharing", "leading"),
        ("run_end",),
        ("audit",),
    ),
}
ENTRANCES = {"main", "client", "server", "attacker"}  # imported by tests, benchmarks and those who start them
MALICIOUS = "attacker"  # is a client, but for what it does otherwise
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
        allowed = {"client"} if source.name == MALICIOUS else set[str]()
        assert not imported_units(source) & (ENTRANCES - allowed), source.name


# Imports libraries for what it forks, and uses none of them: it names nothing of theirs.
LOADER = "fedward.hosts.clientapp_process"


def test_the_process_that_loads_libraries_uses_none_of_those_that_are_behind_a_door() -> None:
    (loader,) = (source for source in product() if source.name == LOADER)
    named = {node.id for node in ast.walk(loader.tree) if isinstance(node, ast.Name)}
    assert not named & {"keras", "tensorflow", "tf", "web3", "Pyfhel"}


def test_pyfhel_is_behind_encryption() -> None:
    assert users_of("Pyfhel", product()) - {LOADER} == {"encryption"}


def test_keras_and_tensorflow_are_behind_the_model() -> None:
    assert users_of("keras", product()) - {LOADER} == users_of("tensorflow", product()) == {TENSORFLOW_DOOR}
    learning, privacy = "fedward.learning", "fedward.privacy"
    users = {
        f"{learning}.model",
        f"{learning}.inference",
        f"{learning}.scattering",
        f"{privacy}.clipped_gradients",
        "commands.tracking.event_files",  # TensorBoard's files, in which there is no model
        "fedward.adversarial.victim",
        "fedward.explaining.activation_maps",
        "fedward.labs.robustness.defenses",  # gradients through what stands before a classifier
        "fedward.labs.robustness.jpeg",  # and through a JPEG file
    }
    apart = (
        "fedward.reconstruction.",
        "fedward.labs.neural_crypto.",
        "fedward.labs.leakage.",
    )  # networks that are no hospital's classifier
    networks = {source.name for source in product() if source.name.startswith(apart)}
    assert users_of(TENSORFLOW_DOOR, product()) <= users | networks


@pytest.mark.parametrize("library", sorted(LEDGER_LIBRARIES))
def test_the_ledgers_libraries_are_inside_blockchain(library: str) -> None:
    users = users_of(library, product()) - {LOADER}
    assert {name.partition(".")[0] for name in users} <= {"blockchain"}
    assert users or library != "web3"


# Parts of words, in any case, that the server's code has no use for.
OF_HOSPITALS = (
    "secret", "decrypt", "unseal", "hospitalfolder", "privatekey", "private_key", "classifier",
    "roundkey", "channelkey", "channel_key", "counts_key", "openshare", "open_share", "restore_sum",
)  # fmt: skip
LEADING = "blockchain.leading"
# Modules in which keys are made, held or used; the server's process never loads them.
HOSPITALS_CODE = {
    "encryption",
    "blockchain.consortium.held_keys",
    "blockchain.key_sharing",
    "fedward.sharing.releases",
    "fedward.sharing.sealed_releases",
}
# Types that open ciphertexts, or are what is inside of them.
KEPT_FROM_THE_SERVER = {
    "blockchain.consortium.held_keys.HeldKeys",
    "blockchain.key_sharing.Dealing",
    "encryption.RoundKey",
    "fedward.sharing.sealed_releases.ChannelKey",
    "fedward.folders.hospital.Candidate",
    "fedward.folders.hospital.HospitalFolder",
    "fedward.learning.model.Classifier",
    *(
        f"fedward.types.{name}"
        for name in ("GlobalModel", "ImageSet", "ModelUpdate", "Partition", "PrivateUpdate", "SampledUpdate")
    ),
}


def secrets_named(source: Source) -> set[str]:
    """Words of a module's code, all but comments and docstrings, that have a part which is a hospital's business."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    words = set(imported(source))
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Name):
            words.add(node.id)
        elif isinstance(node, ast.Attribute):
            words.add(node.attr)
        elif isinstance(node, ast.arg | ast.keyword | ast.alias):
            words |= {value for value in vars(node).values() if isinstance(value, str)}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            words.add(node.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            words.add(node.value)
    return {word for word in words if any(part in word.lower() for part in OF_HOSPITALS)}


def server_modules() -> tuple[Source, ...]:
    """The spine's server and the package that it leads rounds with."""
    found = tuple(source for source in product() if source.name == "server" or source.name.startswith(LEADING))
    assert {"server", f"{LEADING}.releases", f"{LEADING}.dealings"} <= {source.name for source in found}
    return found


def test_the_server_names_no_secret_key_and_imports_no_model() -> None:
    for source in server_modules():
        assert secrets_named(source) == set(), source.name
        for module in MODEL_MODULES:
            assert users_of(module, (source,)) == set(), module
        computed = {"getattr", "vars", "eval", "exec", "globals", "__dict__", "__getattribute__"}
        assert not computed & names_used(source), "what the rules could not see"
    reached = {each.name for each in reached_from("server")}
    assert not reached & HOSPITALS_CODE
    assert {each.name for each in reached_from("client")} >= HOSPITALS_CODE, "the control"


@pytest.mark.parametrize(
    "text",
    [
        "run.hospital(name).load_channel_key()",
        "from encryption import RoundKey as Harmless",
        "from fedward.sharing.sealed_releases import ChannelKey as Harmless",
        "from encryption import decrypt as harmless",
        "def f(SECRET): ...",
        "open_all(secret_key=key)",
        "path / 'hospital-1' / 'secret.key'",
        "class Decryptor: ...",
    ],
)
def test_a_secret_is_found_by_whatever_name(text: str) -> None:
    assert secrets_named(parse("server", text))
    assert not secrets_named(parse("server", '"""It has no secret key."""\ndef f():\n    """Nor does it decrypt."""'))


def test_nothing_that_the_server_holds_leads_to_a_secret_key_or_a_model() -> None:
    """Followed by types: attributes of what it holds, and what their methods and its functions return."""
    names: set[str] = set()
    for source in server_modules():
        defined = (node for node in source.tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef))
        names |= imported(source) | {f"{source.name}.{node.name}" for node in defined}
    reached = types_in_reach(*names)
    server, reader = f"{LEADING}.server_state.Server", "blockchain.ledger.reader.LedgerReader"
    assert reached >= {server, reader, "fedward.types.VerifiedUpdate"}
    assert not reached & KEPT_FROM_THE_SERVER


def test_types_are_followed_to_where_they_lead() -> None:
    held = {"blockchain.consortium.held_keys.HeldKeys", "fedward.folders.hospital.HospitalFolder"}
    assert types_in_reach("client.Hospital") >= held
    assert "encryption.RoundKey" in types_in_reach("blockchain.key_sharing.deal_keys")  # through Dealing
    assert "fedward.types.ImageSet" in types_in_reach("data_preprocessing.load_partition")  # through Partition
    assert {f"{source.name}.{name}" for source in product() for name in classes(source)} >= KEPT_FROM_THE_SERVER


def classes(source: Source) -> set[str]:
    return {node.name for node in ast.walk(source.tree) if isinstance(node, ast.ClassDef)}


# What a server has no use for: it checks, adds and counts. Each takes seconds to import, or reads bytes from outside.
NOT_AT_A_SERVER = {
    "Pyfhel", "PIL", "dp_accounting", "imagecodecs", "keras", "matplotlib", "pandas", "pydicom", "scipy", "sklearn",
    "tensorflow",
}  # fmt: skip


def libraries_reached(*entrances: str) -> set[str]:
    """Top-level packages that modules import anywhere in them, at once or when a function runs, or others for them."""
    return {unit for source in reached_from(*entrances) for unit in imported_units(source)}


def test_a_server_reaches_no_library_for_images_statistics_or_learning() -> None:
    assert not libraries_reached("server") & NOT_AT_A_SERVER
    assert libraries_reached("client") & NOT_AT_A_SERVER >= {"Pyfhel", "tensorflow", "PIL"}, "the control"


@pytest.mark.slow
def test_importing_the_server_loads_no_such_library_either() -> None:
    """Nor does a library that it uses import one of them."""
    program = "import sys, server; print(*sorted(sys.modules), sep='\\n')"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "server" in loaded
    learning = {f"fedward.learning.{name}" for name in ("model", "training", "model_file")}
    assert not loaded & (NOT_AT_A_SERVER | learning)
