"""Signed structs in messages, read and changed by tests: one member at a time, without any check, as a forger would."""

import json
from typing import Any

from flwr.app import ConfigRecord, Message

from fedward.messages.wire import SIGNED
from fedward.types import SignedCommitment, SignedVote

KINDS = {"commitment": SignedCommitment, "vote": SignedVote}  # by the record's name, which is the struct's attribute


def change(content: bytes, **members: Any) -> bytes:
    """A signed struct's JSON with some members replaced, in canonical form.

    Args:
        content: As `write_signed` writes it.
        members: New values by name, as JSON's types; bytes become hexadecimal. `signature` is one of them; the others
            are those of what is signed.
    """
    fields = json.loads(content)
    inner = next(value for value in fields.values() if isinstance(value, dict))
    for name, value in members.items():
        place = fields if name == "signature" else inner
        assert name in place, f"{name} is no member of {sorted(place)}"
        place[name] = value.hex() if isinstance(value, bytes) else value
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def tamper(reply: Message, name: str, **members: Any) -> None:
    """Change members of the signed struct that a reply carries, in place."""
    reply.content[name] = ConfigRecord({SIGNED: change(content_of(reply, name), **members)})


def content_of(reply: Message, name: str) -> bytes:
    """The JSON of the signed struct that a reply carries."""
    content = reply.content.config_records[name][SIGNED]
    assert isinstance(content, bytes)
    return content


def member_of(reply: Message, name: str, member: str) -> Any:
    """A member of the signed struct that a reply carries, as JSON's types."""
    return json.loads(content_of(reply, name))[name][member]
