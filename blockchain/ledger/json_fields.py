"""Annotated types for the ledger's values in JSON files (accounts, words, digests), which `checked_json` checks."""

from dataclasses import dataclass
from typing import Annotated

from eth_utils.address import is_checksum_address

from blockchain.ledger.encoding import WORD_BYTES
from fedward.checked_json import Length, Matching
from fedward.tables import Between
from fedward.types import Address, HospitalId


@dataclass(frozen=True)
class Checksummed:
    """An account's address: 0x, 40 hexadecimal digits, and upper and lower case as EIP-55 has them."""

    def problem(self, value: str) -> str | None:
        """What is wrong with a text; None where it is an address."""
        return None if is_checksum_address(value) else "must be an address with its checksum"


Account = Annotated[Address, Checksummed()]
Word = Annotated[bytes, Length(WORD_BYTES)]
Whole = Annotated[int, Between(0, 2**63 - 1)]
HospitalName = Annotated[HospitalId, Matching("[a-z0-9-]{1,32}", "a hospital's name")]
Digest = Annotated[str, Matching("[0-9a-f]{64}", "a SHA-256 in lower-case hexadecimal")]  # and so a safe file name
