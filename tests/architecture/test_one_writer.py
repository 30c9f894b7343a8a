"""Files are written by fedward/files.py: what it holds of links, names and power loss then holds of every file."""

import ast
import re
from collections.abc import Iterator

import pytest
from source_tree import Source, parse, product

WRITER = "fedward.files"
# Each writes only into a folder that it has just made itself, of a random name and closed to other users.
INTO_OWN_SCRATCH = {
    "fedward.flower": {"write_bytes", "mkdir", "shutil.copyfile", "open"},  # Flower's home, and Flower's log
    "fedward.learning.model_file": {"TemporaryDirectory"},
    "blockchain.node.store": {"open", "TemporaryDirectory"},
    "fedward.flower_home": {"mkdtemp", "os.open"},
    "fedward.hosts.bundle": {"TemporaryDirectory"},  # where the bundle's files are gathered
    "commands.hosts_demo.demo": {"open"},  # the log of its processes, in a kit
    "fedward.hosts.launcher_process": {"mkstemp"},  # into the folder that the next has just made
    "fedward.hosts.supernode": {"open"},  # the log of its processes, in the hospital's kit
    "commands.lab.leakage_run.opened_rounds": {"TemporaryDirectory", "shutil.copytree"},  # a node's copy of the chain
    "commands.lab.leakage_run.auditing": {"TemporaryDirectory"},  # what is attacked, which holds opened sums
    "commands.tracking.event_files": {"TemporaryDirectory"},  # TensorFlow writes there, and it is copied
    "commands.view.dropped": {"write_bytes", "TemporaryDirectory"},  # an image for as long as it is looked at
    "fedward.hosts.supervision": {"open"},  # the same in the server's
}
WRITES = {
    "write_text", "write_bytes", "touch", "mkdir", "makedirs", "symlink_to", "hardlink_to", "mkfifo", "mknod",
    "copyfile", "copy2", "copytree", "mktemp", "mkstemp", "mkdtemp", "NamedTemporaryFile", "TemporaryFile",
    "TemporaryDirectory", "SpooledTemporaryFile", "tofile", "savetxt", "truncate",
}  # fmt: skip
WRITES_OF_MODULES = {
    "os.replace", "os.rename", "os.renames", "os.link", "os.symlink", "shutil.copy", "shutil.move",
}  # fmt: skip


def written(source: Source) -> Iterator[str]:
    """What a module calls that makes, fills or renames a file or folder by itself."""
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        name = called.rpartition(".")[2]
        if called == "os.open":
            found = "O_CREAT" in ast.unparse(node)
        elif name == "open":
            found = not _reads(node)
        elif name == "replace":  # a path's has one argument, a text's has two
            found = called in WRITES_OF_MODULES or (len(node.args) == 1 and not node.keywords)
        else:
            found = name in WRITES or called in WRITES_OF_MODULES
        if found:
            yield called if called.startswith(("os.", "shutil.")) else name


def _reads(call: ast.Call) -> bool:
    """Whether an `open` names no mode, or one for reading."""
    named = [keyword.value for keyword in call.keywords if keyword.arg == "mode"]
    at = 1 if isinstance(call.func, ast.Name) else 0  # `open(path, mode)` and `path.open(mode)`
    modes = [mode.value for mode in [*named, *call.args[at : at + 1]] if isinstance(mode, ast.Constant)]
    return not any(
        isinstance(mode, str) and re.fullmatch("[rwaxbt+]{1,4}", mode) and mode.strip("rbt") for mode in modes
    )


@pytest.mark.parametrize("source", product(), ids=lambda source: source.name)
def test_no_other_module_writes_files(source: Source) -> None:
    allowed = INTO_OWN_SCRATCH.get(source.name, set())
    if source.name != WRITER:
        assert set(written(source)) <= allowed


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("path.write_text('x')", ["write_text"]),
        ("open(path, 'w')", ["open"]),
        ("path.open('ab')", ["open"]),
        ("path.open(mode='x')", ["open"]),
        ("os.open(path, os.O_CREAT | os.O_WRONLY)", ["os.open"]),
        ("path.mkdir(parents=True)", ["mkdir"]),
        ("temporary.replace(path)", ["replace"]),
        ("os.replace(a, b)", ["os.replace"]),
        ("shutil.copyfile(a, b)", ["shutil.copyfile"]),
        ("tempfile.mktemp()", ["mktemp"]),
        ("path.touch()", ["touch"]),
        ("open(path)", []),
        ("path.open('rb')", []),
        ("path.open(encoding='utf-8')", []),
        ("text.replace('a', 'b')", []),
        ("os.open(path, os.O_RDONLY)", []),
        ("dataclasses.replace(a, b=1)", []),
    ],
)
def test_a_write_is_found_in_every_form(text: str, found: list[str]) -> None:
    assert list(written(parse("x", text))) == found
