"""The server's processes as `main.py serve` runs them: real node, SuperLink and gateway, and a stock SuperNode."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from loopback_study import BIN, built, environment, tiny_app, wait_for
from server_host import NOBODY, Enrolled, admitted, enrolled, server_kit

from blockchain.ledger.connection import Connection
from fedward.ciphertexts.serialized import CHUNK_BYTES
from fedward.errors import EvidenceError, LedgerError, ResourceError, UsageError, VerificationError
from fedward.files import sha256, write_atomic
from fedward.folders.server import SERVER_FOLDER, RunRecord
from fedward.folders.whereabouts import NodeAddress, announced_url
from fedward.hosts.gateway_client import GatewayClient, base_url
from fedward.hosts.loopback import HOST, free_port
from fedward.hosts.members import NamedWitness
from fedward.hosts.remote_board import RemoteBoard
from fedward.hosts.remote_ciphertexts import RemoteCiphertexts
from fedward.hosts.server_kit import ServerKit
from fedward.hosts.superlink_access import SuperLinkAccess, trusting
from fedward.hosts.superlink_control import SuperLinkControl
from fedward.hosts.tls import make_authority
from fedward.settings import PROJECT_FILE, load
from fedward.types import Member, NodeId

NOT_LET_IN = "Exit Code: 305"  # Flower's, in its log
RECORD = RunRecord("lungs", "", {}, {}, "", "", ("x",), ("no", "yes"), 10, NOBODY, (), (), "")

SERVER = f"""
import os
import sys

from flwr.serverapp import ServerApp

app = ServerApp()


@app.main()
def main(grid, context):
    print("folder", os.environ["{SERVER_FOLDER}"], "seed", context.run_config["training.seed"])
    print("fedward here", any((__import__("pathlib").Path(place) / "fedward").exists() for place in sys.path))
"""


@dataclass
class Served:
    """A kit whose processes run, with a hospital that was admitted, and a place for more."""

    kit: ServerKit
    hospital: Enrolled
    process: "subprocess.Popen[str]"
    folder: Path

    def said(self) -> str:
        """The next line that `serve` says."""
        assert self.process.stderr
        return self.process.stderr.readline().strip()

    @property
    def url(self) -> str:
        return base_url(self.kit.load_project().server)

    def children(self) -> list[psutil.Process]:
        found = psutil.Process(self.process.pid).children(recursive=True)
        return [each for each in found if each.status() != psutil.STATUS_ZOMBIE]  # an ended ServerApp

    def child(self, word: str) -> psutil.Process:
        (found,) = [each for each in self.children() if word in " ".join(each.cmdline())]
        return found

    def ledger(self, **changed: str) -> NodeAddress:
        token = self.folder / "token"
        write_atomic(token, self.hospital.token.encode(), 0o600)
        given = {"certificate": str(self.kit.authority), "token_file": str(token)} | changed
        return NodeAddress(f"{self.url}/ledger", **given)

    def board(self, authority: Path | None = None, token: str | None = None) -> RemoteBoard:
        client = GatewayClient(self.url, authority or self.kit.authority, token or self.hospital.token, patience_s=0.0)
        return RemoteBoard(client)


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    kit = server_kit(folder / "kit")
    hospital = admitted(kit, folder, "a")
    command = [sys.executable, str(PROJECT_FILE.parent / "main.py"), "serve", str(kit.path)]
    proxied = os.environ | {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9", "no_proxy": ""}
    process = subprocess.Popen(command, env=proxied, stderr=subprocess.PIPE, text=True, cwd=folder)
    served = Served(kit, hospital, process, folder)
    try:
        assert {served.said().split()[0] for _ in range(3)} == {"ledger", "superlink", "gateway"}
        yield served
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as found:
        yield found


def test_the_ledger_is_reached_by_tls_with_a_token(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    connection = Connection(served.ledger(), None)
    assert connection.chain_id == load().ledger.chain_id
    connection.close()
    wrong = served.folder / "wrong"
    write_atomic(wrong, b"0" * 64, 0o600)
    with pytest.raises(LedgerError, match="401") as refused:
        Connection(served.ledger(token_file=str(wrong)), None)
    assert "0" * 64 not in str(refused.value)
    make_authority(served.folder / "other.pem", served.folder / "other.key", "other")
    with pytest.raises(LedgerError, match=r"(?i)certificate"):
        Connection(served.ledger(certificate=str(served.folder / "other.pem")), None)
    with pytest.raises(LedgerError, match="no certificate at"):
        Connection(served.ledger(certificate="/nowhere.pem"), None)
    wrong.chmod(0o644)
    with pytest.raises(UsageError, match="readable by other users"):
        Connection(served.ledger(token_file=str(wrong)), None)


def test_a_token_does_not_travel_unencrypted(tmp_path: Path) -> None:
    token = tmp_path / "token"
    write_atomic(token, b"0" * 64, 0o600)
    with pytest.raises(LedgerError, match="unencrypted"):
        Connection(NodeAddress("http://198.51.100.1/ledger", token_file=str(token)), None)


def test_the_board_is_a_key_board(served: Served) -> None:
    board, own = served.board(), served.hospital.member
    with pytest.raises(EvidenceError, match="Nothing was left here"):
        board.load_card(own.address)
    board.save_card(own.address, b"card")
    board.save_sealed_key(1, own.address, b"key")
    assert (board.load_card(own.address), board.load_sealed_key(1, own.address)) == (b"card", b"key")
    with pytest.raises(EvidenceError, match="Nothing was left here"):
        board.load_checkpoint(own.address)
    board.save_checkpoint(own.address, b"seen")
    assert board.load_checkpoint(own.address) == b"seen"
    with pytest.raises(ResourceError, match="no key of epoch 8"):
        board.save_sealed_key(9, own.address, b"key")
    with pytest.raises(
        EvidenceError, match="cannot do that now"
    ):  # without a record, nobody knows how large a model is
        board.load_model(own.address, 10)
    served.kit.study.save_record(RECORD)
    board.save_model(own.address, b"x" * 11)
    assert board.load_model(own.address, 11) == b"x" * 11
    with pytest.raises(VerificationError, match="longer than 10 bytes"):
        board.load_model(own.address, 10)
    with pytest.raises(ResourceError, match="longer than"):
        board.save_model(own.address, b"x" * 1000)
    with pytest.raises(UsageError, match="does not know this hospital's token"):
        served.board(token="0" * 64).load_card(own.address)
    make_authority(served.folder / "another.pem", served.folder / "another.key", "other")
    with pytest.raises(EvidenceError, match="not the one that the study's certificate is for"):
        served.board(served.folder / "another.pem").load_card(own.address)
    client = GatewayClient(served.url, served.kit.authority, served.hospital.token)
    assert client.members() == (Member(own.hospital, own.address, own.weight),)


def test_a_witness_reads_rounds_as_from_a_folder_and_tries_again_where_the_server_is_away(served: Served) -> None:
    """`follow` gives a round up for good where anything but `EvidenceError` says that it cannot be read."""
    token, kept = "ef" * 32, served.kit.study.ciphertexts
    NamedWitness(NOBODY, sha256(token.encode()).hex()).save(served.kit.witness)
    path = kept.store(bytes(CHUNK_BYTES))
    kept.save_round(7, [path], {served.hospital.member.address: [path]})

    def read(url: str) -> RemoteCiphertexts:
        return RemoteCiphertexts(GatewayClient(url, served.kit.authority, token, patience_s=0.0))

    there, away = read(served.url), read(f"https://{HOST}:{free_port()}")
    assert there.round_files(7) == kept.round_files(7)
    assert there.chunk(path.name) == kept.chunk(path.name)
    for source, index, name in ((there, 8, "0" * 64), (away, 7, path.name)):
        with pytest.raises(EvidenceError, match="could not be read"):
            source.round_files(index)
        with pytest.raises(EvidenceError, match="could not be read"):
            source.chunk(name)


def test_what_is_longer_than_asked_for_is_not_read(served: Served) -> None:
    board, own = served.board(), served.hospital.member.address
    board.save_card(own, b"x" * 1000)
    client = GatewayClient(served.url, served.kit.authority, served.hospital.token)
    assert len(client.ask("GET", f"/board/cards/{own}", 10).content) == 11
    with pytest.raises(VerificationError, match="longer than 10 bytes"):
        board._load(f"/board/cards/{own}", 10, "The card", "")


def supernode(served: Served, hospital: Enrolled, authority: Path, home: Path) -> "subprocess.Popen[bytes]":
    """Start Flower's own SuperNode."""
    kit = served.kit
    command = [str(BIN / "flower-supernode"), "--superlink", f"{HOST}:{kit.load_project().server.port}"]
    command += ["--root-certificates", str(authority), "--auth-supernode-private-key", str(hospital.key)]
    command += ["--host", HOST, "--port", str(free_port()), "--ssl-certfile", str(kit.certificate)]
    command += ["--ssl-keyfile", str(kit.certificate_key), "--ssl-ca-certfile", str(kit.authority)]
    home.mkdir()
    with (home / "log").open("wb") as log:
        return subprocess.Popen(command, env=environment(home), cwd=home, stdout=log, stderr=log)


def test_only_an_admitted_supernode_with_the_right_authority_gets_in(served: Served, tmp_path: Path) -> None:
    make_authority(tmp_path / "other.pem", tmp_path / "other.key", "other")
    stranger = enrolled(tmp_path, "b")
    with SuperLinkControl(served.kit) as control:
        control.register_node(served.hospital.member.transport_key)
        control.register_node(served.hospital.member.transport_key)  # the second time it changes nothing
        started = [
            supernode(served, served.hospital, served.kit.authority, tmp_path / "let-in"),
            supernode(served, stranger, served.kit.authority, tmp_path / "stranger"),
            supernode(served, served.hospital, tmp_path / "other.pem", tmp_path / "wrong-authority"),
        ]
        try:
            wait_for(lambda: control.list_nodes()[0].status == "online", "the SuperNode", 40)
            (node,) = control.list_nodes()
            assert node.public_key == served.hospital.member.transport_key
            assert node.last_heartbeat
            assert all(process.wait(30) for process in started[1:])
            stranger_log, wrong_log = (
                (tmp_path / name / "log").read_text() for name in ("stranger", "wrong-authority")
            )
            assert NOT_LET_IN in stranger_log
            assert "not an admitted hospital's" in stranger_log
            assert NOT_LET_IN in wrong_log
            assert "certificate" in wrong_log.lower()
            assert started[0].poll() is None
        finally:
            for process in started:
                process.send_signal(signal.SIGINT)
                process.wait(30)
        wait_for(lambda: control.list_nodes()[0].status == "offline", "the SuperNode to sign off")
        control.unregister_node(served.hospital.member.transport_key)
        control.unregister_node(served.hospital.member.transport_key)
        assert [(each.node_id, each.status) for each in control.list_nodes()] == [(node.node_id, "unregistered")]
        assert isinstance(node.node_id, type(NodeId(1)))


def test_a_run_is_started_and_finds_the_servers_folder_and_only_its_bundle(served: Served, tmp_path: Path) -> None:
    app = tiny_app(tmp_path / "app")
    (app / "server.py").write_text(SERVER)
    with SuperLinkControl(served.kit) as control:
        run_id = control.start_run(built(app, tmp_path / "home"), {"training.seed": 23})
        log = "".join(control.logs(run_id))
        assert f"folder {served.kit.study.path.resolve()} seed 23" in log
        assert "fedward here False" in log
        (run,) = control.list_runs()
        assert (run.run_id, run.status, run.outcome) == (run_id, "finished", "completed")
        control.stop_run(run_id)  # it has ended
        with pytest.raises(UsageError, match="refused"):
            control.start_run(b"no bundle", {})


def test_the_superlink_answers_nobody_who_does_not_know_its_secret(served: Served) -> None:
    """On loopback, past the gateway, as another user of the server's machine could ask."""
    access = SuperLinkAccess(served.kit)
    with httpx.Client(base_url=access.base_url(), verify=trusting(served.kit.authority), trust_env=False) as client:
        for headers in ({}, {"fedward-control": ""}, {"fedward-control": "0" * 64}):
            for path in ("/v1/control/list-nodes", "/v1/control/start-run", "/docs", "/openapi.json"):
                content = {"content-type": "application/protobuf"}
                assert client.post(path, headers=headers | content).status_code == 404
        task = client.post("/v1/runtime/acquire-task", headers={"content-type": "application/protobuf"})
        assert task.status_code in (401, 403)
    secrets = [*access.control.parent.iterdir(), served.kit.certificate_key, served.kit.ledger / "node.json"]
    assert len(secrets) == 5
    assert not [path for path in secrets if path.stat().st_mode & 0o077]


def test_only_the_gateway_listens_where_others_reach_it(served: Served) -> None:
    listening = {
        connection.laddr.port
        for process in served.children()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    port = served.kit.load_project().server.port
    assert port in listening
    for command in (" ".join(each.cmdline()) for each in served.children()):
        assert served.hospital.token not in command
        assert SuperLinkAccess(served.kit).control_secret() not in command
    for path in served.kit.logs.glob("*.log"):
        assert served.hospital.token not in path.read_text()


def test_a_part_that_dies_starts_again(served: Served) -> None:
    before = announced_url(served.kit.ledger)
    served.child("kept_node").kill()
    assert "ledger ended" in served.said()
    assert "ledger answers" in served.said()
    assert announced_url(served.kit.ledger) == before  # who used it finds it again
    served.child("gateway_process").kill()
    assert "gateway ended" in served.said()
    client = GatewayClient(served.url, served.kit.authority, served.hospital.token)  # is patient meanwhile
    assert len(client.members()) == 1
    assert "gateway listens" in served.said()


def test_a_kit_is_served_once(served: Served) -> None:
    command = [sys.executable, str(PROJECT_FILE.parent / "main.py"), "serve", str(served.kit.path), "--only", "ledger"]
    again = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert again.returncode == UsageError.exit_code
    assert "runs already" in again.stderr


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_serve_ends(tmp_path: Path, kind: signal.Signals) -> None:
    with serving(tmp_path) as own:
        children = own.children()
        assert len(children) == 4
        own.process.send_signal(kind)
        _, alive = psutil.wait_procs(children, timeout=15)
        assert not alive
        assert json.loads((own.kit.superlink / "access" / "port.json").read_text()) == SuperLinkAccess(own.kit).port()


def test_what_is_no_kit_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, str(PROJECT_FILE.parent / "main.py"), "serve", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "is no kit" in done.stderr) == (UsageError.exit_code, True)
