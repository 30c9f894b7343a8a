"""The server's log of a round: progress events as they happen, and one line of metrics at the end."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fedward.errors import FedwardError, error_of
from fedward.figures.validation import validation_figures
from fedward.folders.round_counts import RoundCounts
from fedward.folders.server import ServerFolder
from fedward.messages.replies import Failure, Malformed
from fedward.messages.submissions import TrainingReport
from fedward.timing import Stopwatch
from fedward.types import ABSTAINED, Address, Rejection, Vote


class RoundLog:
    """Gathers one round's figures and writes them to the server's folder.

    Attributes:
        clock: Seconds by stage, of the server and summed over the hospitals.
        rejections: Updates, votes, dealings and releases that were set aside, with their reasons.
        wrong_releases: By place on the roster: how many hospitals found its release wrong.
    """

    def __init__(self, folder: ServerFolder, round_index: int) -> None:
        self.clock = Stopwatch()
        self.rejections: list[Rejection] = []
        self._left_out: set[Address] = set()
        self._folder = folder
        self._round_index = round_index
        record = folder.load_record()
        self._members = {member.address: member for member in record.roster}
        self._encrypted: int | None = 0 if record.settings["metrics"]["encrypted"] else None
        self._train_losses: list[float] = []
        self._saturated = 0
        self._submitted: list[Address] = []
        self._verdicts: dict[Address, bool] = {}
        self._failures: list[Failure] = []
        self.wrong_releases: Counter[int] = Counter()
        self._tell("opened")

    def submitted(self, hospital: Address, report: TrainingReport | None, seconds: dict[str, float]) -> None:
        """An update was verified and will be added."""
        self._submitted.append(hospital)
        self.clock.add(seconds)
        if report:
            if report.loss is not None:
                self._train_losses.append(report.loss)
            self._saturated += report.saturated
        self._tell("submitted", hospital=self._name(hospital), done=len(self._submitted))

    def rejected(self, rejection: Rejection) -> None:
        """An update or a vote was set aside."""
        self.rejections.append(rejection)
        self._tell("rejected", **(asdict(rejection) | {"hospital": self._name(rejection.hospital)}))

    def left_out(self, rejection: Rejection) -> None:
        """A hospital's update is not added, though nothing is wrong with it."""
        self.rejections.append(rejection)
        self._left_out.add(rejection.hospital)
        self._tell("left-out", **(asdict(rejection) | {"hospital": self._name(rejection.hospital)}))

    def failed(self, node: int, failure: Failure, hospital: Address | None = None) -> None:
        """A hospital could not do its part; `hospital` is None where its node has not shown which one it is."""
        self._failures.append(failure)
        name = self._name(hospital) if hospital else None
        self._tell("hospital-failed", node=str(node), hospital=name, what=failure.what, remedy=failure.remedy)

    def common_cause(self) -> FedwardError | None:
        """The error that all failed hospitals have in common, if they have one: a full disk, a spent budget."""
        codes = {failure.exit_code for failure in self._failures}
        set_aside = [
            rejection
            for rejection in self.rejections
            if rejection.reason != ABSTAINED and rejection.hospital not in self._left_out
        ]
        if len(codes) != 1 or FedwardError.exit_code in codes or set_aside:
            return None
        first = self._failures[0]
        return error_of(first.exit_code, first.what, first.remedy)

    def voted(self, vote: Vote, seconds: dict[str, float], wrong_releases: Sequence[int]) -> None:
        """A vote is on the ledger.

        Args:
            vote: As it was signed.
            seconds: What the hospital took, by stage.
            wrong_releases: Places on the roster whose part of the sum's key it found wrong.
        """
        self._verdicts[vote.hospital] = vote.accept
        self.clock.add(seconds)
        self.wrong_releases.update(wrong_releases)
        self._tell("voted", hospital=self._name(vote.hospital), accept=vote.accept, done=len(self._verdicts))

    @property
    def ballots(self) -> int:
        """How many votes are on the ledger so far."""
        return len(self._verdicts)

    def unanswered(self, hospital: Address | None, what: str, reply: object) -> None:
        """A hospital was asked about something, and gave no usable answer; the round may go on without it."""
        reason = str(reply) if isinstance(reply, Failure | Malformed) else "Its answer is not signed for this round."
        self._tell("unanswered", hospital=self._name(hospital) if hospital else None, what=what, reason=reason)

    def keep_counts(self, counts: RoundCounts) -> None:
        """Keep what came with the votes, before these are counted."""
        self._folder.counts.save(self._round_index, counts)

    def encrypted_counts(self, hospitals: int) -> None:
        """Note how many hospitals' validation counts are in the encrypted sum that was kept; 0 where none was kept."""
        self._encrypted = hospitals

    def waiting(self, what: str, deadline: int) -> None:
        """Some hospitals are missing, so the ledger's deadline has to pass."""
        self._tell("waiting", what=what, deadline=deadline)

    def finish(self, phase: str, height: int, ledger_head: bytes) -> None:
        """Write the round's line of metrics; height and 32 bytes of ledger head are those after the round."""
        figures = self._figures()
        metrics = {
            "round": self._round_index,
            "phase": phase,
            "submitted": len(self._submitted),
            "rejections": [asdict(rejection) for rejection in self.rejections],
            "failures": [str(failure) for failure in self._failures],
            "accepts": sum(self._verdicts.values()),
            "rejects": len(self._verdicts) - sum(self._verdicts.values()),
            "train_loss": sum(self._train_losses) / len(self._train_losses) if self._train_losses else None,
            **figures,
            "saturated": self._saturated,
            "height": height,
            "ledger_head": ledger_head.hex(),
            "timing_s": self.clock.seconds,
        }
        self._folder.log_round(metrics)
        told = {key: metrics[key] for key in ("phase", "train_loss", "val_loss", "val_auc", "timing_s")}
        self._tell("closed", **told, encrypted_counts=self._encrypted)

    def _figures(self) -> dict[str, Any]:
        """The figures of the counts that are kept, also where a crash came between them and this line."""
        kept = self._folder.counts.load(self._round_index)
        weights = {address: member.weight for address, member in self._members.items()}
        figures = validation_figures(kept.pooled(weights) if kept else None)
        # Of encrypted ones the server cannot tell how many images there are, not even that there is none.
        return figures if self._encrypted is None else dict.fromkeys(figures)

    def _name(self, address: Address) -> str:
        member = self._members.get(address)
        return member.hospital if member else address or "unknown"

    def _tell(self, event: str, **details: Any) -> None:
        self._folder.log_progress(event, round=self._round_index, **details)
