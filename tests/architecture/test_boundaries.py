"""Each type that stands for a passed check is built in exactly one module, so that the check cannot be forgotten."""

import ast
import dataclasses

import pytest
from source_tree import Source, functions_that_return, imported, names_used, original_names, parse, product

from fedward import types

BUILT_IN = {
    "SampledUpdate": "fedward.privacy.private_training",
    "PrivateUpdate": "fedward.privacy.mechanism",
    "EncryptedUpdate": "encryption",
    "VerifiedUpdate": "blockchain.verification",
    "EncryptedAggregate": "fedward.ciphertexts.aggregation",
}


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_each_stage_builds_its_own_type_and_nobody_else_does(name: str) -> None:
    builders = {source.name for source in product() if name in names_used(source)}
    assert builders == {BUILT_IN[name]}


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_they_are_frozen_and_have_no_defaults(name: str) -> None:
    """A value that can be changed afterwards, or left out, proves nothing about the check."""
    kind = getattr(types, name)
    assert kind.__dataclass_params__.frozen
    for field in dataclasses.fields(kind):
        assert field.default is field.default_factory is dataclasses.MISSING, field.name


@pytest.mark.parametrize(
    "text",
    [
        "from fedward.types import PrivateUpdate\nPrivateUpdate(1, 2)",
        "from fedward.types import PrivateUpdate as Harmless\nHarmless(1, 2)",
        "from fedward import types\ndef f():\n    return types.PrivateUpdate(1, 2)",
        "from fedward.types import PrivateUpdate\nHarmless = PrivateUpdate\nHarmless(1, 2)",
        "from fedward.types import PrivateUpdate\nlist(map(PrivateUpdate, [1], [2]))",
        "from fedward.types import PrivateUpdate\nobject.__new__(PrivateUpdate)",
        "from fedward.types import PrivateUpdate\nclass Harmless(PrivateUpdate): ...",
        "from fedward import types\ngetattr(types, 'PrivateUpdate')(1, 2)",
    ],
)
def test_a_constructor_is_found_by_whatever_name(text: str) -> None:
    assert "PrivateUpdate" in names_used(parse("client", text))


def test_a_type_that_is_only_a_type_builds_nothing() -> None:
    text = (
        "def f(a: PrivateUpdate, b: 'PrivateUpdate') -> list[PrivateUpdate]:\n    return isinstance(a, PrivateUpdate)"
    )
    assert "PrivateUpdate" not in names_used(parse("client", "from fedward.types import PrivateUpdate\n" + text))


# What makes a value out of another, or a type out of a value, without a word of its type.
COPIERS = {"replace", "__replace__", "__class__", "__new__", "__setattr__", "__dict__", "getattr", "setattr"}
# Such words in modules that handle values of a stage, with what they are about: none of it is such a value.
COPIED = {
    # A malicious hospital forges its own update, which no honest code can; no hospital's bundle has this module.
    "fedward.backdoor.attacks.attack": {
        "dataclasses.replace(settings)",
        "dataclasses.replace(settings.training)",
        "dataclasses.replace(update)",
    },
    "fedward.labs.federation": {"dataclasses.replace(standing)"},
    "fedward.privacy.epsilon_lower_bound": {"dataclasses.replace(partition)"},
}


def handlers() -> list[Source]:
    """Modules that get values of these types into their hands: they name one, or import a function that returns one."""
    ways = functions_that_return(frozenset(BUILT_IN)) | {f"fedward.types.{name}" for name in BUILT_IN}
    return [source for source in product() if imported(source) & ways]


def copies(source: Source) -> set[str]:
    """Where a module copies a value, as the call with its first argument, or the word itself outside of a call."""
    names, found = original_names(source), set()
    calls = {id(node.func): node for node in ast.walk(source.tree) if isinstance(node, ast.Call)}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Name):
            word = names.get(node.id, node.id)
        elif isinstance(node, ast.Attribute):
            word = ast.unparse(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).startswith("type("):
            word = "__class__"
        else:
            continue
        ours = word.startswith(("fedward.settings.", "setting."))  # `replace` of a setting, by its name
        if word.rpartition(".")[2] in COPIERS and not ours:
            call = calls.get(id(node))
            found.add(f"{word}({ast.unparse(call.args[0])})" if call and call.args else word)
    return found


def test_none_of_them_is_copied_with_other_values() -> None:
    """`dataclasses.replace` and its kin would build one without its module."""
    found = {source.name: copies(source) for source in handlers()}
    assert found.keys() >= {"client", "server", "blockchain.signing.signatures", *BUILT_IN.values()}
    assert {name: copied for name, copied in found.items() if copied} == COPIED


@pytest.mark.parametrize(
    "text",
    [
        "import dataclasses\ndataclasses.replace(update, delta=1)",
        "from dataclasses import replace as harmless\nharmless(update, delta=1)",
        "import dataclasses\nharmless = dataclasses.replace\nharmless(update, delta=1)",
        "import copy\ncopy.replace(update, delta=1)",
        "update.__replace__(delta=1)",
        "type(update)(1, 2)",
        "update.__class__(1, 2)",
        "object.__setattr__(update, 'delta', 1)",
        "update.__dict__['delta'] = 1",
        "getattr(types, 'Private' + 'Update')(1, 2)",
    ],
)
def test_a_copy_is_found_by_whatever_way(text: str) -> None:
    assert copies(parse("server", text))
    assert not copies(
        parse("server", "from fedward.settings import replace\nreplace(settings, 'privacy.mode', 'none')")
    )
