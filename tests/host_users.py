"""A user of its own for each host of a test: what one party keeps, no other party's processes can read.

Root makes each process another user's before the first line of it runs. Python and this checkout may lie in folders
that only root may enter; each process gets them in a mount namespace of its own, and nothing else of such a folder.
"""

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from source_tree import ROOT

FIRST_NUMBER = 61_001  # no user of a usual machine
MAY_ENTER = 0o001


def may_be_others() -> bool:
    """Whether this process can start others as other users, in mount namespaces of their own."""
    return os.geteuid() == 0 and all(map(shutil.which, ("setpriv", "mount")))


@dataclass(frozen=True)
class HostUsers:
    """The users of some hosts, by number.

    Attributes:
        hosts: Their names; each has the number that follows the one before.
        path: The folder in which each makes its own.
        readable: What all of them may read.
    """

    hosts: Sequence[str]
    path: Path
    readable: Sequence[Path]

    def make(self) -> None:
        """Let each make folders beside the others', and give it a home that no other enters."""
        self.path.chmod(0o1777)
        for host in self.hosts:
            home = self.home(host)
            home.mkdir(mode=0o700)
            self.give(host, home)

    def number(self, host: str) -> int:
        """The number of a host's user."""
        return FIRST_NUMBER + self.hosts.index(host)

    def home(self, host: str) -> Path:
        """The home of a host's user."""
        return self.path / f"home-of-{host}"

    def give(self, host: str, path: Path) -> None:
        """Let a file or folder be a host's."""
        os.chown(path, self.number(host), self.number(host))

    def command(self, host: str) -> list[str]:
        """What runs a command as a host's user; begun by root in a mount namespace of its own (`ip netns exec`)."""
        number = str(self.number(host))
        become = ["setpriv", "--reuid", number, "--regid", number, "--clear-groups", "--inh-caps=-all"]
        script = "; ".join(["set -e", *self._mounts(), 'exec "$@"'])
        return ["sh", "-c", script, "sh", *become, "--bounding-set=-all"]

    def _mounts(self) -> list[str]:
        """Commands that put an open folder in the place of each closed one, with what is needed of it and no more."""
        needed = {Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve(), ROOT, self.path, *self.readable}
        behind: dict[Path, list[Path]] = {}
        for path in sorted(needed):
            closed = next((one for one in reversed(path.parents) if not one.stat().st_mode & MAY_ENTER), None)
            if closed:
                behind.setdefault(closed, []).append(path)
        commands = []
        for closed, paths in behind.items():
            stage = "/mnt"
            commands.append(f"mount -t tmpfs -o mode=755 none {stage}")
            for path in paths:
                inside = shlex.quote(f"{stage}/{path.relative_to(closed)}")
                commands += [f"mkdir -p {inside}", f"mount --rbind {shlex.quote(str(path))} {inside}"]
            commands += [f"mount --rbind {stage} {shlex.quote(str(closed))}", f"umount -l {stage}"]
        return commands
