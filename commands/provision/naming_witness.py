"""Which witness a study is provisioned with."""

from pathlib import Path

from blockchain.consortium.witness_enrollment import MAX_BYTES, WitnessRequest
from commands import console
from commands.confirming import confirm_number
from fedward.errors import UsageError
from fedward.files import read_file


def named_witness(request: Path | None, number: str | None, none_wanted: bool) -> WitnessRequest | None:
    """The witness whose request is given; None where the administrator wants none.

    Args:
        request: The file that the witness sent.
        number: Its number, as the witness read it; None: it is asked for.
        none_wanted: Whether the administrator said so.

    Raises:
        UsageError: neither is given or both, or the file is no request.
        VerificationError: the number is another, or the request is not signed by the account that it names.
    """
    if (request is None) != none_wanted:
        raise UsageError(
            "A study has a witness, or expressly none.",
            "Give --witness with what `main.py enroll-witness` wrote on the witness's host, or --no-witness.",
        )
    if request is None:
        console.warn("There is no witness: a server that adds up something else is found by an audit only.")
        return None
    content = read_file(request, MAX_BYTES, "The witness's request", "Name the file that it sent.", through_link=True)
    found = WitnessRequest.from_bytes(content, f"The request {request}")
    console.note(f"Witness: account {found.address}")
    confirm_number("the witness's request", content, number)
    return found
