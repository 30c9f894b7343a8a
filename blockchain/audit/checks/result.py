"""Step 14: is what the run released what the ledger records? What cannot be told from the ledger is listed by name."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

from blockchain.audit.checks.counts import CheckedCounts
from blockchain.audit.checks.figures import check_metrics, check_thresholds
from blockchain.audit.checks.round_tally import majority
from blockchain.audit.checks.rounds import RoundStory
from blockchain.audit.report import Report, Step
from blockchain.audit.sources.evidence import Claims
from blockchain.audit.sources.released import ReleasedFolder, joined
from blockchain.ledger.records import RoundPhase
from fedward.errors import EvidenceError
from fedward.files import sha256
from fedward.folders.ciphertexts import RoundFiles
from fedward.learning.digest import weights_digest
from fedward.learning.stored_model import StoredModel
from fedward.types import Address, HospitalId

_SHOWN = 16  # digits of a hash
# The ledger does not tell which hospitals answered and released beyond those that a round needs.
LEFT_OUT = (
    "dealings/*.json: answers left out, or in another order",
    "releases/*.json: releases left out, or in another order",
)


def check_roster(claims: Claims, stories: Sequence[RoundStory], late: Set[Address], report: Report) -> None:
    """Compare the hospitals that the run lists, and their weights, with the rosters of the rounds on the ledger.

    Args:
        claims: What the run says.
        stories: All rounds.
        late: Who joined after the last round was opened.
        report: Takes lines of the step `MODEL`.
    """
    weights: dict[Address, set[int]] = {}
    for story in stories:
        for entry in story.roster:
            weights.setdefault(entry.address, set()).add(entry.weight)
    if not stories:
        return
    wrong = 0
    for member in claims.roster:
        recorded = weights.get(member.address)
        if recorded is None and member.address not in late:
            text = f"The run lists {member.hospital} ({member.address}), which is on no round's roster."
        elif recorded is not None and member.weight not in recorded:
            text = f"The run lists {member.hospital} with weight {member.weight}, the ledger has {sorted(recorded)}."
        else:
            continue
        report.fail(Step.MODEL, text, hospital=member.hospital)
        wrong += 1
    for address in sorted(set(weights) - {member.address for member in claims.roster}):
        report.note(Step.MODEL, f"{address} is on the ledger's roster, and the run does not list it.")
    if not wrong:
        text = f"The {len(claims.roster)} hospitals that the run lists are on the ledger, with these weights."
        report.ok(Step.MODEL, text, checks=2 * len(claims.roster))


def check_listed_rounds(listed: Iterable[int], stories: Sequence[RoundStory], report: Report) -> None:
    """Whether ciphertexts are listed only of rounds that the ledger has."""
    known = {story.round_index for story in stories}
    for index in sorted(set(listed) - known):
        text = f"Ciphertexts of a round {index} are listed, which is not on the ledger."
        report.fail(Step.CIPHERTEXTS, text, round_index=index)


def check_result(
    folder: ReleasedFolder,
    claims: Claims,
    stories: Sequence[RoundStory],
    initial_digest: bytes | None,
    listed: Mapping[int, RoundFiles],
    counts: CheckedCounts,
    report: Report,
) -> None:
    """Compare model, summary, metrics and reports with the ledger, and list all else as not verified.

    Args:
        folder: The run's folder.
        claims: What the run says.
        stories: All rounds.
        initial_digest: 32 bytes; of the weights that the first round started from. None: not known.
        listed: The ciphertexts of each round, which other steps compare.
        counts: The validation counts that votes name, and the figures that these give.
        report: Takes lines of the step `MODEL`.
    """
    _Result(folder, claims, stories, initial_digest, listed, counts, report).check()


class _Result:
    """The result of one run under check; its methods add lines."""

    def __init__(
        self,
        folder: ReleasedFolder,
        claims: Claims,
        stories: Sequence[RoundStory],
        initial_digest: bytes | None,
        listed: Mapping[int, RoundFiles],
        counts: CheckedCounts,
        report: Report,
    ) -> None:
        self._counts = counts
        self._rounds = set(listed) & {story.round_index for story in stories}
        self._ciphertexts = {
            name
            for index in self._rounds
            for names in (listed[index].aggregate, *listed[index].updates.values())
            for name in names
        } | counts.ciphertexts
        self._folder, self._claims, self._stories, self._report = folder, claims, stories, report
        self._plain = _optimizer(claims) == "none"
        self._accepted = [story for story in stories if story.outcome is RoundPhase.ACCEPTED]
        self._signed = _signed_digest(self._accepted[-1]) if self._accepted else initial_digest
        self._digest = self._signed if self._plain or not self._accepted else None
        self._checked: set[str] = set()  # files

    def check(self) -> None:
        """All of it."""
        if self._folder.finished:
            with self._report.guarding(Step.MODEL):
                self._check_model(self._folder.model())
            with self._report.guarding(Step.MODEL):
                self._check_summary(self._folder.summary())
        else:
            self._report.note(Step.MODEL, "The run has neither model nor summary yet, so no result is looked at.")
            self._report.not_verified("summary.json and model.keras: they are not there")
        with self._report.guarding(Step.MODEL):
            self._check_record(self._folder.record())
        with self._report.guarding(Step.MODEL):
            check_metrics(self._folder, self._stories, self._counts, self._report)
        with self._report.guarding(Step.MODEL):
            self._check_reports()
        with self._report.guarding(Step.MODEL):
            self._list_files()

    def _check_model(self, stored: StoredModel) -> None:
        """The model's weights, against the digest that accepting hospitals signed in the last accepted round; its card.

        What is of its card on the ledger: the digest of the settings, and what these settings say.
        """
        found = weights_digest(stored.weights)
        if self._accepted and self._signed is None:
            text = "No candidate has more than half of the last accepted round's votes: no model can be in force."
            self._report.fail(Step.MODEL, text, round_index=self._accepted[-1].round_index)
        elif self._digest is None:
            self._report.note(Step.MODEL, f"The weights of model.keras are not verified: {self._why_unknown()}")
            self._report.not_verified("model.keras: weights")
        elif found == self._digest:
            text = f"The weights of model.keras have the digest {found.hex()[:_SHOWN]}… that the ledger records."
            self._report.ok(Step.MODEL, text)
        else:
            text = f"The weights of model.keras have the digest {found.hex()}, the ledger has {self._digest.hex()}."
            self._report.fail(Step.MODEL, text)
        check_thresholds(stored.card, self._accepted, self._counts, self._report)
        settings = self._claims.settings or {}
        expected = {
            "name": settings.get("model", {}).get("name"),
            "image_size": settings.get("data", {}).get("image-size"),
            "settings_digest": self._stories[0].settings_digest.hex() if self._stories else None,
        }
        for name, value in expected.items():
            told = getattr(stored.card, name)
            if value is None:
                self._report.not_verified(f"model.keras: {name}")
            elif told != value:
                text = (
                    f"The card of model.keras states {name} {told!r:.80}, the ledger and the settings have {value!r}."
                )
                self._report.fail(Step.MODEL, text)

    def _why_unknown(self) -> str:
        """Why the ledger does not say which weights are the right ones."""
        if self._accepted:
            return "with a server optimizer, hospitals sign a digest of the weights together with its moments."
        return "no round was accepted, and the digest of the initial model is not known."

    def _check_summary(self, stated: Mapping[str, Any]) -> None:
        """Each figure of `summary.json` that the ledger has."""
        outcomes = Counter(story.outcome for story in self._stories)
        settings = self._claims.settings or {}
        events = [update.event for story in self._stories for update in story.updates.values()]
        units = {event.unit for event in events if event.mode != "none"}
        expected: dict[str, Any] = {
            "run_id": self._claims.run_id,
            "rounds.opened": len(self._stories),
            "rounds.accepted": outcomes[RoundPhase.ACCEPTED],
            "rounds.rejected": outcomes[RoundPhase.REJECTED],
            "rounds.aborted": outcomes[RoundPhase.ABORTED],
            "hospitals": len(self._claims.roster),
            "ledger.chain_id": self._claims.chain_id,
            "ledger.contract": self._claims.contract,
            "ledger.submissions": sum(len(story.updates) for story in self._stories),
            "ledger.votes": sum(len(story.votes) for story in self._stories),
            "privacy.mode": settings.get("privacy", {}).get("mode"),
            "model.name": settings.get("model", {}).get("name"),
        }
        if self._digest is not None:
            expected["model.weights_sha256"] = self._digest.hex()
        if units or not self._claims.epsilons:  # else what was spent never came to the ledger
            expected["privacy.unit"] = min(units, default=None)
        wrong = 0
        figures = dict(_leaves(stated))
        for name, value in expected.items():
            found = figures.get(name)
            if found != value or isinstance(found, bool) is not isinstance(value, bool):
                text = f"summary.json states {name} {found!r:.80}, the ledger and the settings make it {value!r}."
                self._report.fail(Step.MODEL, text)
                wrong += 1
        if not wrong:
            text = f"{len(expected)} figures of summary.json are those of the ledger and the settings."
            self._report.ok(Step.MODEL, text, checks=len(expected))
        compared = {*expected, "privacy.epsilon", "privacy.delta", "ledger.height", "ledger.head"}
        self._list_keys("summary.json", stated, compared)

    def _check_record(self, stated: Mapping[str, Any]) -> None:
        """What `run.json` says twice; the rest is listed."""
        recorded = self._stories[0].settings_digest.hex() if self._stories else None
        if recorded is not None and stated.get("settings_digest") != recorded:
            text = f"run.json states settings digest {stated.get('settings_digest')!r:.80}, the ledger has {recorded}."
            self._report.fail(Step.MODEL, text)
        guaranteed = {
            f"settings.{table}.{key}" for table, keys in (self._claims.settings or {}).items() for key in keys
        }
        roster = {"roster", "run_id", "contract", *(["settings_digest"] if recorded else [])}
        self._list_keys("run.json", stated, guaranteed | roster)

    def _check_reports(self) -> None:
        """The reports that each vote rests on: their hash is in the vote."""
        names = {member.address: member.hospital for member in self._claims.roster}
        held: Counter[HospitalId] = Counter()
        for story in self._stories:
            for vote in story.votes:
                hospital = names.get(vote.hospital)
                if hospital is None or not self._folder.has_hospital(hospital):
                    continue
                about = {"round_index": story.round_index, "hospital": hospital}
                try:
                    content = self._folder.report(hospital, story.round_index)
                except EvidenceError as error:
                    self._report.missing(Step.MODEL, error.what, **about)
                    continue
                self._checked.add(self._folder.report_place(hospital, story.round_index))
                if sha256(content) == vote.evidence_hash:
                    held[hospital] += 1
                else:
                    text = f"The report of {hospital} is not the one that its vote names by its hash."
                    self._report.fail(Step.MODEL, text, **about)
        for hospital, count in held.items():
            text = f"{count} reports of {hospital} are those that its votes name by their hash."
            self._report.ok(Step.MODEL, text, hospital=hospital, checks=count)

    def _list_keys(self, file: str, stated: Mapping[str, Any], compared: Set[str]) -> None:
        """What of a JSON file was compared with nothing, by its first two names."""
        rest = [name for name, _ in _leaves(stated) if name not in compared]
        tops = sorted({name if name.startswith("settings.") else name.partition(".")[0] for name in rest})
        whole = {top for top in tops if not any(name == top or name.startswith(f"{top}.") for name in compared)}
        for top in tops:
            names = [top] if top in whole else [name for name in rest if name == top or name.startswith(f"{top}.")]
            for name in names:
                self._report.not_verified(f"{file}: {name}")

    def _list_files(self) -> None:
        """Every file that no step reads."""
        own = {self._folder.metrics_place(), "model.keras", "summary.json", "trust.json", "ledger/chain.sqlite"}
        listed = self._folder.evidence_files(self._ciphertexts, self._rounds)
        for name in joined(name for name in self._folder.files() if name not in self._checked | own | listed):
            self._report.not_verified(name)
        parts = [
            f"{self._folder.metrics_place()}: all but rounds, phases, and validation figures to nine digits",
            "ledger/chain.sqlite: all but the blocks and block 0, such as what its node looks logs up by",
            "hospitals/*/privacy.jsonl: all but the epsilon that comes of it",
            "hospitals/*/checkpoints.jsonl: all but what is signed, and whether lines or all of it were left out",
            *(f"server/{part}" for part in LEFT_OUT),
            "trust.json (made by the run, and not read where another is given)",
            "whether files or values that no step reads were removed",
        ]
        if self._folder.finished:
            parts.insert(
                1, "model.keras: all but its weights, architecture, thresholds, image size and settings digest"
            )
        for part in parts:
            self._report.not_verified(part)


def list_unread(claims: Claims, report: Report, *, bundle: bool) -> None:
    """Say what a source without a result lacks; list what a bundle could state and the ledger tells nothing of."""
    report.note(Step.MODEL, "This source holds no released model, summary or report.")
    report.not_verified("the released model, summary and reports: they are not in this source")
    if not bundle:
        return
    report.not_verified("manifest.json: claims.run_id")
    stated = {
        "height": claims.height,
        "block_hash": claims.block_hash,
        "ledger_head": claims.ledger_head,
        "epsilons": claims.epsilons or None,
        "releases": claims.releases or None,
        "delta": claims.delta,
    }
    for name, value in stated.items():
        if value is None:
            report.not_verified(f"manifest.json: claims.{name}")
    for part in ("checkpoints.jsonl: all but what is signed, and whether lines were left out", *LEFT_OUT):
        report.not_verified(part)


def _optimizer(claims: Claims) -> str:
    """Name of the server optimizer, in this version's settings and in earlier ones."""
    settings = claims.settings or {}
    named = settings.get("server-optimizer", {}).get("name")
    return str(named or settings.get("training", {}).get("server-optimizer", "none"))


def _signed_digest(story: RoundStory) -> bytes | None:
    """The candidate that more than half of an accepted round's votes name; None where there is none."""
    named = [vote.candidate_digest for vote in story.votes if vote.accept]
    return majority(named, len(story.votes) - len(named))


def _leaves(value: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterable[tuple[str, Any]]:
    """Every value of a JSON object under its dotted name; lists are values."""
    for key, each in value.items():
        if isinstance(each, dict) and each and depth < 2:
            yield from _leaves(each, f"{prefix}{key}.", depth + 1)
        else:
            yield f"{prefix}{key}", each
