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
        """Do one step: the administrator, or each hospital, types its commands."""
        by_hospitals = "hospital" in heading
        for command in commands:
            if f" {SAID_OF}" not in command and not command.startswith(SAID_OF):
                self._type("server", command)
            elif by_hospitals or command.startswith("fedward conclude"):
                for name in HOSPITALS:
                    self._type(name, re.sub(rf"\b{SAID_OF}\b", name, command))
            else:
                self._type("server", command)

    def _type(self, host: str, command: str) -> None:
        """Type a command on a host, and answer what it asks."""
        program, *arguments = shlex.split(command)
        if program != "fedward":
            assert program == f"{host}/start.sh"
            self.hosts.start(host, "gateway" if host == "server" else "SuperNode")
            return
        if arguments[0] == "enroll":  # the administrator has sent the file
            arguments = [str(self._images[host]) if part == IMAGES else part for part in arguments]
            arguments[1] = "server/project.toml"
        done = self.hosts.run(host, *arguments, typed=self._telephone(arguments))
        self.said.append((command, done.stdout))
        if arguments[0] == "enroll":
            shutil.copy(self.hosts.path / host / "request.json", self.hosts.path / f"{host}.json")
        if arguments[0] == "conclude":
            shutil.copy(self.hosts.path / host / "trust.json", self.hosts.path / f"{host}.json")

    def _telephone(self, arguments: Sequence[str]) -> str:
        """What the other side reads out when a command asks for a number."""
        path = self.hosts.path
        if arguments[0] == "enroll":
            return number(path / "server" / "project.toml") + "\n"
        if arguments[0] == "admit":
            return "".join(number(path / name) + "\n" for name in arguments[2:])
        if arguments[0] == "agree":
            shown = next(said for command, said in reversed(self.said) if command == "fedward status server")
            (said,) = re.findall(r"^Roster number: +(.+)$", shown, flags=re.MULTILINE)
            return f"{said}\n"
        return ""
