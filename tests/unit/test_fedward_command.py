"""`fedward`, which `make setup` links into .venv/bin: main.py from anywhere, with completion for shells."""

import os
import subprocess
from pathlib import Path

import pytest
from source_tree import ROOT


@pytest.fixture
def link(tmp_path: Path) -> Path:
    """The program as it is found by its name: through a link, in a folder elsewhere."""
    path = tmp_path / "fedward"
    path.symlink_to(ROOT / "setup" / "fedward")
    return path


def output(link: Path, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [str(link), *arguments],
        cwd=link.parent,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_it_is_main_py_from_anywhere(link: Path) -> None:
    shown = output(link, "--help")
    assert "Usage: fedward" in shown
    assert "--install-completion" in shown
    assert "simulate" in shown


def test_a_shell_gets_commands_options_and_choices(link: Path) -> None:
    script = output(link, _FEDWARD_COMPLETE="source_bash")
    assert "complete -o default -F _fedward_completion fedward" in script
    for words, at, expected in (
        ("fedward comp", "1", ["compare"]),
        ("fedward simulate --trac", "2", ["--tracking"]),
        ("fedward simulate --tracking ", "3", ["mlflow", "tensorboard"]),
    ):
        told = output(link, _FEDWARD_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=at)
        assert told.split() == expected


def test_main_py_offers_no_completion_that_would_not_work() -> None:
    done = subprocess.run(
        [ROOT / ".venv" / "bin" / "python", ROOT / "main.py", "--help"], capture_output=True, text=True, check=True
    )
    assert "--install-completion" not in done.stdout


def test_set_up_links_it(tmp_path: Path) -> None:
    (line,) = (each for each in (ROOT / "setup" / "make_venv.sh").read_text().splitlines() if "fedward .venv" in each)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / "setup").mkdir()
    (tmp_path / "setup" / "fedward").write_text("")
    subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True)
    assert (tmp_path / ".venv" / "bin" / "fedward").resolve() == tmp_path / "setup" / "fedward"
