"""How long an audit takes, by rounds and by hospitals: on whole ledgers with real ciphertexts, without training.

Each ledger is made through the contract on the embedded node, with updates of the CNN's size that hold random values.
Only the audit is timed. Keys are dealt and nothing is released, so what the audit reads of answers and releases is
missing, and not timed. `ratio_rounds` is a round's time among twenty rounds over its time among five, and
`ratio_hospitals` a hospital's time in a round of twenty over that in a round of five: 1 is linear.
Run: .venv/bin/python benchmarks/audit.py [--json]
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from blockchain.audit.auditor import audit
from blockchain.audit.sources.run_evidence import RunEvidence
from blockchain.consortium.trust import TrustFile
from blockchain.ledger.ledger import Ledger
from blockchain.node.embedded import start_node
from blockchain.signing.signatures import Verdict, commit, sign_vote
from blockchain.verification import ExaminedUpdate, examine, verify
from commands.simulate.founding import Parties, create_parties
from encryption import RoundKey, encrypt
from fedward import settings as setting
from fedward.ciphertexts.aggregation import aggregate
from fedward.ciphertexts.packing import round_plan
from fedward.ciphertexts.public_polynomials import round_seed
from fedward.files import sha256
from fedward.folders.server import RunRecord
from fedward.folders.simulation import SimulationFolder
from fedward.privacy.mechanism import expected_event, privatize
from fedward.settings import Settings, to_tables
from fedward.sharing.dealing import deal_key
from fedward.sharing.sealed_shares import seal_shares, shares_root
from fedward.sharing.terms import Purpose, ShareTerms
from fedward.types import HospitalId, Member, ModelUpdate, StoredUpdate, VerifiedUpdate

PARAMETERS = 97_521  # the CNN
WEIGHT = 100
CASES = ((5, 2), (5, 5), (5, 10), (5, 20), (10, 5), (20, 5))  # hospitals, rounds


@dataclass(frozen=True)
class Row:
    """One audit: its size, what it checked and how long it took."""

    hospitals: int
    rounds: int
    blocks: int
    checks: int
    seconds: float
    seconds_per_round: float


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    rows = [measure(hospitals, rounds) for hospitals, rounds in CASES]
    ratios = growth(rows)
    if as_json:
        print(json.dumps({"parameters": PARAMETERS, "rows": [vars(row) for row in rows], **ratios}, indent=2))
        return
    print("hospitals  rounds  blocks  checks  seconds  seconds/round")
    for row in rows:
        print(
            f"{row.hospitals:9d}  {row.rounds:6d}  {row.blocks:6d}  {row.checks:6d}  {row.seconds:7.2f}  "
            f"{row.seconds_per_round:13.3f}"
        )
    print(", ".join(f"{name} {value:.2f}" for name, value in ratios.items()))


def growth(rows: Sequence[Row]) -> dict[str, float]:
    """How the time grows with rounds and with hospitals: ratios of times per round and per hospital; 1: linear."""
    by_case = {(row.hospitals, row.rounds): row.seconds for row in rows}
    return {
        "ratio_rounds": by_case[5, 20] / by_case[5, 5] / 4,
        "ratio_hospitals": by_case[20, 5] / by_case[5, 5] / 4,
    }


def measure(hospitals: int, rounds: int) -> Row:
    """Make a ledger and audit its run folder, re-addition included."""
    settings = setting.load(None, ("data.hospitals", hospitals), ("training.rounds", rounds))
    with tempfile.TemporaryDirectory() as folder:
        run = SimulationFolder.create(Path(folder) / "run")
        trust, height = make_ledger(run, settings)
        began = time.perf_counter()
        report = audit(RunEvidence(run.path), trust, lambda _done, _total: None).report
        seconds = time.perf_counter() - began
    if any(line.status.value == "FAIL" for line in report.lines):
        raise SystemExit(f"The audit found what does not hold: {report.to_json()}")
    return Row(hospitals, rounds, height, report.checks_run, seconds, seconds / rounds)


def make_ledger(run: SimulationFolder, settings: Settings) -> tuple[TrustFile, int]:
    """Found a consortium and lead its rounds; returns a trust file without checkpoints, and the height."""
    names = [HospitalId(f"hospital-{number}") for number in range(1, settings.data.hospitals + 1)]
    parties = create_parties(run, names)
    with start_node(run.ledger, settings.ledger.chain_id, parties.addresses()) as node:
        ledger = Ledger.deploy(node.url, parties.server, settings.ledger, settings.digest(), bytes([1]) * 32)
        for place, identity in enumerate(parties.hospitals.values()):
            ledger.register(identity.address, WEIGHT, identity.x25519_public_key, dealer=place == 0)
        dealer = next(iter(parties.hospitals.values()))
        Ledger.attach(node.url, ledger.contract, dealer).set_context(bytes([4]) * 32)
        for _ in range(settings.training.rounds):
            lead_round(run, settings, ledger, parties)
        genesis, height = ledger.block_hash(0), ledger.head().height
        members = tuple(Member(name, parties.hospitals[name].address, WEIGHT) for name in names)
        run.server.save_record(_record(settings, ledger, members, genesis))
        hospitals = {member.hospital: member.address for member in members}
        return TrustFile(ledger.chain_id, ledger.contract, genesis, hospitals, (), ()), height


def lead_round(run: SimulationFolder, settings: Settings, ledger: Ledger, parties: Parties) -> None:
    """Lead one round of random updates, which all hospitals accept."""
    opening, rng = ledger.open_round(), np.random.default_rng()
    plan = round_plan(PARAMETERS, len(opening.roster), settings)
    updates: list[VerifiedUpdate] = []
    head = opening.ledger_head
    seed = round_seed(ledger.chain_id, ledger.contract, opening.round_index, head, Purpose.UPDATES.name)
    for identity in parties.hospitals.values():
        delta = rng.normal(0, 0.01, PARAMETERS).astype(np.float32)
        private = privatize(ModelUpdate(delta, WEIGHT, 0.0), settings.privacy)
        key = RoundKey.generate()
        encrypted = encrypt(private, WEIGHT, opening.enrolled_total, plan, key, seed, rng)
        shares = deal_key(key.residues(), opening.threshold, len(opening.roster))
        terms = [
            ShareTerms(ledger.chain_id, ledger.contract, opening.round_index, head, identity.address, entry.address)
            for entry in opening.roster
        ]
        sealed = seal_shares(shares, [each.x25519_public_key for each in parties.hospitals.values()], terms)
        signed = commit(encrypted, shares_root([sha256(share) for share in sealed]), opening, ledger, identity)
        files = tuple(run.server.ciphertexts.store(chunk) for chunk in encrypted.chunks)
        share_files = tuple(run.path / sha256(share).hex() for share in sealed)
        for file, share in zip(share_files, sealed, strict=True):
            file.write_bytes(share)
        stored = StoredUpdate(identity.address, files, share_files, signed)
        event = expected_event(settings.privacy)
        examined = examine(stored, opening, event, ledger)
        ledger.submit_for(signed)
        updates.append(_verified(verify(examined, None, ledger) if isinstance(examined, ExaminedUpdate) else examined))
        for file in share_files:
            file.unlink()
    total = aggregate(updates, run.server.ciphertexts.path)
    run.server.ciphertexts.save_round(
        opening.round_index, total.chunk_files, {update.hospital: update.chunk_files for update in updates}
    )
    ledger.close_submissions(opening.round_index, total.aggregate_hash, total.included, {})
    record = ledger.round(opening.round_index)
    for identity in parties.hospitals.values():
        ledger.cast_vote_for(
            sign_vote(Verdict(True, bytes([2]) * 32, bytes(32), bytes([3]) * 32), record, ledger, identity)
        )
    ledger.finalize_round(opening.round_index)


def _verified(verdict: object) -> VerifiedUpdate:
    if not isinstance(verdict, VerifiedUpdate):
        raise SystemExit(f"An update of the benchmark was rejected: {verdict}")
    return verdict


def _record(settings: Settings, ledger: Ledger, roster: Sequence[Member], genesis: bytes) -> RunRecord:
    return RunRecord(
        run_id="benchmark",
        created="",
        versions={},
        settings=to_tables(settings),
        settings_digest=settings.digest().hex(),
        initial_model_digest=(bytes([1]) * 32).hex(),
        findings=("PNEUMONIA",),
        class_names=("NORMAL", "PNEUMONIA"),
        parameters=PARAMETERS,
        contract=ledger.contract,
        roster=tuple(roster),
        genesis_hash=genesis.hex(),
        witnesses=(),
    )


if __name__ == "__main__":
    main()
