"""A server checks and adds real ciphertexts where neither the encryption library nor TensorFlow can be imported."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from encryption import RoundKey, decrypt, encrypt
from fedward.ciphertexts.aggregation import aggregate_plain
from fedward.ciphertexts.packing import quantize
from fedward.ciphertexts.plan import plan_layout
from fedward.ciphertexts.serialized import MODULUS
from fedward.files import merkle_root, sha256
from fedward.sharing.modular import add
from fedward.types import PrivacyEvent, PrivateUpdate

ROOT = Path(__file__).resolve().parents[2]
EVENT = PrivacyEvent("none", "none", 1.0, 0.0, 0, 0.0, 0.0)
PLAN = plan_layout(20_000, 3, 1.0, 2, 18)
WEIGHTS = (5, 3, 2)
SEED = bytes(range(32))
FORBIDDEN = (
    "Pyfhel",
    "tensorflow",
    "keras",
    "encryption",
    "fedward.sharing.sealed_releases",
    "fedward.sharing.releases",
)

# The ledger and its opening are stand-ins: every commitment is taken. All else is the server's own.
SERVER = """
import importlib.abc, json, pathlib, sys
from types import SimpleNamespace

class Barred(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if {name, name.partition(".")[0]} & set(sys.argv[2].split()):
            raise ImportError(f"{name} must not be imported")

sys.meta_path.insert(0, Barred())
import server
from blockchain.verification import examine, verify
from fedward.types import Commitment, PrivacyEvent, Rejection, SignedCommitment, StoredUpdate, VerifiedUpdate

event = PrivacyEvent("none", "none", 1.0, 0.0, 0, 0.0, 0.0)
store, told = pathlib.Path(sys.argv[1]), json.loads(sys.stdin.read())
roster = [SimpleNamespace(index=index, address=each["hospital"]) for index, each in enumerate(told)]
opening, ledger = SimpleNamespace(round_index=1, roster=roster), SimpleNamespace(prepare=lambda signed: None)
updates = []
for each in told:
    root, word = bytes.fromhex(each["root"]), bytes(32)
    shares = tuple(store / name for name in each["shares"])
    commitment = Commitment(
        1, "0x0", 1, each["hospital"], word, word, word, root, each["bytes"],
        bytes.fromhex(each["shares_root"]), 1, event,
    )
    files = tuple(store / name for name in each["names"])
    stored = StoredUpdate(each["hospital"], files, shares, SignedCommitment(commitment, b""))
    updates.append(verify(examine(stored, opening, event, ledger), None, ledger))
good = [update for update in updates if isinstance(update, VerifiedUpdate)]
total = server.aggregate(good, store)
refused = [update.reason for update in updates if isinstance(update, Rejection)]
print(json.dumps({"sum": [file.name for file in total.chunk_files], "refused": refused}))
"""


def run_server(store: Path, updates: list[dict[str, object]]) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", SERVER, str(store), " ".join(FORBIDDEN)]
    return subprocess.run(command, cwd=ROOT, input=json.dumps(updates), capture_output=True, text=True, check=False)


def stored(store: Path, number: int, chunks: tuple[bytes, ...]) -> dict[str, object]:
    """Keep an update's ciphertexts as the server does, and what was committed to."""
    names = [sha256(chunk).hex() for chunk in chunks]
    for name, chunk in zip(names, chunks, strict=True):
        (store / name).write_bytes(chunk)
    root = merkle_root([bytes.fromhex(name) for name in names]).hex()
    shares = [sha256(b"of %d for %d" % (number, holder)) for holder in range(4)]
    return {
        "hospital": f"0x{number:040x}",
        "root": root,
        "bytes": sum(map(len, chunks)),
        "names": names,
        "shares": [share.hex() for share in shares],
        "shares_root": merkle_root(shares).hex(),
    }


def test_a_server_without_encryption_library_verifies_and_adds(tmp_path: Path) -> None:
    keys, rng = [RoundKey.generate() for _ in WEIGHTS], np.random.default_rng(0)
    deltas = rng.normal(0, 0.2, (3, PLAN.parameters)).astype(np.float32)
    updates, integers = [], []
    for number, (delta, weight) in enumerate(zip(deltas, WEIGHTS, strict=True)):
        rounding = np.random.default_rng(number)
        sent = encrypt(PrivateUpdate(delta, EVENT), weight, sum(WEIGHTS), PLAN, keys[number], SEED, rounding)
        updates.append(stored(tmp_path, number, sent.chunks))
        integers.append(quantize(delta, weight, sum(WEIGHTS), PLAN, np.random.default_rng(number)).values)
    unfit = sent.chunks[0][:-8] + MODULUS.to_bytes(8, "little")
    updates.append(stored(tmp_path, 3, (unfit, *sent.chunks[1:])))
    done = run_server(tmp_path, updates)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["refused"] == ["MalformedCiphertext"]
    whole = RoundKey(functools.reduce(add, [key.residues() for key in keys]))
    sums = decrypt(((tmp_path / name).read_bytes() for name in answer["sum"]), PLAN, whole, SEED, len(WEIGHTS))
    np.testing.assert_array_equal(sums, aggregate_plain(integers))


def test_the_import_is_barred_where_it_is_tried() -> None:
    """The control: a program that needs the library does fail this way."""
    program = SERVER.replace("import server\n", "import encryption\n", 1)
    command = [sys.executable, "-c", program, ".", " ".join(name for name in FORBIDDEN if name != "encryption")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Pyfhel must not be imported" in done.stderr
