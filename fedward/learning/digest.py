"""The digest of a model's weights: what the ledger, votes and `summary.json` name a model by."""

import numpy as np

from fedward.files import sha256
from fedward.types import Vector


def weights_digest(weights: Vector) -> bytes:
    """SHA-256 of the weights as little-endian float32."""
    return sha256(np.ascontiguousarray(weights, dtype="<f4").tobytes())
