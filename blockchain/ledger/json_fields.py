"""Annotated types for values in JSON files (accounts, hospitals' names, digests), which `checked_json` checks.

Those that need nothing of Ethereum's, words and whole numbers, are in `fedward.types`.
"""

from dataclasses import dataclass
from typing import Annotated

from eth_utils.address import is_checksum_address

from fedward.checked_json import Matching
from fedward.types import Address, HospitalId


@dataclass(frozen=True)
class Checksummed:
    """An account's address: 0x, 40 hexadecimal digits, and upper and lower case as EIP-55 has them."""

    def problem(self, value: str) -> str | None:
        """What is wrong with a text; None where it is an address."""
        return None if is_checksum_address(value) else "must be an address with its checksum"


Account = Annotated[Address, Checksummed()]
HospitalName = Annotated[HospitalId, Matching("[a-z0-9-]{1,32}", "a hospital's name")]
Digest = Annotated[str, Matching("[0-9a-f]{64}", "a SHA-256 in lower-case hexadecimal")]  # and so a safe file name
