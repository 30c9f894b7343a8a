"""A witness's request proves its account; a study has the witness that it was provisioned with, or expressly none."""

from pathlib import Path

import pytest

from blockchain.consortium.witness_enrollment import MAX_BYTES, WitnessRequest, sign_witness_request
from blockchain.identity import Identity
from commands.provision.naming_witness import named_witness
from commands.witness.kits import make_witness_kit
from fedward.errors import UsageError, VerificationError
from fedward.files import sha256
from fedward.hosts.spoken import spoken

TOKEN = "ab" * 32


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return Identity.create(tmp_path_factory.mktemp("witness") / "identity")


def test_a_request_names_account_and_token_and_shows_neither_key_nor_token(identity: Identity) -> None:
    content = sign_witness_request(identity, TOKEN)
    assert TOKEN.encode() not in content
    found = WitnessRequest.from_bytes(content, "It")
    assert (found.address, found.token_hash) == (identity.address, sha256(TOKEN.encode()).hex())
    assert found.to_bytes() == content


def test_a_request_for_another_account_or_token_is_refused(identity: Identity, tmp_path: Path) -> None:
    content = sign_witness_request(identity, TOKEN).decode()
    other = Identity.create(tmp_path / "other")
    for changed in (
        content.replace(identity.address, other.address),
        content.replace(sha256(TOKEN.encode()).hex(), "cd" * 32),
    ):
        assert changed != content
        with pytest.raises(VerificationError, match="is not signed by the account"):
            WitnessRequest.from_bytes(changed.encode(), "It")
    for nonsense in (b"", b"{}", content.encode() + b" " * MAX_BYTES):
        with pytest.raises(UsageError):
            WitnessRequest.from_bytes(nonsense, "It")


def test_a_study_has_a_witness_or_expressly_none(identity: Identity, tmp_path: Path) -> None:
    path = tmp_path / "request.json"
    path.write_bytes(sign_witness_request(identity, TOKEN))
    assert named_witness(None, None, none_wanted=True) is None
    found = named_witness(path, spoken(path.read_bytes()), none_wanted=False)
    assert found is not None
    assert found.address == identity.address
    with pytest.raises(VerificationError, match="The number of the witness's request is"):
        named_witness(path, spoken(b"another"), none_wanted=False)
    for request, none_wanted in ((None, False), (path, True)):
        with pytest.raises(UsageError, match="a witness, or expressly none"):
            named_witness(request, None, none_wanted)


def test_a_kit_lies_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEDWARD_PASSWORD_FILE", raising=False)
    with pytest.raises(UsageError, match="need a password"):
        make_witness_kit(tmp_path / "witness", None)
    assert list(tmp_path.iterdir()) == []
    kit = make_witness_kit(tmp_path / "witness", tmp_path / "password")
    assert kit.exists()
    assert kit.load_token() not in kit.request.read_text()
    assert kit.token.stat().st_mode & 0o077 == 0
    with pytest.raises(UsageError, match="has joined no study yet"):
        kit.load_project()
    with pytest.raises(UsageError, match="is in use"):
        make_witness_kit(tmp_path / "witness", None)
