"""What a test expects a hospital's reply to be; another kind of reply fails the test with what it is."""

from flwr.app import Message

from fedward.messages.ballots import Ballot, read_ballot
from fedward.messages.replies import Failure
from fedward.messages.submissions import Abstention, Submission, read_reply
from fedward.sharing.sizes import sealed_share_bytes, share_width


def submission_in(reply: Message, chunks: int, hospitals: int = 3, keys: int = 1) -> Submission:
    """The submission, of so many ciphertexts, with so many keys' shares for so many hospitals."""
    found = read_reply(reply, chunks, hospitals, sealed_share_bytes(share_width(keys)))
    assert isinstance(found, Submission), found
    return found


def ballot_in(reply: Message, findings: int) -> Ballot:
    """The ballot, with counts in the clear of so many findings."""
    found = read_ballot(reply, findings)
    assert isinstance(found, Ballot), found
    return found


def failure_in(reply: Message) -> Failure:
    """Why the hospital could not do its part, whether it abstains in order or not."""
    found = read_reply(reply, 1, 1, 1)
    failure = found.failure if isinstance(found, Abstention) else found
    assert isinstance(failure, Failure), found
    return failure
