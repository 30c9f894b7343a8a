"""Where an audit's trust file came from: handed in by the auditor, the run's own, or none."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from fedward.files import resolved


class Origin(Enum):
    """Where the trust file came from, as in `--json`."""

    HANDED_IN = "handed-in"
    OWN = "own"
    NONE = "none"


_ASK = "Ask a hospital for its trust file, and audit with --trust."
_SENTENCES = {
    Origin.HANDED_IN: "It rests on the trust file {file}, which was handed in: what hospitals say there is believed.",
    Origin.OWN: "It rests on {file}, which is the run's own word on itself: that finds what broke, but no history that "
    f"somebody invented. {_ASK}",
    Origin.NONE: f"It rests on nobody's word: the whole history may be invented. {_ASK}",
}


@dataclass(frozen=True)
class TrustSource:
    """Where the trust file of an audit came from.

    Attributes:
        origin: Who vouches for the history.
        file: Its path, or those of several; None where there is none.
    """

    origin: Origin = Origin.NONE
    file: str | None = None

    @classmethod
    def of(cls, given: tuple[Path, ...], run: Path | None) -> "TrustSource":
        """Where the trust file of a run's audit comes from.

        Args:
            given: The files named with --trust; one that lies in the run counts as the run's own all the same.
            run: The run's folder, where its own trust file is used when none is named.
        """
        own = run / "trust.json" if run else None
        if given:
            same = own is not None and all(resolved(own) == resolved(file) for file in given)
            return cls(Origin.OWN if same else Origin.HANDED_IN, ", ".join(map(str, given)))
        return cls(Origin.OWN, str(own)) if own is not None and own.exists() else cls()

    @property
    def sentence(self) -> str:
        """The origin as a sentence for people."""
        return _SENTENCES[self.origin].format(file=self.file)

    def to_json(self) -> dict[str, Any]:
        """The origin for `--json`."""
        return {"origin": self.origin.value, "file": self.file}
