"""Events of the ledger are read by their attributes: a field that is looked up by its text could be misspelled."""

import ast

import pytest
from source_tree import Source, parse, product

from blockchain.ledger.artifact import load_artifact

# A node's transactions have a chainId too, and are JSON.
FIELDS = {name for shape in load_artifact().events().values() for name, _, _ in shape.fields} - {"chainId"}
# Recomputes the ledger head from the raw fields; reads the contract's record of a round, which is no event.
EXEMPT = {"blockchain.ledger.fold", "blockchain.ledger.reader"}


def look_ups(source: Source) -> list[str]:
    """Fields of an event that are looked up by their text, in `event.values[...]` or in any mapping."""
    found = []
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Constant):
            continue
        of_values = isinstance(node.value, ast.Attribute) and node.value.attr == "values"
        camel = node.slice.value in FIELDS and node.slice.value != str(node.slice.value).lower()
        if isinstance(node.slice.value, str) and (of_values or camel):
            found.append(f"{source.name}:{node.lineno}")
    return found


def test_no_field_of_an_event_is_looked_up_by_its_text() -> None:
    assert [place for source in product() if source.name not in EXEMPT for place in look_ups(source)] == []


@pytest.mark.parametrize("text", ['event.values["round"]', 'values["updateRoot"]', 'f(event)["ledgerHead"]'])
def test_a_look_up_is_seen(text: str) -> None:
    assert look_ups(parse("x", text))
    assert not look_ups(parse("x", 'settings["rounds"]; answer["round"]; event.update_root'))
