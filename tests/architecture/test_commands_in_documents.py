"""Commands, options, settings and targets that documents name are those that there are."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer
from documents import DOCUMENTS, README, block, shape
from source_tree import ROOT

import main
from fedward import settings

# A command as documents write it, with a backslash before each line's end but the last.
COMMAND = re.compile(r"main\.py((?: -v)?) ([a-z][a-z-]*)((?:\\\n|[^\n`#|;])*)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


TODAY = [document for document in DOCUMENTS if "adr" not in document.parts]  # a decision speaks of its own time


def commands() -> dict[str, click.Command]:
    """The program's subcommands by name, those of a group behind its name."""
    group = typer.main.get_command(main.app)
    assert isinstance(group, click.Group)
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= {f"{name} {inner}": deeper for inner, deeper in command.commands.items()}
        else:
            found[name] = command
    return found


def options(command: click.Command) -> set[str]:
    return {"--help"} | {
        option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    }


def named(document: Path) -> Iterator[tuple[str, str]]:
    """The commands that a document writes out: the subcommand, and all that follows it."""
    for _, name, rest in COMMAND.findall(document.read_text()):
        first = next(iter(rest.split()), "")
        yield (f"{name} {first}", rest) if f"{name} {first}" in commands() else (name, rest)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_command_in_a_document_exists_with_its_options(document: Path) -> None:
    known = commands()
    for name, rest in named(document):
        if name in ("keys", "lab", "by", "turns"):  # "main.py" in a sentence
            continue
        assert name in known, name
        assert set(OPTION.findall(rest)) <= options(known[name]), (name, rest)


def test_readme_lists_the_commands_that_there_are() -> None:
    lines = block(".venv/bin/python main.py simulate   ")
    listed = [match[1].strip() for line in lines if (match := re.match(r"\S+ main\.py ([a-z -]+?)(?:  |$)", line))]
    assert sorted(listed) == sorted(commands())
    # The options that the list names are the command's.
    for line in lines:
        if match := re.match(r"\S+ main\.py ([a-z -]+?)  ", line):
            assert set(OPTION.findall(line)) <= options(commands()[match[1].strip()]), line


ENDINGS = {"json", "jsonl", "keras", "md", "py", "toml"}
# An example of a typing error, a function, files.
NO_SETTINGS = {"training.round", "encryption.encrypt", "model.npz", "image-encryption.png"}


@pytest.mark.parametrize("document", TODAY, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_setting_that_a_document_names_exists(document: Path) -> None:
    tables = settings.default_tables()
    longest_first = sorted(map(re.escape, tables), key=len, reverse=True)  # options have tables inside others
    named = rf"(?<![\w./-])({'|'.join(longest_first)})\.([a-z][a-z-]*[a-z])\b(?!\()"
    for table, key in re.findall(named, document.read_text()):
        dotted = f"{table}.{key}"
        assert key in tables[table] or dotted in tables or key in ENDINGS or dotted in NO_SETTINGS, dotted


def test_every_file_that_readme_names_exists() -> None:
    for name in re.findall(r"`((?:[a-z_]+/)*[\w-]+\.(?:py|sol|md|toml))`", README.read_text()):
        assert (ROOT / name).exists(), name


def test_make_helps_with_the_targets_that_there_are_and_documents_name_no_others() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)
    targets = set(phony.split()) - {"help"}
    helped = set(re.findall(r"make ([a-z-]+)", "\n".join(re.findall(r'@echo "(.*)"', makefile))))
    helped |= {word for line in re.findall(r'@echo "make (.*?)  ', makefile) for word in line.split(" | ")}
    assert helped <= targets
    assert targets - helped <= {"format", "clean"}
    in_table = set(re.findall(r"^\| .*`make ([a-z-]+)", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE))
    assert in_table <= targets
    for document in DOCUMENTS:
        for target in re.findall(r"(?:`|^)make ([a-z-]+)`?", document.read_text(), flags=re.MULTILINE):
            assert target in targets, (document.name, target)


def test_a_shape_has_no_figures() -> None:
    assert shape(" 3 headers   OK    26 blocks, up to 0x2393b8357e37a122…") == "# headers OK # blocks, up to #…"
    assert shape("AUC 0.9950 (95 % 0.98 to 1), 2,300 of cea3f211be7e9c06… in 0:00:54") == (
        "AUC # (# % # to #), # of #… in #"
    )
