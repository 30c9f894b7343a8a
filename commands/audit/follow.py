"""`main.py audit --follow`: audits a run while it goes on, round by round, and attests where it is a witness."""

import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from blockchain.audit.auditor import AuditResult
from blockchain.audit.auditor import audit as examine
from blockchain.audit.checks.rounds import RoundStory
from blockchain.audit.following import Follower, Witness
from blockchain.audit.report import Line, Report, Status, Step
from blockchain.audit.sources.node_evidence import NodeEvidence
from blockchain.audit.sources.node_rpc import NodeRpc
from blockchain.audit.sources.run_evidence import RunEvidence
from blockchain.consortium.trust import TrustFile
from blockchain.identity import Identity
from blockchain.ledger.ledger import Ledger
from blockchain.ledger.records import RoundPhase
from blockchain.node.stored_chain import StoredChain
from blockchain.witness import attest_round
from commands import console
from commands.audit.lines import count, render_lines
from fedward.errors import EvidenceError, FedwardError
from fedward.files import parse_json, read_lines
from fedward.folders.places import chain_file, record_file
from fedward.folders.simulation import SimulationFolder
from fedward.folders.whereabouts import announced_url
from fedward.settings import LedgerSettings
from fedward.tables import one_table
from fedward.types import Address

POLL_S = 0.5
CLOSING_S = 300.0  # from the last round to the end of a run: every hospital's model is compared and scored


@dataclass
class Following:
    """Follows one run, and prints its rounds as they end.

    Args:
        run: The run's folder.
        rpc_url: The node; None: what the run folder says.
        contract: The ledger; None: what the run folder says.
        trust: What the hospitals vouch for, or None.
        witness: Folder of the witness's keys; None: the run's own, where its ledger requires a witness.
        quiet: Whether lines wait for the end, as for JSON.
        every_line: Whether a hospital for which every check holds gets a line of its own.

    Attributes:
        used_own_trust: Whether the last audit used the run's own trust file, which the run writes at its end.
    """

    run: SimulationFolder
    rpc_url: str | None
    contract: Address | None
    trust: TrustFile | None
    witness: Path | None
    quiet: bool
    every_line: bool
    used_own_trust: bool = field(default=False, init=False)
    _told: set[Line] = field(default_factory=set, init=False)
    _rounds: int = 0  # how many rounds were shown
    _note: str = ""

    def until_the_end(self) -> AuditResult:
        """Follow until the run has finished, or Ctrl-C; returns the last audit, of the whole run where it has ended."""
        follower: Follower | None = None
        with ExitStack() as stack:
            try:
                while True:
                    over = _is_over(self.run)
                    follower = follower or self._begin(stack)
                    away = follower is None or not self._look(follower)
                    if over or (away and self.rpc_url is None and _is_stopped(self.run)):
                        return self._conclude(follower)
                    time.sleep(POLL_S)
            except KeyboardInterrupt:
                console.note("Stopped on request; this is what was found so far.")
        if follower and follower.last:
            return follower.last
        report = Report()
        report.missing(Step.EVIDENCE, "Nothing was audited yet.")
        return AuditResult(str(self.run.path), report)

    def _begin(self, stack: ExitStack) -> Follower | None:
        """Start to follow, once the run and its node are there."""
        url = self.rpc_url or announced_url(self.run.ledger)
        if url is None or not record_file(self.run.path).exists():
            self._say(f"Waiting for a node of {self.run.path}.")
            return None
        record = self.run.server.load_record()
        contract = self.contract or record.contract
        rpc = stack.enter_context(closing(NodeRpc(url)))
        evidence = NodeEvidence(rpc, contract, RunEvidence(self.run.path), self.trust)
        if self.rpc_url is None and not self._is_the_runs(evidence, record.genesis_hash):
            return None
        self._say(f"Following {self.run.path} at {url}.")
        return Follower(evidence, contract, self.trust, self._witness(stack, url, contract), console.note)

    def _is_the_runs(self, evidence: NodeEvidence, genesis_hash: str) -> bool:
        """Whether the announced node is the run's: a crash leaves the announcement, and others may take the port."""
        try:
            found = evidence.block_hash_zero().hex()
        except FedwardError as error:
            self._say(f"The run's node does not answer. {error.what}")
            return False
        if found != genesis_hash:
            self._say("Another chain's node answers where the run's did.")
        return found == genesis_hash

    def _witness(self, stack: ExitStack, url: str, contract: Address) -> Witness | None:
        """The witness that attests: from the given folder, or the run's own where the ledger requires one."""
        folder = self.witness
        if folder is None and self.run.witness.path.is_dir():
            rules = one_table("ledger", LedgerSettings, self.run.server.load_record().settings.get("ledger", {}))
            folder = self.run.witness.identity if rules.witness_required else None
        if folder is None:
            return None
        identity = Identity.load(folder)
        opened: list[Ledger] = []

        def attest(round_index: int) -> None:
            if not opened:
                opened.append(stack.enter_context(closing(Ledger.attach(url, contract, identity))))
            attest_round(opened[0], RunEvidence(self.run.path), round_index)

        return Witness(identity.address, attest)

    def _look(self, follower: Follower) -> bool:
        """Look once, and show what is new; returns whether the node answered."""
        try:
            result = follower.look()
        except EvidenceError as error:
            self._say(f"Waiting for the node. {error.what}")
            return False
        except FedwardError as error:
            self._say(f"{error}")
            return True
        if result:
            self._show(result, follower.stories)
        if follower.stories:
            self._say(_standing(follower.stories[-1]))
        return True

    def _show(self, result: AuditResult, stories: list[RoundStory]) -> None:
        """The lines of every round that has ended since, and whatever else fails."""
        if self.quiet:
            return
        lines = result.report.in_order()
        for story in stories[self._rounds :]:
            if story.ended is None:
                break
            self._rounds = story.round_index
            bad = [sum(line.status is status for line in lines) for status in (Status.FAIL, Status.MISSING)]
            checks = count(result.report.checks_run, "check")
            console.out.print(
                f"Round {story.round_index} {story.outcome.name.lower()}. So far {checks}, {bad[0]} FAIL, "
                f"{bad[1]} MISSING."
            )
            self._print([line for line in lines if line.round_index == story.round_index])
        self._print([line for line in lines if line.status is Status.FAIL and line not in self._told])

    def _print(self, lines: list[Line]) -> None:
        self._told |= set(lines)
        for row in render_lines(Report(lines), self.every_line):
            console.out.print(row, soft_wrap=True)

    def _conclude(self, follower: Follower | None) -> AuditResult:
        """The run has ended: audit it as a whole, from its folder once its node is stopped, else from the node."""
        if self.rpc_url is not None and not _is_stopped(self.run):
            if follower is None or follower.last is None:
                raise EvidenceError(f"The node at {self.rpc_url} did not answer.", "Start it, or correct --rpc.")
            return examine(follower.evidence, self.trust)
        deadline = time.monotonic() + CLOSING_S
        while not _is_stopped(self.run):
            self._say("The last round is over: waiting for the run to write what it leaves behind.")
            if time.monotonic() > deadline and follower and follower.last:
                console.warn("The run did not end; this is the last that was found.")
                return follower.last
            time.sleep(POLL_S)
        trust = self.trust
        if trust is None and self.run.trust.exists():
            trust, self.used_own_trust = TrustFile.load(self.run.trust), True
        return examine(RunEvidence(self.run.path), trust)

    def _say(self, text: str) -> None:
        """Print what is going on, whenever it changes."""
        if text != self._note:
            self._note = text
            console.note(text)


def _standing(story: RoundStory) -> str:
    """How far a round is, as text."""
    members = len(story.roster)
    if story.ended:
        return f"Round {story.round_index} is {story.outcome.name.lower()}; waiting for the next."
    if story.outcome is RoundPhase.VOTING:
        return f"Round {story.round_index}: {len(story.votes)} of {members} votes."
    return f"Round {story.round_index}: {len(story.updates)} of {members} updates."


def _is_over(run: SimulationFolder) -> bool:
    """Whether the server says that it has led its last round."""
    try:
        lines = read_lines(run.server.progress)
        last = parse_json(lines[-1].encode()) if lines else {}
        return isinstance(last, dict) and last.get("event") in ("finished", "failed")
    except (FedwardError, ValueError):
        return False


def _is_stopped(run: SimulationFolder) -> bool:
    """Whether no node serves the run's chain: then its store can be read."""
    if not record_file(run.path).exists():  # it is only beginning
        return False
    try:
        with StoredChain.open(chain_file(run.path)):
            return True
    except FedwardError:
        return False
