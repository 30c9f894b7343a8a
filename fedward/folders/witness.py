"""A witness's folder on its own disk: the keys of the account that attests, and no key that decrypts an update."""

from pathlib import Path


class WitnessFolder:
    """Names the files of a witness: `account.key` and `x25519.key` (`blockchain.identity`)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.identity = path
