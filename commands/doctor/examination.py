"""Which checks there are for which kit, in which order, and how their findings are shown."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from commands import console
from commands.doctor import gateway as network
from commands.doctor import keys, machine, study
from commands.doctor.finding import Finding, Level, failure, fine, watch
from commands.doctor.ledger import LedgerThere, check_agreed_roster, check_key_in_force, check_ledger
from commands.passwords import use_password_of
from fedward.errors import FedwardError, ResourceError, UsageError
from fedward.hosts.hospital_kit import HospitalKit
from fedward.hosts.server_kit import ServerKit

_COLORS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}


@dataclass(frozen=True)
class Check:
    """One thing to look at.

    Attributes:
        name: What is looked at.
        run: Looks at it; raises one of our errors where it cannot, or where that is the failure.
        needs: The checks without whose success this one tells nothing new.
    """

    name: str
    run: Callable[[], Finding]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """A check with its end."""

    check: str
    finding: Finding


def diagnose(path: Path, as_json: bool) -> None:
    """Run all checks of a kit, and print what they found.

    Raises:
        UsageError: the folder is no kit.
        ResourceError: a check failed; it was printed what to do.
    """
    use_password_of(path)
    lines = examine(path)
    show(lines, as_json)
    failed = [line.check for line in lines if line.finding.level is Level.FAIL]
    if failed:
        raise ResourceError(
            f"{len(failed)} of {len(lines)} checks failed: {', '.join(failed)}.", "Do what is said beside each."
        )


def examine(path: Path) -> list[Line]:
    """Run all checks of a kit; nothing is changed.

    Raises:
        UsageError: the folder is no kit.
    """
    kit = _kit_at(path)
    checks = _of_server(kit) if isinstance(kit, ServerKit) else _of_hospital(kit)
    lines, broken = [], set[str]()
    for check in checks:
        reasons = [name for name in check.needs if name in broken]
        finding = watch(f"Not looked at, because of {reasons[0]}.", "Mend that first.") if reasons else _end(check)
        if reasons or finding.level is Level.FAIL:
            broken.add(check.name)
        lines.append(Line(check.name, finding))
    return lines


def _end(check: Check) -> Finding:
    try:
        return check.run()
    except FedwardError as error:
        return failure(error.what, error.remedy)


def _kit_at(path: Path) -> ServerKit | HospitalKit:
    """The kit in a folder, also where much of it is missing."""
    server, hospital = ServerKit(path), HospitalKit(path)
    if hospital.hospital.path.is_dir():
        return hospital
    if server.study.path.is_dir():
        return server
    raise UsageError(f"{path} is no kit.", "Name the folder that `provision` or `enroll` made.")


def _project(kit: ServerKit | HospitalKit) -> Finding:
    """The project's file is whole, and says which ledger and code the study has."""
    project = kit.load_project()
    return fine(f"The study is {project.study.name}, its server {project.server.host}:{project.server.port}.")


def _of_hospital(kit: HospitalKit) -> Sequence[Check]:
    def gateway() -> network.Gateway:
        return network.Gateway(kit.load_project().server, kit.authority)

    def ledger() -> LedgerThere:
        return LedgerThere(gateway(), kit.load_token(), kit.load_project().require_deployed())

    def superlink() -> Finding:
        return network.check_fleet(gateway(), keys.load_transport_key(kit))

    folders = (kit.path, kit.hospital.path, kit.hospital.identity, kit.hospital.keys)
    images = (kit.hospital.partition, kit.hospital.sealed_partition)
    secrets = (*folders, *images, kit.transport_key, kit.token, kit.approvals / "key")
    return (
        Check("project", lambda: _project(kit)),
        Check("versions", machine.check_versions),
        Check("memory", machine.check_memory),
        Check("disk", lambda: machine.check_hospital_disk(kit), ("project",)),
        Check("account", lambda: keys.check_identity(kit.hospital.identity)),
        Check("transport key", lambda: keys.check_transport_key(kit)),
        Check("token", lambda: keys.check_token(kit)),
        Check("permissions", lambda: keys.check_permissions(secrets)),
        Check("data", lambda: study.check_data(kit), ("project",)),
        Check("membership", lambda: study.check_membership(kit), ("project",)),
        Check("roster", lambda: study.check_roster(kit)),
        Check("channel key", lambda: study.check_channel_key(kit)),
        Check("code", lambda: study.check_approval(kit), ("project",)),
        Check("TLS", lambda: network.check_tls(gateway()), ("project",)),
        Check("clock", lambda: network.check_clock(gateway()), ("TLS",)),
        Check("SuperLink", superlink, ("TLS", "transport key", "clock")),
        Check("ledger", lambda: check_ledger(ledger()), ("TLS", "token")),
        Check("who is in", lambda: check_agreed_roster(ledger(), kit), ("ledger", "roster")),
        Check("forks", lambda: study.check_forks(kit)),
        Check("key in force", lambda: check_key_in_force(ledger(), kit), ("ledger", "channel key")),
    )


def _of_server(kit: ServerKit) -> Sequence[Check]:
    def gateway() -> network.Gateway:
        return network.Gateway(kit.load_project().server, kit.authority)

    secrets = (kit.path, kit.study.path, kit.study.identity, kit.ledger, kit.certificate_key, kit.authority_key)
    return (
        Check("project", lambda: _project(kit)),
        Check("versions", machine.check_versions),
        Check("memory", machine.check_memory),
        Check("disk", lambda: machine.check_server_disk(kit), ("project",)),
        Check("account", lambda: keys.check_identity(kit.study.identity)),
        Check("permissions", lambda: keys.check_permissions(secrets)),
        Check("certificate", lambda: keys.check_certificate(kit), ("project",)),
        Check("code", lambda: study.check_bundle(kit), ("project",)),
        Check("ledger", lambda: study.check_own_ledger(kit), ("project",)),
        Check("SuperLink", lambda: study.check_superlink(kit)),
        Check("TLS", lambda: network.check_tls(gateway()), ("project",)),
    )


def show(lines: Sequence[Line], as_json: bool) -> None:
    """Print a line for each check, and what to do."""
    if as_json:
        console.data([{"check": line.check, **_fields(line.finding)} for line in lines])
        return
    for line in lines:
        level = line.finding.level
        console.out.print(
            f"[{_COLORS[level]}]{level:<4}[/]  {line.check:<13}  {console.plain(line.finding.said)}", soft_wrap=True
        )
        if line.finding.remedy:
            console.out.print(f"{'':<21}{console.plain(line.finding.remedy)}", soft_wrap=True)


def _fields(finding: Finding) -> dict[str, str]:
    return {"level": str(finding.level), "said": finding.said, "remedy": finding.remedy}
