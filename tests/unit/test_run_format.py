"""Runs that another version made are refused by name; what is no such record is left to whoever reads it."""

import json
from typing import Any

import pytest

from fedward.errors import EvidenceError
from fedward.folders.format import FORMAT, check_format


@pytest.mark.parametrize(
    ("record", "version"),
    [
        ({}, r"Fedward 0\.1, in which all hospitals shared"),
        ({"format": 2}, r"Fedward 0\.2 before its release, when opened sums told more"),
        ({"format": FORMAT + 1}, f"Fedward of format {FORMAT + 1}"),
        ({"format": [2]}, r"Fedward of format \[2\]"),
    ],
)
def test_a_run_of_another_version_is_refused_by_name(record: dict[str, Any], version: str) -> None:
    with pytest.raises(EvidenceError, match=f"The run in here was made by {version}"):
        check_format(json.dumps(record).encode(), "The run in here")


@pytest.mark.parametrize("content", [json.dumps({"format": FORMAT}).encode(), b"", b"[]", b"{", b"\xff"])
def test_runs_of_this_version_and_damaged_records_pass(content: bytes) -> None:
    check_format(content, "The run in here")
