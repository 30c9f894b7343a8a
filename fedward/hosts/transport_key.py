"""A hospital's transport key: P-384, with which its SuperNode proves to the SuperLink whose it is."""

import base64
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fedward.files import make_folder, sha256, write_atomic


def make_transport_key(private: Path, public: Path) -> ec.EllipticCurvePrivateKey:
    """Draw a key and write both halves in OpenSSH's form, which Flower reads; the private one for its owner only.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    key = ec.generate_private_key(ec.SECP384R1())
    make_folder(private.parent)
    write_atomic(
        private,
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        ),
        0o600,
    )
    line = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    write_atomic(public, line + b"\n")
    return key


def fingerprint(public_line: str) -> str:
    """A public key's fingerprint as `ssh-keygen -l` shows it: "SHA256:" and 43 characters.

    Args:
        public_line: One line in OpenSSH's form.
    """
    content = base64.b64decode(public_line.split()[1])
    return "SHA256:" + base64.b64encode(sha256(content)).decode().rstrip("=")
