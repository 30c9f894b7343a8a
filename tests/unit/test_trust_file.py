"""The trust file: what was saved is what is loaded, and whatever else is in the file, only our errors come out."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blockchain.consortium.trust import MAX_BYTES, TrustFile
from blockchain.identity import Identity
from blockchain.signing.checkpoints import Checkpoint, SignedCheckpoint, recover_checkpoint_signer, sign_checkpoint
from fedward.checked_json import to_json
from fedward.errors import EvidenceError, FedwardError, VerificationError
from fedward.types import Address, HospitalId

CONTRACT = Address("0x5B38Da6a701c568545dCfcB03FcB875f56beddC4")
FIRST, SECOND = (
    Address("0xAb8483F64d9C6d1EcF9b849Ae677dD3315835cb2"),
    Address("0x4B20993Bc481177ec7E8f571ceCaE8A9e22C02db"),
)


def small() -> TrustFile:
    seen = Checkpoint(7, CONTRACT, FIRST, 3, 12, bytes([1]) * 32, bytes([2]) * 32)
    hospitals = {HospitalId("hospital-1"): FIRST, HospitalId("hospital-2"): SECOND}
    return TrustFile(7, CONTRACT, bytes([9]) * 32, hospitals, (SECOND,), (SignedCheckpoint(seen, bytes(65)),))


def loaded(path: Path, content: object) -> TrustFile:
    """Load what is written here as JSON, or as it is where it is bytes already."""
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return TrustFile.load(path)


# ---- round trips ----------------------------------------------------------------------------------------------------


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    small().save(tmp_path / "trust.json")
    assert TrustFile.load(tmp_path / "trust.json") == small()


def test_a_signature_survives_the_file(tmp_path: Path) -> None:
    identity = Identity.create(tmp_path / "key")
    seen = dataclasses.replace(small().checkpoints[0].checkpoint, hospital=identity.address)
    trust = dataclasses.replace(small(), checkpoints=(sign_checkpoint(seen, identity),))
    trust.save(tmp_path / "trust.json")
    assert recover_checkpoint_signer(TrustFile.load(tmp_path / "trust.json").checkpoints[0]) == identity.address


def test_several_hospitals_files_are_read_as_one(tmp_path: Path) -> None:
    first = small()
    seen = dataclasses.replace(first.checkpoints[0].checkpoint, hospital=SECOND)
    second = dataclasses.replace(first, checkpoints=(SignedCheckpoint(seen, bytes(65)), *first.checkpoints))
    paths = [tmp_path / "first.json", tmp_path / "second.json"]
    for path, one in zip(paths, (first, second), strict=True):
        one.save(path)
    assert TrustFile.load_all(paths[:1]) == first
    both = TrustFile.load_all(paths)
    assert both.checkpoints == (first.checkpoints[0], second.checkpoints[0]), "each once"
    assert dataclasses.replace(both, checkpoints=first.checkpoints) == first


def test_a_hospital_that_one_of_several_files_names_counts(tmp_path: Path) -> None:
    """Who joined late has never agreed to a roster with those that were revoked before."""
    third = Address("0x78731D3Ca6b7E34aC0F824c42a7cC18A495cabaB")
    late = {HospitalId("hospital-2"): SECOND, HospitalId("hospital-3"): third}
    small().save(tmp_path / "first.json")
    dataclasses.replace(small(), hospitals=late).save(tmp_path / "late.json")
    both = TrustFile.load_all([tmp_path / "first.json", tmp_path / "late.json"])
    assert both.hospitals == {**small().hospitals, **late}
    # One name for two accounts, or two for one, is a contradiction.
    for odd in ({HospitalId("hospital-1"): third}, {HospitalId("hospital-3"): FIRST}):
        dataclasses.replace(small(), hospitals=odd).save(tmp_path / "odd.json")
        with pytest.raises(VerificationError, match="disagree"):
            TrustFile.load_all([tmp_path / "first.json", tmp_path / "odd.json"])


@pytest.mark.parametrize("part", ["chain_id", "contract", "genesis_hash", "hospitals", "witnesses"])
def test_files_that_disagree_are_refused(tmp_path: Path, part: str) -> None:
    other = {"chain_id": 8, "contract": FIRST, "genesis_hash": bytes(32), "witnesses": ()}
    other["hospitals"] = {HospitalId("hospital-1"): SECOND, HospitalId("hospital-2"): FIRST}
    small().save(tmp_path / "first.json")
    dataclasses.replace(small(), **{part: other[part]}).save(tmp_path / "second.json")
    with pytest.raises(VerificationError, match="disagree"):
        TrustFile.load_all([tmp_path / "first.json", tmp_path / "second.json"])


def test_a_file_of_the_first_version_is_read(tmp_path: Path) -> None:
    fields = small().to_json() | {"version": 1}
    (signed,) = fields["checkpoints"]
    flat = {name: value for name, value in signed["checkpoint"].items() if name != "round_index"}
    fields["checkpoints"] = [flat | {"round": signed["checkpoint"]["round_index"], "signature": signed["signature"]}]
    assert loaded(tmp_path / "trust.json", fields) == small()


# ---- files that are none --------------------------------------------------------------------------------------------


def changed(*path: Any, to: Any) -> Any:
    """The small trust file as JSON with one value replaced."""
    fields = small().to_json()
    inner: Any = fields
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return fields


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"null",
        b"[" * 100_000,
        b'{"format": "fedward-trust", "version": 1' + b"0" * 10_000 + b"}",
        [],
        "text",
        changed("format", to="other"),
        changed("version", to=3),
        changed("version", to=True),
        changed("version", to=1.0),
        changed("chain_id", to="7"),
        changed("chain_id", to=True),
        changed("chain_id", to=-1),
        changed("chain_id", to=2**64),
        changed("chain_id", to=7.0),
        changed("contract", to=CONTRACT.lower()),
        changed("contract", to="x.eth"),
        changed("contract", to=None),
        changed("genesis_hash", to="00" * 31),
        changed("genesis_hash", to="zz" * 32),
        changed("genesis_hash", to=5),
        changed("genesis_hash", to=" ".join(["00"] * 32)),
        changed("hospitals", to=[FIRST]),
        changed("hospitals", to={}),
        changed("hospitals", to={"Hospital 1": FIRST}),
        changed("hospitals", to={"../x": FIRST}),
        changed("hospitals", to={"a": FIRST, "b": FIRST}),
        changed("hospitals", to={"a": {}}),
        changed("witnesses", to="0x"),
        changed("witnesses", to={FIRST: 1}),
        changed("witnesses", to=[None]),
        changed("checkpoints", to={"a": 1}),
        changed("checkpoints", to=[[]]),
        changed("checkpoints", 0, "signature", to=None),
        changed("checkpoints", 0, "signature", to="00" * 64),
        changed("checkpoints", 0, "checkpoint", "height", to=1.5),
        changed("checkpoints", 0, "checkpoint", "block_hash", to="00"),
    ],
)
def test_what_is_no_trust_file_is_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(VerificationError, match=r"The trust file .*trust.json is (malformed: .* must |no JSON)"):
        loaded(tmp_path / "trust.json", content)


@pytest.mark.parametrize("name", list(small().to_json()))
def test_every_field_is_needed(tmp_path: Path, name: str) -> None:
    fields = {key: value for key, value in small().to_json().items() if key != name}
    with pytest.raises(VerificationError, match=f"is malformed: {name} is missing"):
        loaded(tmp_path / "trust.json", fields)


def test_a_hospital_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    text = json.dumps(small().to_json()).replace('"hospital-2"', '"hospital-1"')
    with pytest.raises(VerificationError, match="a key is named twice"):
        loaded(tmp_path / "trust.json", text.encode())


def test_what_is_not_there_is_missing_evidence(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.json", tmp_path, tmp_path / ("x" * 300), Path("nul\0byte")):
        with pytest.raises(EvidenceError, match="--trust"):
            TrustFile.load(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "trust.json"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(VerificationError, match="is longer than 67,108,864 bytes"):
        TrustFile.load(path)


def test_a_source_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    endless = tmp_path / "trust.json"
    endless.symlink_to(os.fspath(Path("/dev/zero")))
    with pytest.raises(EvidenceError, match="not a regular file"):
        TrustFile.load(endless)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([FIRST, "00" * 32, "fedward-trust"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
PLACES = st.sampled_from(
    [(name,) for name in small().to_json()]
    + [("checkpoints", 0, name) for name in ("checkpoint", "signature")]
    + [("checkpoints", 0, "checkpoint", name) for name in to_json(small().checkpoints[0].checkpoint)]
    + [("hospitals", "hospital-1"), ("witnesses", 0), ("checkpoints", 0)]
)


@settings(max_examples=300, deadline=None)
@given(place=PLACES, value=JSON)
def test_garbage_in_any_field_raises_only_our_errors(
    tmp_path_factory: pytest.TempPathFactory, place: tuple[Any, ...], value: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "garbage.json"
    try:
        trust = loaded(path, changed(*place, to=value))
    except FedwardError:
        return
    trust.save(path)
    assert TrustFile.load(path) == trust


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_garbage_raises_only_our_errors(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    with pytest.raises(FedwardError):
        loaded(tmp_path_factory.getbasetemp() / "garbage.json", content)
