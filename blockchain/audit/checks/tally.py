"""`Tally`: counts many comparisons, which become one line of an audit."""

from dataclasses import dataclass

from eth_utils.crypto import keccak

from blockchain.audit.report import Report, Step


@dataclass
class Tally:
    """The comparisons of one step: how many, and the first that came out unequal.

    Attributes:
        checks: Number of comparisons.
        first: The first difference, as a sentence; empty while there is none.
        further: Number of differences after the first.
    """

    checks: int = 0
    first: str = ""
    further: int = 0

    def compare(self, what: str, recorded: object, computed: object) -> None:
        """Compare a value from the evidence with the one that follows from the rest of the evidence."""
        self.checks += 1
        if recorded != computed:
            self._differs(f"{what} is recorded as {shown(recorded)}, but comes to {shown(computed)}.")

    def require(self, holds: bool, otherwise: str) -> None:
        """Count a condition; if it does not hold, the sentence that says so is the difference."""
        self.checks += 1
        if not holds:
            self._differs(otherwise)

    def _differs(self, sentence: str) -> None:
        if self.first:
            self.further += 1
        else:
            self.first = sentence

    def tell(self, report: Report, step: Step, good: str) -> None:
        """Add the step's line."""
        if self.first:
            more = f" {self.further} more differences follow." if self.further else ""
            report.fail(step, self.first + more, checks=self.checks)
        elif self.checks:
            report.ok(step, good, checks=self.checks)


def shown(value: object) -> str:
    """A value as text for a sentence: hashes in hexadecimal."""
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    if isinstance(value, tuple):
        return ", ".join(shown(part) for part in value)
    if value is None:
        return "none"
    if isinstance(value, int) and value.bit_length() > 256:  # a filter over logs, or nonsense of any length
        content = value.to_bytes((value.bit_length() + 7) // 8, "big")
        return f"a number of {value.bit_length()} bits with the hash 0x{keccak(content).hex()}"
    return str(value)
