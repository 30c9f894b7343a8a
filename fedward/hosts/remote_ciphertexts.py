"""The server's ciphertexts as a witness on a host of its own reads them: a `CiphertextSource` over the gateway."""

from http import HTTPStatus

from fedward.checked_json import checked_json
from fedward.ciphertexts.serialized import CHUNK_BYTES
from fedward.errors import EvidenceError, ResourceError, VerificationError
from fedward.folders.ciphertexts import RoundFiles
from fedward.hosts.gateway_client import GatewayClient, sentence

MOST_ROUND_BYTES = 256 * 1024 * 1024  # 67 for each name: of 128 updates of 250 million parameters
_REMEDY = "Ask the server's operator for it, and do not attest meanwhile."


class RemoteCiphertexts:
    """What the server gives out of its rounds; whoever reads it compares it with the ledger.

    Args:
        client: Of the server's gateway, with the witness's token.
    """

    def __init__(self, client: GatewayClient) -> None:
        self._client = client

    def round_files(self, round_index: int) -> RoundFiles:
        """Which ciphertexts make up a round; see `CiphertextSource`."""
        what = f"The server's list of ciphertexts of round {round_index}"
        content = self._load(f"/witness/rounds/{round_index}", MOST_ROUND_BYTES, what)
        return checked_json(RoundFiles, content, what, VerificationError, _REMEDY)

    def chunk(self, name: str) -> bytes:
        """The bytes that the server gives out under a hash; see `CiphertextSource`."""
        return self._load(f"/witness/ciphertexts/{name}", CHUNK_BYTES, f"Ciphertext {name[:12]}")

    def _load(self, path: str, most: int, what: str) -> bytes:
        try:
            status, content = self._client.ask("GET", path, most)
        except ResourceError as error:  # the server is away: whoever reads tries again
            raise EvidenceError(f"{what} could not be read. {error.what}", error.remedy) from error
        if status != HTTPStatus.OK:
            raise EvidenceError(f"{what} could not be read from the server: {sentence(status, content)}.", _REMEDY)
        if len(content) > most:
            raise VerificationError(f"{what} is longer than {most:,} bytes.", _REMEDY)
        return content
