"""Several questions to a node in one request (a JSON-RPC batch)."""

from collections.abc import Sequence
from typing import Any, cast

from web3 import Web3
from web3.exceptions import BadResponseFormat, ContractLogicError, Web3RPCError
from web3.providers.base import JSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

MAX_TOGETHER = 100  # nodes bound their batches, most of them at 100 or more

REVERTED = 3  # the code of an answer that carries what a contract reverted with

Question = tuple[str, list[Any]]


def ask_together(web3: Web3, questions: Sequence[Question]) -> list[RPCResponse]:
    """Ask many questions at once; returns the node's raw answers in the order of the questions, errors among them.

    Args:
        web3: The node.
        questions: Methods with their parameters, as JSON takes them.

    Raises:
        Web3RPCError: the node refuses the batch as a whole.
        requests.RequestException: the node cannot be reached.
    """
    provider = cast(JSONBaseProvider, web3.provider)
    answers: list[RPCResponse] = []
    for first in range(0, len(questions), MAX_TOGETHER):
        asked = [(RPCEndpoint(method), params) for method, params in questions[first : first + MAX_TOGETHER]]
        found = provider.make_batch_request(asked)
        if not isinstance(found, list) or len(found) != len(asked):
            refusal = found if isinstance(found, dict) else None
            raise Web3RPCError(f"the node does not answer {len(asked)} requests together", rpc_response=refusal)
        answers += found
    return answers


def result_of(answer: RPCResponse) -> Any:
    """The result in a raw answer, as JSON.

    Raises:
        ContractLogicError: the contract reverted.
        Web3RPCError: the node refuses the question.
        BadResponseFormat: it is no answer.
    """
    error = answer.get("error") if isinstance(answer, dict) else None
    if error is None and isinstance(answer, dict) and "result" in answer:
        return answer["result"]
    if not isinstance(error, dict):
        raise BadResponseFormat("an answer holds neither a result nor an error")
    message = str(error.get("message"))
    if error.get("code") == REVERTED or "revert" in message:
        raise ContractLogicError(message, data=error.get("data"))
    raise Web3RPCError(message, rpc_response=answer)
