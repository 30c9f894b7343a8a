"""Follow docs/DEPLOYMENT.md word by word: its commands for separate hosts, in their order, each by whom it is for."""

import re
import shlex
import shutil
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import tomli_w
from hosts import HOSPITALS, Hosts, number
from source_tree import ROOT

DOCUMENT = ROOT / "docs" / "DEPLOYMENT.md"
IMAGES = "/data/x-rays"  # as the document calls a hospital's images
READY = {"server": "gateway", "witness": "follows the study"}  # what a host says once it runs
SAID_OF = "north"  # the hospital that the document speaks of


def steps() -> list[tuple[str, list[str]]]:
    """The steps for separate hosts: each heading with its commands, a line each."""
    text = DOCUMENT.read_text()
    section = text[text.index("\n## Hospitals on separate hosts") : text.index("\n### Watching it")]
    found = []
    for part in section.split("\n### ")[1:]:
        blocks = re.findall(r"^```sh\n(.*?)^```$", part, flags=re.MULTILINE | re.DOTALL)
        found.append((part.splitlines()[0], [line for block in blocks for line in block.splitlines()]))
    return found


class People:
    """The administrator and the hospitals' engineers, who type what the document says and send each other files.

    Args:
        hosts: Where they work; nothing is there yet.
        images: A folder of X-rays for each hospital.
        changes: What differs from config/hosts/project.toml, by table.
    """

    def __init__(self, hosts: Hosts, images: Mapping[str, Path], changes: Mapping[str, Mapping[str, object]]) -> None:
        self.hosts = hosts
        self._images = images
        content = tomllib.loads((ROOT / "config" / "hosts" / "project.toml").read_text())
        for table, values in changes.items():
            content[table] |= values
        (hosts.path / "project.toml").write_text(tomli_w.dumps(content))
        self.said: list[tuple[str, str]] = []  # commands with what they printed

    def follow(self, heading: str, commands: Sequence[str]) -> None:
        """Do one step: the administrator, the witness or each hospital types its commands."""
        for command in commands:
            for host in self._who_types(heading, command):
                self._type(host, re.sub(rf"\b{SAID_OF}\b", host, command) if host in HOSPITALS else command)

    def _who_types(self, heading: str, command: str) -> Sequence[str]:
        """Whose kit a command names: each hospital's where it is the one that the document speaks of."""
        if command.startswith(("fedward enroll-witness", "fedward join-witness", "witness/")):
            return ["witness"]
        names = re.search(rf"(^| ){SAID_OF}\b(?!\.json)", command)
        return HOSPITALS if names and ("hospital" in heading or "conclude" in command) else ["server"]

    def _type(self, host: str, command: str) -> None:
        """Type a command on a host, and answer what it asks."""
        program, *arguments = shlex.split(command)
        if program != "fedward":
            assert program == f"{host}/start.sh"
            self.hosts.start(host, READY.get(host, "SuperNode"))
            return
        if arguments[0] == "enroll":
            arguments = [str(self._images[host]) if part == IMAGES else part for part in arguments]
        if arguments[0] in ("enroll", "join-witness"):  # the administrator has sent the file
            sent = str(self.hosts.sent("server", "project.toml"))
            arguments = [sent if part == "project.toml" else part for part in arguments]
        done = self.hosts.run(host, *arguments, typed=self._telephone(arguments))
        self.said.append((command, done.stdout))
        for verb, file in (("enroll", "request.json"), ("enroll-witness", "request.json"), ("conclude", "trust.json")):
            if arguments[0] == verb:
                shutil.copyfile(self.hosts.path / host / file, self.hosts.path / f"{host}.json")

    def _telephone(self, arguments: Sequence[str]) -> str:
        """What the other side reads out when a command asks for a number."""
        path = self.hosts.path
        if arguments[0] in ("enroll", "join-witness"):
            return number(path / "server" / "project.toml") + "\n"
        if arguments[0] == "provision":
            return number(path / "witness.json") + "\n"
        if arguments[0] == "admit":
            return "".join(number(path / name) + "\n" for name in arguments[2:])
        if arguments[0] == "agree":
            shown = next(said for command, said in reversed(self.said) if command == "fedward status server")
            (said,) = re.findall(r"^Roster number: +(.+)$", shown, flags=re.MULTILINE)
            return f"{said}\n"
        return ""
