"""Write and read a hospital's replies that are neither update nor vote, as data: failures and missing aggregates."""

from collections.abc import Sequence
from dataclasses import dataclass

from flwr.app import ConfigRecord, ConfigRecordValues, Message, RecordDict
from flwr.common.constant import ErrorCode

from fedward.errors import FedwardError, VerificationError
from fedward.messages.fields import LONGEST_TEXT, Fields


@dataclass(frozen=True)
class Failure:
    """The reply of a hospital that could not do its part, in its own words.

    Attributes:
        what: What happened there.
        remedy: What its operator can do about it.
        exit_code: The exit code that the hospital's own error has.
        died: Whether the process that should have answered ended before it did: asked again, the hospital may answer.
    """

    what: str
    remedy: str
    exit_code: int
    died: bool = False

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}"


@dataclass(frozen=True)
class Missing:
    """The reply of a hospital that was away, and needs the aggregates of these rounds first."""

    rounds: tuple[int, ...]


@dataclass(frozen=True)
class Malformed:
    """A reply that cannot be read, and what is wrong with it: one or two sentences."""

    evidence: str


def failure_reply(request: Message, error: FedwardError) -> Message:
    """A hospital's reply when it cannot do its part."""
    values: dict[str, ConfigRecordValues] = {
        "what": error.what[:LONGEST_TEXT],
        "remedy": error.remedy[:LONGEST_TEXT],
        "exit-code": error.exit_code,
    }
    return Message(RecordDict({"failure": ConfigRecord(values)}), reply_to=request)


def missing_reply(request: Message, rounds: Sequence[int]) -> Message:
    """A hospital's reply when it was away and needs the aggregates of earlier rounds first."""
    return Message(RecordDict({"missing": ConfigRecord({"rounds": list(rounds)})}), reply_to=request)


def read_absence(message: Message) -> Failure | Missing | None:
    """Why a message has no update and no vote; None where it says nothing of the kind, so that it should have one.

    Raises:
        VerificationError: the reason is malformed.
    """
    if message.has_error() and message.error.code == ErrorCode.INVALID_FAB:
        return Failure(
            "Its hospital has not approved the code or the settings of this run, so it runs nothing.",
            "The hospital compares them by `main.py approve`, or the server starts the run that was approved.",
            VerificationError.exit_code,
        )
    if message.has_error():
        return Failure(f"Its process failed: {message.error.reason}.", "Look into its log.", 1, died=True)
    if "missing" in message.content:
        return Missing(Fields(message.content, "missing").wholes("rounds"))
    if "failure" in message.content:
        values = Fields(message.content, "failure")
        return Failure(values.text("what"), values.text("remedy"), values.whole("exit-code"))
    return None
