"""`main.py node`: where it listens, and what it says before it listens anywhere but on loopback."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).resolve().parents[2]
EVERYWHERE = "0.0.0.0"  # noqa: S104  what the warning is about


def serve(folder: Path, *arguments: str) -> tuple[list[str], str, int]:
    """Lines on stderr up to the one that names the URL, the URL, and the exit code after Ctrl-C."""
    command = [sys.executable, "main.py", "node", "--dir", str(folder), "--port", "0", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        lines = []
        for line in process.stderr:
            lines.append(line)
            if found := re.search(r"http://\S+:\d+", line):
                answer = requests.post(found[0], json={"id": 1, "method": "eth_blockNumber"}, timeout=10)
                assert answer.json()["result"] == "0x0"
                process.send_signal(signal.SIGINT)
                return lines, found[0], process.wait(timeout=30)
    raise AssertionError(f"it never said where it answers: {lines}")


@pytest.mark.parametrize(
    ("arguments", "url"), [((), "http://127.0.0.1:"), (("--host", "127.0.0.2"), "http://127.0.0.2:")]
)
def test_on_loopback_nothing_is_warned_of(tmp_path: Path, arguments: tuple[str, ...], url: str) -> None:
    lines, found, code = serve(tmp_path / "chain", *arguments)
    assert found.startswith(url)
    assert len(lines) == 1
    assert code == 130


def test_beyond_loopback_the_warning_comes_first(tmp_path: Path) -> None:
    lines, found, _ = serve(tmp_path / "chain", "--host", EVERYWHERE)
    assert found.startswith(f"http://{EVERYWHERE}:")
    assert lines[0].startswith(f"Warning: On {EVERYWHERE}, everybody who reaches the port may read the whole ledger")
    assert "send transactions" in lines[0]
    assert "no TLS and no authentication" in lines[0]
    assert len(lines) == 2


def test_what_is_no_address_ends_in_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "main.py", "node", "--dir", str(tmp_path / "chain"), "--host", "ledger.example"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "can only listen on an IP address; 'ledger.example' is none" in done.stderr
    assert not (tmp_path / "chain").exists()
