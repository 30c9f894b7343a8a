"""The guide's program reproduces the released weights from the seed and the recorded ciphertexts."""

import re
import runpy
import sys
from pathlib import Path

import pytest
from shared_runs import SharedRuns
from source_tree import ROOT

from fedward.learning.digest import weights_digest
from fedward.types import HospitalId


def test_the_reproduction_ends_with_the_weights_that_were_voted_for(
    tmp_path: Path, shared_runs: SharedRuns, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with shared_runs.federation(tmp_path / "run") as federation:
        federation.lead_round()
        federation.lead_round()
        candidate = federation.folder.hospital(HospitalId("hospital-2")).load_candidate()
    assert candidate
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "FOLLOW_A_ROUND.md").read_text(), re.DOTALL)
    (tmp_path / "reproduce.py").write_text(program)
    monkeypatch.setattr(sys, "argv", ["reproduce.py", str(tmp_path / "run")])
    capsys.readouterr()
    runpy.run_path(str(tmp_path / "reproduce.py"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["round 1", "round 2"]
    assert lines[-1].endswith(weights_digest(candidate.weights).hex())
