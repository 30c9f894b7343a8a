"""Sums are opened through one door: who may name a key that decrypts, and who only the door."""

import ast

import pytest
from source_tree import Source, imported, parse, product, reached_from

# Encryption itself, what brings a key to a hospital, and the door behind which a hospital opens sums with it.
KEY_HOLDERS = {"encryption", "blockchain.consortium.held_keys", "blockchain.consortium.key_exchange"}
OPENING = {"blockchain.catch_up", "blockchain.pooled_counts"}


def names_a_key_that_decrypts(source: Source) -> bool:
    """Whether a module names the class, reads the file of a secret key, or imports what opens a ciphertext."""
    whole = {alias.name for node in ast.walk(source.tree) if isinstance(node, ast.Import) for alias in node.names}
    attributes = {node.attr for node in ast.walk(source.tree) if isinstance(node, ast.Attribute)}
    names = {node.id for node in ast.walk(source.tree) if isinstance(node, ast.Name)}
    named = attributes | names | {name.rpartition(".")[2] for name in imported(source)}
    return (
        any("SecretContext" in name for name in named)
        or any("secret_key" in name for name in attributes)
        or "_decrypt_slots" in attributes
        or "encryption.decrypt" in imported(source)
        or "encryption" in whole  # by which all of it could be reached
    )


def test_a_key_that_decrypts_is_named_behind_the_door_only() -> None:
    assert {source.name for source in product() if names_a_key_that_decrypts(source)} == KEY_HOLDERS


@pytest.mark.parametrize(
    "text",
    [
        "from encryption import SecretContext as Harmless",
        "from encryption import decrypt",
        "import encryption\nencryption.decrypt((), None, None, 1)",
        "def f(folder):\n    return folder.load_secret_key()",
        "def f(context, chunk):\n    return context._decrypt_slots(chunk)",
        "def f(secret: 'SecretContext'): ...\nimport encryption\nx = encryption.SecretContext",
    ],
)
def test_the_rule_sees_it_named(text: str) -> None:
    assert names_a_key_that_decrypts(parse("client", text))


def test_what_opens_sums_knows_the_door_and_not_the_library() -> None:
    """So another way of holding keys comes behind the same door without a change to them."""
    for name in sorted(OPENING):
        (source,) = (source for source in product() if source.name == name)
        assert "blockchain.closed_sums.SumOpener" in imported(source)
        assert "encryption" not in {reached.name for reached in reached_from(name)}, name
