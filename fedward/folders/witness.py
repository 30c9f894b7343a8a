"""What a witness keeps on its own disk: the account that may attest, and nothing that opens anything."""

from pathlib import Path


class WitnessFolder:
    """Names the files of a witness: `account.key` and `x25519.key` (`blockchain.identity`)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.identity = path
