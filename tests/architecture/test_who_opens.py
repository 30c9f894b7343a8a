"""Sums are opened through one door: who may name which key, and who only the door."""

import ast
from functools import cache

import pytest
from source_tree import Source, imported, parse, product, reached_from

DOOR = "blockchain.consortium.held_keys"
LAB = "commands.lab.leakage_encryption"  # plays hospitals with keys of its own, for updates that it made itself
# By a word that only holders of a key have use for: who has it. A word is a name, an attribute, or what is imported.
HOLDERS = {
    # One hospital's fresh keys: made when they are dealt, used by the stages that encrypt. Of a sum: the door.
    "RoundKey": {"encryption", "blockchain.key_sharing", DOOR, LAB},
    "generate": {"blockchain.key_sharing", "blockchain.consortium.key_exchange", "blockchain.identity", LAB},
    "counts_key": {"blockchain.key_sharing"},
    # What brings the consortium's key to a hospital, what encrypts under it, and the door.
    "ChannelKey": {"fedward.sharing.sealed_releases", "blockchain.consortium.key_exchange", DOOR},
    "load_channel_key": {"blockchain.consortium.key_exchange", DOOR},
    # Steps from releases to numbers.
    "decrypt_release": {DOOR},
    "restore_sum_key": {DOOR},
    "encryption.decrypt": {DOOR, LAB},
    "encryption.opens": {DOOR},
    "_to_coefficients": {"encryption"},
    # Shares in the clear: dealt, opened, added up.
    "fedward.sharing.dealing.deal_key": {"blockchain.key_sharing"},
    "open_share": {"blockchain.key_sharing"},
    "keep_shares": {"blockchain.key_sharing"},
    "keep_dealing": {"blockchain.key_sharing"},
}
OPENING = {"blockchain.catch_up", "blockchain.pooled_counts"}


@cache
def words(source: Source) -> frozenset[str]:
    """Names and attributes of a module, its imports by their whole name and by their last part."""
    attributes = {node.attr for node in ast.walk(source.tree) if isinstance(node, ast.Attribute)}
    names = {node.id for node in ast.walk(source.tree) if isinstance(node, ast.Name)}
    texts = {
        node.value for node in ast.walk(source.tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    whole = imported(source)
    return whole | attributes | names | texts | {name.rpartition(".")[2] for name in whole}


def takes_encryption_whole(source: Source) -> bool:
    """Whether a module imports encryption by its own name, by which all of it could be reached."""
    return "encryption" in {
        alias.name for node in ast.walk(source.tree) if isinstance(node, ast.Import) for alias in node.names
    }


@pytest.mark.parametrize("word", sorted(HOLDERS))
def test_a_key_is_named_by_its_holders_only(word: str) -> None:
    assert {source.name for source in product() if word in words(source)} == HOLDERS[word]


def test_encryption_is_imported_part_by_part() -> None:
    assert not [source.name for source in product() if takes_encryption_whole(source)]
    assert takes_encryption_whole(parse("client", "import encryption as harmless"))


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("RoundKey", "from encryption import RoundKey as Harmless"),
        ("RoundKey", "def f(key: 'RoundKey'): ..."),
        ("encryption.decrypt", "from encryption import decrypt as harmless"),
        ("load_channel_key", "def f(folder):\n    return folder.load_channel_key()"),
        ("ChannelKey", "from fedward.sharing.sealed_releases import ChannelKey as Harmless"),
        ("_to_coefficients", "def f(module, chunk):\n    return module._to_coefficients(chunk)"),
        ("counts_key", "def f(folder):\n    return folder.sharing.counts_key(1)"),
    ],
)
def test_the_rule_sees_it_named(word: str, text: str) -> None:
    assert word in words(parse("client", text))


def test_what_opens_sums_knows_the_door_and_not_the_library() -> None:
    """So another way of holding keys comes behind the same door without a change to them."""
    for name in sorted(OPENING):
        (source,) = (source for source in product() if source.name == name)
        assert "blockchain.closed_sums.SumOpener" in imported(source)
        assert "encryption" not in {reached.name for reached in reached_from(name)}, name
