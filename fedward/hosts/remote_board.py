"""The key board at the server, as a hospital on a host of its own uses it: a `KeyBoard` over the gateway."""

from http import HTTPStatus

from fedward.errors import EvidenceError, ResourceError, VerificationError
from fedward.folders.key_board import MAX_FILE_BYTES
from fedward.hosts.gateway_client import GatewayClient, sentence
from fedward.types import Address


class RemoteBoard:
    """A `KeyBoard` that the server keeps; besides what that says, it raises `UsageError` where the token is no good.

    Args:
        client: Of the server's gateway, with this hospital's token.
    """

    def __init__(self, client: GatewayClient) -> None:
        self._client = client

    def save_card(self, hospital: Address, content: bytes) -> None:
        """Leave this hospital's signed sealing key."""
        self._leave(f"/board/cards/{hospital}", content, "This hospital's card")

    def load_card(self, hospital: Address) -> bytes:
        """A hospital's signed sealing key."""
        what = f"The sealing key of {hospital}"
        return self._load(f"/board/cards/{hospital}", MAX_FILE_BYTES, what, "Ask that hospital for its card.")

    def save_checkpoint(self, hospital: Address, content: bytes) -> None:
        """Leave this hospital's last checkpoint."""
        self._leave(f"/board/checkpoints/{hospital}", content, "This hospital's checkpoint")

    def load_checkpoint(self, hospital: Address) -> bytes:
        """A hospital's last checkpoint."""
        what, remedy = f"The checkpoint of {hospital}", "It comes with that hospital's next round."
        return self._load(f"/board/checkpoints/{hospital}", MAX_FILE_BYTES, what, remedy)

    def save_sealed_key(self, key_epoch: int, hospital: Address, content: bytes) -> None:
        """Leave a sealed key for a hospital."""
        what = f"The key of epoch {key_epoch} for {hospital}"
        self._leave(f"/board/epochs/{key_epoch}/{hospital}", content, what)

    def load_sealed_key(self, key_epoch: int, hospital: Address) -> bytes:
        """A hospital's sealed key; nothing about it is checked but its size."""
        what = f"The key of epoch {key_epoch} for {hospital}"
        path = f"/board/epochs/{key_epoch}/{hospital}"
        return self._load(path, MAX_FILE_BYTES, what, "Ask the dealer to seal it.")

    def save_model(self, hospital: Address, content: bytes) -> None:
        """Leave a sealed model for a hospital that joins."""
        self._leave(f"/board/models/{hospital}", content, f"The model for {hospital}")

    def load_model(self, hospital: Address, limit: int) -> bytes:
        """A hospital's sealed model, of at most so many bytes."""
        remedy = "Ask another hospital to hand the model over."
        return self._load(f"/board/models/{hospital}", limit, f"The model for {hospital}", remedy)

    def _leave(self, path: str, content: bytes, what: str) -> None:
        status, answer = self._client.ask("PUT", path, 0, content)
        if status != HTTPStatus.NO_CONTENT:
            raise ResourceError(
                f"{what} could not be left at the server: {sentence(status, answer)}.",
                "Ask the administrator; the server's log names this request.",
            )

    def _load(self, path: str, most: int, what: str, remedy: str) -> bytes:
        try:
            status, content = self._client.ask("GET", path, most)
        except ResourceError as error:
            raise EvidenceError(f"{what} could not be read. {error.what}", error.remedy) from error
        if status != HTTPStatus.OK:
            raise EvidenceError(f"{what} could not be read from the server: {sentence(status, content)}.", remedy)
        if len(content) > most:
            raise VerificationError(f"{what} at the server is longer than {most:,} bytes.", remedy)
        return content
