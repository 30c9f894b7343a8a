"""Each party reaches its own disk only: what a party may not hold, no module that its code imports can open."""

from collections.abc import Iterable

import pytest
from source_tree import Source, imported, parse, product

# Each party's folder class stands in a module of its own, so whoever cannot reach the module cannot name the class.
SERVER, HOSPITAL, WITNESS, SIMULATION = DISKS = tuple(
    f"fedward.folders.{party}" for party in ("server", "hospital", "witness", "simulation")
)
# By entrance of a party's code: the only one of these modules that it may reach, through whatever it imports.
OWN_DISK = {
    "server": SERVER,
    "client": HOSPITAL,
    "blockchain.run_end": HOSPITAL,
    "blockchain.witness": WITNESS,
    "blockchain.audit.auditor": None,
    "blockchain.audit.following": None,
    "blockchain.audit.sources.bundle": None,  # run folders, bundles
    "blockchain.audit.sources.node_evidence": None,
}
# What stands behind `KeyBoard` and `CiphertextSource` today. Others use the Protocols, so that it can be another thing.
STORES = {"KeyBoardFolder", "CiphertextFolder"}


def reached(entrance: str, sources: Iterable[Source]) -> set[str]:
    """Names of all modules that one reaches: through its imports and theirs, and the packages that they lie in."""
    modules = {source.name: source for source in sources}
    found, waiting = set[str](), [entrance]
    while waiting:
        name = waiting.pop()
        if name in modules and name not in found:
            found.add(name)
            waiting += [name.rpartition(".")[0], *imported(modules[name])]
    return found


def strangers_disks(sources: Iterable[Source]) -> list[str]:
    """Which parties reach which disk that is not their own."""
    sources = tuple(sources)
    return [
        f"{entrance} reaches {disk}"
        for entrance, own in OWN_DISK.items()
        for disk in sorted(reached(entrance, sources) & set(DISKS) - {own})
    ]


def players_of_all_parts(sources: Iterable[Source]) -> list[str]:
    """Modules outside of commands/ that name the folders of two parties, or those of all."""
    found = []
    for source in sources:
        named = imported(source) & set(DISKS)
        if source.unit != "commands" and source.name != SIMULATION and (len(named) > 1 or SIMULATION in named):
            found.append(source.name)
    return found


def users_of_stores(sources: Iterable[Source]) -> list[str]:
    """Modules outside of fedward/folders that name what stands behind a Protocol."""
    return [
        source.name
        for source in sources
        if not source.name.startswith("fedward.folders.")
        and STORES & {name.rpartition(".")[2] for name in imported(source)}
    ]


def changed(name: str, text: str) -> tuple[Source, ...]:
    """The product, with lines added to one module."""
    return (*(source for source in product() if source.name != name), parse(name, text_of(name) + text))


def text_of(name: str) -> str:
    """The imports of a module, as text."""
    (source,) = (source for source in product() if source.name == name)
    return "".join(f"import {each}\n" for each in sorted(imported(source)))


def test_every_party_reaches_its_own_disk_and_no_other() -> None:
    assert strangers_disks(product()) == []
    modules = {source.name for source in product()}
    assert {*OWN_DISK, *DISKS} <= modules, "a module was renamed, so the rule looks at nothing"
    assert SERVER in reached("server", product())
    assert HOSPITAL in reached("client", product())


def test_whoever_plays_all_parts_is_a_command() -> None:
    assert players_of_all_parts(product()) == []
    assert any(SIMULATION in imported(source) for source in product())


def test_stores_are_used_through_their_protocols() -> None:
    assert users_of_stores(product()) == []


@pytest.mark.parametrize(
    ("module", "text", "expected"),
    [
        ("server", "from fedward.folders.hospital import HospitalFolder", "server reaches fedward.folders.hospital"),
        ("server", "def f():\n    from fedward.folders import simulation", "server reaches fedward.folders.simulation"),
        ("fedward.types", "import fedward.folders.server as s", "client reaches fedward.folders.server"),
        ("client", "import fedward.folders.round_log", "client reaches fedward.folders.server"),
        ("fedward.files", "import fedward.folders.hospital", "blockchain.witness reaches fedward.folders.hospital"),
        ("blockchain.identity", "import fedward.folders.hospital", "blockchain.audit.auditor reaches "),
    ],
)
def test_a_party_that_reaches_for_anothers_disk_is_seen(module: str, text: str, expected: str) -> None:
    assert any(found.startswith(expected) for found in strangers_disks(changed(module, text)))


def test_one_that_plays_two_parts_and_one_that_passes_a_protocol_by_are_seen() -> None:
    two = "from fedward.folders.server import ServerFolder\nfrom fedward.folders.hospital import HospitalFolder"
    for text in (two, "from fedward.folders.simulation import SimulationFolder"):
        assert players_of_all_parts([parse("blockchain.x", text)]) == ["blockchain.x"]
        assert players_of_all_parts([parse("commands.x", text)]) == []
    assert players_of_all_parts([parse("blockchain.x", two.splitlines()[0])]) == []
    by_name = "from fedward.folders.key_board import KeyBoardFolder as Board"
    assert users_of_stores([parse("blockchain.x", by_name)]) == ["blockchain.x"]
    assert users_of_stores([parse("blockchain.x", "from fedward.folders.key_board import KeyBoard")]) == []
