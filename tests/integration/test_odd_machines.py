"""Machines that lack what others have: a home, UTF-8, room on a disk, links that lead somewhere. One sentence each."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command_line import run_here
from shared_runs import SharedRuns

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--hospitals", "2", "--synthetic-images", "60", "--image-size", "16")
SECRET = "0123456789abcdef-the-pseudonym-key"


def run(program: str, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Start a program in a process of its own; an environment variable of no text is absent."""
    chosen = {name: value for name, value in {**os.environ, **environment}.items() if value}
    return subprocess.run(
        [sys.executable, str(ROOT / program), *arguments],
        cwd=ROOT,
        env=chosen,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=240,
    )


def circle(folder: Path) -> str:
    (folder / "circle").symlink_to(folder / "circle")
    return str(folder / "circle")


@pytest.mark.parametrize(
    ("program", "arguments", "code", "said"),
    [
        ("main.py", ["simulate", "--data", "~nobody-of-this-name/x", "--out", "{out}"], 3, "no file or folder"),
        ("main.py", ["simulate", "--data", "{circle}", "--out", "{out}"], 3, "no file or folder"),
        ("main.py", ["simulate", "--out", "{circle}/run", "--set", "data.synthetic-images=60"], 2, "leads to itself"),
        ("main.py", ["simulate", "--resume", "--out", "{circle}"], 2, "leads to itself"),
        ("main.py", ["simulate", "--config", "{circle}", "--out", "{out}"], 2, "could not be read"),
        ("main.py", ["audit", "{circle}"], 8, "no file or folder"),
        ("main.py", ["export", "{circle}", "--out", "{out}"], 8, "is not a run folder"),
        ("main.py", ["keys", "show", "{circle}"], 8, ""),
        ("main.py", ["evaluate", "{circle}", "--data", "synthetic"], 3, ""),
        (
            "main.py",
            ["protect", "{circle}", "--model", "{circle}", "--hospital", "{out}", "--to", "{circle}", "--out", "{out}"],
            8,
            "could not be read",
        ),
        ("main.py", ["restore", "{circle}", "--hospital", "{out}"], 2, "is no folder"),
        ("main.py", ["node", "--dir", "{circle}/chain", "--port", "0"], 10, "could not be written"),
        ("data_preprocessing.py", ["~nobody-of-this-name/x", "{out}"], 3, "no file or folder"),
        ("data_preprocessing.py", ["synthetic", "{circle}/x", *SMALL], 2, "leads to itself"),
    ],
)
def test_what_leads_nowhere_is_one_sentence(
    tmp_path: Path, program: str, arguments: list[str], code: int, said: str
) -> None:
    places = {"{circle}": circle(tmp_path), "{out}": str(tmp_path / "out")}
    for name, place in places.items():
        arguments = [argument.replace(name, place) for argument in arguments]
    done = run_here(*arguments) if program == "main.py" else run(program, *arguments)
    assert "Traceback" not in done.stderr
    assert done.returncode == code, done.stderr
    assert said in " ".join(done.stderr.split())


def test_a_user_without_a_home_may_preprocess(tmp_path: Path) -> None:
    """As in a container that runs as a number: no HOME, no entry in the passwd file, so nowhere to keep a cache."""
    source = tmp_path / "images"
    for split, name in ((split, name) for split in ("train", "test") for name in ("NORMAL", "PNEUMONIA")):
        (source / split / name).mkdir(parents=True)
    program = (
        "import pwd, os, pathlib\nfrom fedward.dataset import cache\n"
        "pwd.getpwuid = lambda _: (_ for _ in ()).throw(KeyError('nobody'))\n"
        "print(cache.default_folder())"
    )
    chosen = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=chosen, capture_output=True, text=True, check=True
    )
    assert done.stdout == "None\n"


@pytest.mark.parametrize("encoding", ["ascii", "cp437"])
@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("main.py", ["simulate", "--help"]),
        ("data_preprocessing.py", ["synthetic", "{out}", *SMALL]),
    ],
)
def test_any_encoding_can_be_written_to(tmp_path: Path, program: str, arguments: list[str], encoding: str) -> None:
    given = [argument.replace("{out}", str(tmp_path / "ß…→")) for argument in arguments]
    done = run(program, *given, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_audit_has_its_own_exit_codes_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    bundle = tmp_path / "bündel…→"
    bundle.write_bytes(b"no bundle")
    done = run("main.py", "audit", str(bundle), PYTHONIOENCODING=encoding)
    assert done.returncode in (7, 8), done.stderr
    assert "Traceback" not in done.stderr


def test_an_audit_has_its_own_exit_code_though_nobody_reads_on(tmp_path: Path) -> None:
    """As in `audit RUN | grep -q verified`: the verdict is the exit code."""
    bundle = tmp_path / "bundle"
    bundle.write_bytes(b"no bundle")
    reads, writes = os.pipe()
    os.close(reads)
    command = [sys.executable, "main.py", "audit", str(bundle)]
    done = subprocess.run(command, cwd=ROOT, stdout=writes, stderr=subprocess.PIPE, text=True)
    os.close(writes)
    assert (done.returncode, "Traceback" in done.stderr, "Broken pipe" in done.stderr) == (7, False, False)


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    """Started without output, as by some services: what TensorFlow says would go into the next file that is opened."""
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom fedward import entry\n"
        "def write():\n"
        "    with open(sys.argv[1], 'w') as file:\n"
        "        file.write(str(file.fileno() > 2))\n"
        "entry.run(write, print)\n"
    )
    shell = f'exec {sys.executable} -c "$0" "$1" <&- >&- 2>&-'
    subprocess.run(["/bin/sh", "-c", shell, program, str(tmp_path / "told")], cwd=ROOT, check=True)
    assert (tmp_path / "told").read_text() == "True"


PRINTING = (
    ("main.py", ["info"]),
    ("main.py", ["info", "--json"]),
    ("main.py", ["--help"]),
    ("main.py", ["audit", "{folder}"]),
    ("data_preprocessing.py", ["synthetic", "{folder}/x", *SMALL]),
)


def started(program: str, arguments: list[str], folder: Path, output: int, buffered: bool) -> tuple[int, str]:
    """The exit code of a program, and what it says on stderr.

    Args:
        program: A file of the root.
        arguments: With `{folder}` in place of a folder of its own.
        folder: That folder.
        output: The descriptor of standard output.
        buffered: Whether Python keeps back what is printed, as it does unless it is told otherwise.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [sys.executable, program, *(argument.format(folder=folder) for argument in arguments)],
        cwd=ROOT,
        env=environment if buffered else environment | {"PYTHONUNBUFFERED": "1"},
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize(("program", "arguments"), PRINTING)
def test_output_that_cannot_be_written_is_said(
    tmp_path: Path, program: str, arguments: list[str], buffered: bool
) -> None:
    """What Python keeps back it writes when it ends, where nobody would be told."""
    with Path("/dev/full").open("w") as full:
        code, said = started(program, arguments, tmp_path, full.fileno(), buffered)
    assert code == 10, said
    assert said.count("No space left on device") == 1
    assert "Traceback" not in said
    assert "Exception ignored" not in said


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize(("program", "arguments"), [PRINTING[1], PRINTING[4]])
def test_a_reader_that_has_gone_is_no_error_to_speak_of(
    tmp_path: Path, program: str, arguments: list[str], buffered: bool
) -> None:
    """As in `main.py info --json | head -1`."""
    reads, writes = os.pipe()
    os.close(reads)
    code, said = started(program, arguments, tmp_path, writes, buffered)
    os.close(writes)
    assert code == 1, said
    assert not any(word in said for word in ("Traceback", "Broken pipe", "Exception ignored"))


@pytest.mark.parametrize("program", ["main.py", "data_preprocessing.py"])
def test_no_traceback_shows_what_variables_hold(tmp_path: Path, program: str) -> None:
    """Typer's own tracebacks show them: the pseudonym key and patients' ids among them."""
    bug = tmp_path / "sitecustomize.py"
    bug.write_text(
        "import json\n"
        "def dumps(*_, **__):\n"
        f"    held = {SECRET!r}\n"
        "    raise ZeroDivisionError('a bug')\n"
        "json.dumps = dumps\n"
    )
    arguments = ["info", "--json"] if program == "main.py" else ["synthetic", str(tmp_path / "out"), *SMALL]
    done = run(program, *arguments, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert SECRET not in done.stderr.replace(f"held = {SECRET!r}", "")
    assert "locals" not in done.stderr


def test_a_byte_order_mark_before_settings_is_no_setting(tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_bytes(b"\xef\xbb\xbf[training]\r\nrounds = 7\r\n")
    done = run_here("info", "--config", config, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("main.py", ["audit"]),
        ("main.py", ["export"]),
        ("main.py", ["evaluate"]),
        ("main.py", ["protect"]),
        ("main.py", ["restore"]),
        ("main.py", ["keys", "show"]),
        ("data_preprocessing.py", []),
    ],
)
def test_arguments_are_described_in_help(program: str, arguments: list[str]) -> None:
    shown = run(program, *arguments, "--help", COLUMNS="200").stdout
    panel = shown.partition("Arguments")[2].partition("╰")[0]
    rows = [line.strip("│ ") for line in panel.splitlines()[1:] if line.strip("│ ")]
    assert rows
    assert all(len(row.split()) > 5 for row in rows), rows


def test_keras_reads_and_leaves_no_settings_of_its_own(tmp_path: Path) -> None:
    """A file in the home, or where there is no home one in /tmp or here, would change what a hospital computes."""
    settings = tmp_path / ".keras" / "keras.json"
    settings.parent.mkdir()
    settings.write_text('{"floatx": "float16", "epsilon": 0.5}')
    program = (
        "from fedward.learning.quiet_tensorflow import keras; print(keras.config.floatx(), keras.config.epsilon())"
    )
    found = {}
    for home in (str(tmp_path), str(tmp_path / "none")):
        command = [sys.executable, "-c", program]
        chosen = {**os.environ, "HOME": home, "KERAS_HOME": str(settings.parent), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=tmp_path, env=chosen, capture_output=True, text=True, check=True)
        found[home] = done.stdout
    assert set(found.values()) == {"float32 1e-07\n"}
    assert set(tmp_path.rglob("*keras*")) == {settings.parent, settings}


@contextmanager
def read_only(disk: Path, made: Path) -> Iterator[None]:
    """A file system of its own with a copy of a folder, mounted so that nobody writes to it, not even root."""
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", disk], check=True)
    try:
        shutil.copytree(made, disk / made.name)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(OSError, match="Read-only"):
            (disk / "new").touch()
        yield
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a disk")
def test_keys_are_shown_of_a_run_on_a_disk_that_nobody_can_write_to(tmp_path: Path, shared_runs: SharedRuns) -> None:
    with shared_runs.federation(tmp_path / "run"):
        pass
    with read_only(tmp_path / "disk", tmp_path / "run"):
        shown = run("main.py", "keys", "show", str(tmp_path / "disk" / "run"), "--json")
    assert shown.returncode == 0, shown.stderr
    (epoch,) = json.loads(shown.stdout)["epochs"]
    assert (epoch["epoch"], epoch["taken"]) == (1, ["hospital-1", "hospital-2", "hospital-3"])
