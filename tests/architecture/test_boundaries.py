"""Each type that stands for a passed check is built in exactly one module, so that the check cannot be forgotten."""

import dataclasses

import pytest
from source_tree import calls_by_name, parse, product

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
    builders = {source.name for source in product() if name in calls_by_name(source)}
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
    ],
)
def test_a_constructor_is_found_by_whatever_name(text: str) -> None:
    assert "PrivateUpdate" in calls_by_name(parse("client", text))


def test_none_of_them_is_copied_with_other_values() -> None:
    """`dataclasses.replace` would build one without its module; it is used on other types only."""
    users = {source.name for source in product() if "replace" in calls_by_name(source)}
    stages = {
        "client",
        "server",
        "encryption",
        "fedward.privacy.mechanism",
        "fedward.privacy.private_training",
        "fedward.ciphertexts.aggregation",
    }
    stages |= {"blockchain.signing.signatures"}
    assert "fedward.privacy.accounting" in users  # of settings
    assert not users & stages
