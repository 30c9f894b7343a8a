"""The compiled contract: its interface, its code, and the names and arguments of its errors and events."""

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils.crypto import keccak

ARTIFACT_FILE = Path(__file__).resolve().parents[2] / "contracts" / "artifacts" / "UpdateLedger.json"

AbiEntry = dict[str, Any]


@dataclass(frozen=True)
class EventShape:
    """How to decode one kind of event.

    Attributes:
        name: The event's name.
        selector: 32 bytes; keccak-256 of its signature, an event's first topic.
        fields: Name and ABI type of each argument, and whether it is a topic, in order; the last is the ledger head.
    """

    name: str
    selector: bytes
    fields: tuple[tuple[str, str, bool], ...]

    def decode(self, topics: tuple[bytes, ...], data: bytes) -> dict[str, Any]:
        """An event's arguments by name, in order.

        Raises:
            eth_abi's DecodingError: the event is not of this shape.
        """
        inner = decode([kind for _, kind, indexed in self.fields if not indexed], data)
        words, rest = iter(topics[1:]), iter(inner)
        return {name: decode([kind], next(words))[0] if indexed else next(rest) for name, kind, indexed in self.fields}

    def encode_fields(self, values: dict[str, Any]) -> bytes:
        """All arguments but the ledger head, encoded as the contract hashes them."""
        kinds = [kind for _, kind, _ in self.fields[:-1]]
        return encode(kinds, [values[name] for name, _, _ in self.fields[:-1]])


@dataclass(frozen=True)
class ViewShape:
    """How to ask for one of the contract's views.

    Attributes:
        selector: 4 bytes; what the call's input begins with.
        inputs: ABI type of each argument.
        outputs: ABI type of each value that it returns.
    """

    selector: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def encode(self, arguments: Sequence[Any]) -> bytes:
        """The input of a call.

        Raises:
            eth_abi's EncodingError: the arguments are not of these types.
        """
        return self.selector + encode(self.inputs, arguments)

    def decode(self, output: bytes) -> Any:
        """What a call returned: the value, or all values where there are several; addresses in lower case.

        Raises:
            eth_abi's DecodingError: the output is not of these types.
        """
        values = decode(self.outputs, output)
        return values[0] if len(values) == 1 else values

    def decode_from_outside(self, output: bytes) -> Any:
        """As `decode`, for those who do not know eth_abi.

        Raises:
            ValueError: the output is not of these types.
        """
        try:
            return self.decode(output)
        except (DecodingError, OverflowError) as error:
            raise ValueError("not what the view returns") from error


@dataclass(frozen=True)
class Artifact:
    """What the compiler made of UpdateLedger.sol.

    Attributes:
        abi: The interface.
        bytecode: What a deployment runs.
        deployed: The code that lies on the chain after a deployment, with zeros at the places of `immutables`.
        immutables: Start and length of the places that a deployment fills in.
    """

    abi: list[AbiEntry]
    bytecode: bytes
    deployed: bytes
    immutables: tuple[tuple[int, int], ...]

    def is_code(self, code: bytes) -> bool:
        """Whether code from a chain is this contract's, whatever values its deployment filled in."""
        masked = bytearray(code)
        for start, length in self.immutables:
            masked[start : start + length] = bytes(length)
        return bytes(masked) == self.deployed

    def describe_error(self, data: bytes) -> tuple[str, str]:
        """Name and readable arguments of a custom error that a call reverted with; empty texts where it is unknown."""
        for entry in self.abi:
            if entry["type"] != "error" or _selector(entry)[:4] != data[:4]:
                continue
            kinds = [_kind(field) for field in entry["inputs"]]
            try:
                values = decode(kinds, data[4:])
            except DecodingError:
                break
            names = [field["name"] for field in entry["inputs"]]
            return entry["name"], ", ".join(
                f"{name} {_readable(value)}" for name, value in zip(names, values, strict=True)
            )
        return "", ""

    def signatures(self, entry_type: str) -> dict[bytes, tuple[str, tuple[str, ...]]]:
        """Name and ABI types of the arguments by four-byte selector, of each "function" or each "error"."""
        return {
            _selector(entry)[:4]: (entry["name"], tuple(_kind(field) for field in entry["inputs"]))
            for entry in self.abi
            if entry["type"] == entry_type
        }

    @functools.cached_property
    def views(self) -> dict[str, ViewShape]:
        """The contract's views by name; each has a name of its own."""
        return {
            entry["name"]: ViewShape(
                _selector(entry)[:4],
                tuple(_kind(field) for field in entry["inputs"]),
                tuple(_kind(field) for field in entry["outputs"]),
            )
            for entry in self.abi
            if entry["type"] == "function" and entry["stateMutability"] in ("view", "pure")
        }

    def constructor_kinds(self) -> tuple[str, ...]:
        """ABI types of what a deployment appends to the bytecode."""
        entry = next(entry for entry in self.abi if entry["type"] == "constructor")
        return tuple(_kind(field) for field in entry["inputs"])

    def events(self) -> dict[bytes, EventShape]:
        """The ledger's own events by selector; those of OpenZeppelin, which carry no ledger head, are left out."""
        return self._event_shapes

    @functools.cached_property
    def _event_shapes(self) -> dict[bytes, EventShape]:
        """What `events` returns, built once: an audit asks for it at every transaction."""
        shapes = {}
        for entry in self.abi:
            names = [field["name"] for field in entry.get("inputs", [])]
            if entry["type"] == "event" and names[-1:] == ["ledgerHead"]:
                fields = tuple((field["name"], _kind(field), field["indexed"]) for field in entry["inputs"])
                shapes[_selector(entry)] = EventShape(entry["name"], _selector(entry), fields)
        return shapes


@functools.cache
def load_artifact() -> Artifact:
    """Read the committed artifact, once a process."""
    content = json.loads(ARTIFACT_FILE.read_bytes())
    places = [place for group in content["immutableReferences"].values() for place in group]
    return Artifact(
        abi=content["abi"],
        bytecode=bytes.fromhex(content["bytecode"][2:]),
        deployed=bytes.fromhex(content["deployedBytecode"][2:]),
        immutables=tuple((place["start"], place["length"]) for place in places),
    )


def _selector(entry: AbiEntry) -> bytes:
    """keccak-256 of an error's or event's signature."""
    return keccak(text=f"{entry['name']}({','.join(_kind(field) for field in entry['inputs'])})")


def _kind(field: AbiEntry) -> str:
    """An argument's ABI type, with structs spelled out."""
    kind: str = field["type"]
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(_kind(part) for part in field['components'])}){kind.removeprefix('tuple')}"


def _readable(value: object) -> str:
    """Bytes in hexadecimal or, where they are a short text, as that; the rest as Python shows it."""
    if not isinstance(value, bytes):
        return str(value)
    text = value.rstrip(b"\0")
    return text.decode() if text and text.isascii() and text.decode().isprintable() else "0x" + value.hex()
