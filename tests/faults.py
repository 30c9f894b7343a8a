"""Random faults of a study on separate hosts: processes that are killed or halted, and networks that are cut."""

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psutil
from hosts import Hosts

LEFT_S = 600.0  # for the study to accept a round after faults: Flower takes a node for gone, rounds have deadlines
LONGEST_CUT_S, LONGEST_HALT_S = 20.0, 8.0

# A process by what its command line has: at a hospital, and at the server.
OF_HOSPITAL = {"supernode": "supernode_process", "launcher": "launcher_process", "answering": "clientapp_process"}
OF_SERVER = {
    "ledger": "kept_node",
    "superlink": "superlink_process",
    "launcher": "launcher_process",
    "gateway": "gateway_process",
    "server app": "flwr-serverapp",
}
ALL, CUT, HALT = "all", "cut", "halt"


@dataclass
class Faults:
    """Brings faults upon hosts, and plays the people and the systemd who start again what has ended.

    Attributes:
        hosts: The study's; all run.
        names: The hospitals.
        draw: Chooses faults and moments.
        done: How many there have been, by what and where.
    """

    hosts: Hosts
    names: Sequence[str]
    draw: random.Random
    done: dict[str, int] = field(default_factory=dict)

    def one(self) -> None:
        """Bring about one fault, at once."""
        host = self.draw.choice(["server", *self.names, "server"])
        kinds = [*(OF_SERVER if host == "server" else OF_HOSPITAL), ALL, HALT]
        kinds += [CUT] if self.hosts.network else []
        while not self._bring(host, self.draw.choice(kinds)):
            pass

    def _bring(self, host: str, kind: str) -> bool:
        """Bring about a fault of a kind, if its process runs now."""
        if kind == CUT and self.hosts.network:
            self.hosts.network.cut(host, down=True)
            time.sleep(self.draw.uniform(0.5, LONGEST_CUT_S))
            self.hosts.network.cut(host, down=False)
        elif kind == ALL:
            self.hosts.running[host].kill()
            self.hosts.running[host].wait()
        else:
            named = OF_SERVER if host == "server" else OF_HOSPITAL
            name = self.draw.choice(sorted(named)) if kind == HALT else kind
            if not (found := processes(self.hosts, host, named[name])):
                return False
            # Of those that answer messages, the one that was started last does so, if any does.
            self._signal(found[-1], halt=kind == HALT)
        what = f"{kind} of {'server' if host == 'server' else 'hospital'}"
        self.done[what] = self.done.get(what, 0) + 1
        return True

    def _signal(self, process: psutil.Process, *, halt: bool) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGSTOP if halt else signal.SIGKILL)
            if halt:
                time.sleep(self.draw.uniform(0.5, LONGEST_HALT_S))
                process.send_signal(signal.SIGCONT)

    def go_on_until(self, reached: Callable[[], bool]) -> None:
        """Start again what has ended, as systemd and the administrator would, until something is reached."""
        deadline = time.monotonic() + LEFT_S
        while not reached():
            assert time.monotonic() < deadline, f"{self.done}\n{self.hosts.logs()}"
            for host, process in list(self.hosts.running.items()):
                if process.poll() is not None:
                    ready = "gateway" if host == "server" else "SuperNode"
                    self.hosts.start(host, ready)
            if not processes(self.hosts, "server", OF_SERVER["server app"]):
                self._lead_on()
            time.sleep(0.5)

    def _lead_on(self) -> None:
        """As the administrator, go on with the study."""
        time.sleep(3)
        if processes(self.hosts, "server", OF_SERVER["server app"]):
            return
        self.hosts.run("server", "stop", self.hosts.server, "--now", ok=False)
        self.hosts.run("server", "start-study", self.hosts.server, "--detach", ok=False)


def processes(hosts: Hosts, host: str, named: str) -> list[psutil.Process]:
    """Processes of a host whose command line has a name in it, the youngest last."""
    home = str((hosts.path / host).resolve()) + os.sep
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("FLWR_HOME", "").startswith(home) and named in " ".join(process.cmdline()):
                found.append(process)
    return sorted(found, key=lambda process: process.create_time())
