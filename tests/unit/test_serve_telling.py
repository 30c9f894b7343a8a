"""What `serve` tells to Prometheus and to those who collect logs: right figures, and nothing that is not listed."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from commands.serve.json_lines import JsonLog, Lines
from commands.serve.metrics import KitMetrics, serve_metrics
from fedward.errors import ResourceError, UsageError
from fedward.hosts.hospital_kit import HospitalKit
from fedward.hosts.loopback import free_port
from fedward.hosts.server_kit import ServerKit

SENT = [
    {"time": "2026-01-31T09:05:00.000Z", "round": 1, "kind": "update", "bytes": 500, "fields": {"chunks": 400}},
    {"time": "2026-01-31T09:06:00.000Z", "round": 1, "kind": "ballot", "bytes": 70, "fields": {}},
    {"time": "2026-01-31T09:07:00.000Z", "round": 2, "kind": "update", "bytes": 501, "fields": {}},
    {"time": "2026-01-31T09:07:30.000Z", "round": None, "kind": "failure", "bytes": 9, "fields": {}},
]


def written(path: Path, lines: list[Mapping[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    return path


def shown(metrics: KitMetrics) -> dict[tuple[str, tuple[str, ...]], float]:
    """All samples by name and labels, as Prometheus's own parser reads them."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {(one.name, tuple(one.labels.values())): one.value for family in families for one in family.samples}


def test_a_hospitals_metrics_are_what_its_log_adds_up_to(tmp_path: Path) -> None:
    kit = HospitalKit(tmp_path / "north")
    written(kit.outgoing, SENT[:2])
    metrics = KitMetrics(kit, lambda: {"supernode": 1_000.5}, ["supernode", "launcher"])
    first = shown(metrics)
    assert first["fedward_messages_total", ("update",)] == 1
    assert first["fedward_round", ()] == 1
    written(kit.outgoing, SENT[2:])
    samples = shown(metrics)
    assert samples["fedward_messages_total", ("update",)] == 2
    assert samples["fedward_message_bytes_total", ("update",)] == 1001
    assert samples["fedward_messages_total", ("failure",)] == 1
    assert samples["fedward_round", ()] == 2
    assert samples["fedward_last_event_time_seconds", ()] == 1769850450
    assert samples["fedward_process_start_time_seconds", ("supernode",)] == 1_000.5
    assert ("fedward_process_start_time_seconds", ("launcher",)) not in samples
    assert metrics.missing() == ["launcher"]
    assert samples["fedward_fork_found", ()] == 0
    kit.hospital.fork.write_text("{}")
    assert shown(metrics)["fedward_fork_found", ()] == 1
    assert samples["fedward_disk_free_bytes", ()] > 0


def test_a_servers_metrics_count_rounds_by_outcome_also_after_it_went_on(tmp_path: Path) -> None:
    kit = ServerKit(tmp_path / "server")
    metrics = KitMetrics(kit, dict, [])
    kit.path.mkdir()
    assert shown(metrics)["fedward_round", ()] == 0
    written(kit.study.metrics, [{"round": 1, "phase": "accepted"}, {"round": 2, "phase": "aborted"}])
    written(kit.study.progress, [{"time": "2026-01-31T09:05:00.000Z", "event": "opened", "round": 3}])
    samples = shown(metrics)
    assert samples["fedward_rounds_total", ("accepted",)] == samples["fedward_rounds_total", ("aborted",)] == 1
    assert samples["fedward_round", ()] == 3
    kit.study.progress.unlink()  # as `start-study` does
    written(kit.study.progress, [{"time": "2026-01-31T09:06:00.000Z", "event": "leading"}])
    written(kit.study.metrics, [{"round": 3, "phase": "accepted"}])
    samples = shown(metrics)
    assert samples["fedward_rounds_total", ("accepted",)] == 2
    assert samples["fedward_round", ()] == 3


def test_lines_are_read_once_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    lines = Lines(path)
    assert lines.new() == []
    path.write_bytes(b'{"a": 1}\n{"a"')
    assert lines.new() == [{"a": 1}]
    with path.open("ab") as file:
        file.write(b': 2}\nno JSON\n[3]\n\xff\n{"a": 4}\n')
    assert lines.new() == [{"a": 2}, {"a": 4}]
    assert lines.new() == []
    path.write_bytes(b'{"a": 5}\n')  # another file, and shorter
    assert lines.new() == [{"a": 5}]
    later = Lines(path)
    later.pass_over()
    assert later.new() == []
    with path.open("ab") as file:
        file.write(b'{"a": 6}\n')
    assert later.new() == lines.new() == [{"a": 6}]


def test_json_logs_tell_listed_fields_only(tmp_path: Path) -> None:
    """Texts of errors may name files, and files may be named after patients."""
    said: list[str] = []
    events = tmp_path / "progress.jsonl"
    log = JsonLog("north", events, said.append)
    log.say("The SuperNode connects.")
    secret = {"what": "/data/patient-17.dcm is damaged", "remedy": "patient-17", "fields": {"patient-17": 1}}
    written(events, [{**SENT[0], **secret}, {"time": "t", "event": "voted", "round": 4, "hospital": "east", **secret}])
    log.hand_on()
    log.hand_on()
    sentence, left, voted = map(json.loads, said)
    assert (sentence["party"], sentence["message"]) == ("north", "The SuperNode connects.")
    assert left == {"time": SENT[0]["time"], "party": "north", "round": 1, "stage": "update", "bytes": 500}
    assert voted == {"time": "t", "party": "north", "round": 4, "stage": "voted", "hospital": "east"}
    assert "patient" not in "".join(said)


def fetched(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_metrics_and_health_are_served_on_loopback(tmp_path: Path) -> None:
    kit, port = HospitalKit(tmp_path / "north"), free_port()
    written(kit.outgoing, SENT)
    serve_metrics(kit, str(port))
    status, text = fetched(port, "/metrics")
    assert status == 200
    assert 'fedward_messages_total{kind="update"} 2.0' in text
    status, text = fetched(port, "/health")
    assert status == 503, "none of the hospital's processes runs"
    assert json.loads(text) == {"status": "degraded", "missing": ["answering", "launcher", "supernode"]}
    with pytest.raises(ResourceError, match=f"cannot be shown at {port}"):
        serve_metrics(kit, str(port))
    for place in ("", "x", "127.0.0.1:", "70000", "a:b:c"):
        with pytest.raises(UsageError):
            serve_metrics(kit, place)
