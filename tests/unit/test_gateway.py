"""The gateway: which routes it has, whom it lets in, what may be left on the board, and what its log says."""

import datetime
import json
import socket
import threading
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi.routing import APIRoute, iter_route_contexts
from flwr.superlink.main import create_app
from server_host import Enrolled, admitted, enrolled, server_kit

from blockchain.identity import Identity
from fedward.ciphertexts.serialized import CHUNK_BYTES
from fedward.files import sha256
from fedward.hosts import gateway_requests, server_board
from fedward.hosts.gateway import Gateway
from fedward.hosts.gateway_forward import FLEET_ROUTES, MOST_FLEET_BYTES, MOST_LEDGER_BYTES
from fedward.hosts.gateway_process import BoundedProtocol, Connections
from fedward.hosts.gateway_requests import Busy, RefusalError
from fedward.hosts.members import Members, NamedWitness
from fedward.hosts.server_kit import ServerKit

OWN = {"/health"}  # the gateway has a route of its own by this name


class Host:
    """A server's kit with hospitals a and b, and a client of its gateway."""

    def __init__(self, folder: Path) -> None:
        self.kit: ServerKit = server_kit(folder / "kit")
        self.a, self.b = (admitted(self.kit, folder / "hospitals", name) for name in ("a", "b"))
        self.stranger = enrolled(folder / "hospitals", "c")
        self.log: list[str] = []
        self.connections = Connections()
        protocol = type("Own", (BoundedProtocol,), {"bounded": self.connections})
        app = Gateway(self.kit, self.connections.trust).app(self.log.append)
        self.server = uvicorn.Server(uvicorn.Config(app, http=protocol, ws="none", log_level="error", access_log=False))
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen()
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]})
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.socket.getsockname()[1]}", trust_env=False)

    def __enter__(self) -> "Host":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.server.should_exit = True
        self.thread.join()
        self.socket.close()

    def put(self, path: str, who: Enrolled, content: bytes) -> int:
        return self.client.put(f"/board/{path}", content=content, headers=who.bearer).status_code

    def get(self, path: str, who: Enrolled) -> bytes | int:
        answer = self.client.get(f"/board/{path}", headers=who.bearer)
        return answer.content if answer.status_code == 200 else answer.status_code


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with Host(tmp_path_factory.mktemp("host")) as host:
        yield host


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with Host(tmp_path) as host:
        yield host


def signed(who: Enrolled, late_s: float = 0.0, key: ec.EllipticCurvePrivateKey | None = None) -> dict[str, str]:
    """The headers with which a SuperNode shows who it is."""
    own = serialization.load_ssh_private_key(who.key.read_bytes(), None)
    assert isinstance(own, ec.EllipticCurvePrivateKey)
    said = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=late_s)).isoformat()
    public = own.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return {
        "flwr-public-key": b64encode(public).decode(),
        "flwr-timestamp": said,
        "flwr-signature": b64encode((key or own).sign(said.encode(), ec.ECDSA(hashes.SHA256()))).decode(),
        "content-type": "application/protobuf",
    }


def flower_routes() -> list[tuple[str, str]]:
    """Every route that this version's SuperLink has, with its method."""
    return sorted(
        (method, route.path)
        for route in (context.route for context in iter_route_contexts(create_app().routes))
        if isinstance(route, APIRoute)
        for method in route.methods
    )


ROUTES = flower_routes()


def test_what_flower_has_is_known() -> None:
    """A new version's routes of the Fleet API are looked at before SuperNodes use them."""
    fleet = {path.removeprefix("/v1/fleet/") for _, path in ROUTES if path.startswith("/v1/fleet/")}
    assert fleet == FLEET_ROUTES | {"register-node", "unregister-node"}  # a registered SuperNode calls neither
    assert len([path for _, path in ROUTES if path.startswith(("/v1/control/", "/v1/runtime/"))]) > 50


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=lambda part: part)
def test_only_what_a_supernode_uses_leads_to_the_superlink(shared: Host, method: str, path: str) -> None:
    headers = signed(shared.a) | shared.a.bearer
    answer = shared.client.request(method, path, headers=headers, follow_redirects=False)
    if path in OWN:
        assert (answer.status_code, answer.text) == (200, "" if method == "HEAD" else '{"status":"ok"}')
    elif path.removeprefix("/v1/fleet/") in FLEET_ROUTES:
        assert answer.status_code == 503  # it would be passed on: no SuperLink runs
    else:
        assert answer.status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/v1/fleet/../control/list-nodes", "/v1/fleet/%2e%2e/control/list-nodes", "//v1/control/list-nodes",
        "/v1/fleet/pull-messages/", "/v1/fleet/pull-messages/../../control/list-nodes", "/V1/FLEET/pull-messages",
        "/v1/fleet/register-node", "/docs", "/openapi.json", "/",
    ],
)  # fmt: skip
def test_no_other_spelling_does(shared: Host, path: str) -> None:
    headers = signed(shared.a) | shared.a.bearer
    assert shared.client.post(path, headers=headers, follow_redirects=False).status_code == 404


def test_a_supernode_is_known_by_its_signature(host: Host) -> None:
    def answered(headers: dict[str, str]) -> tuple[int, str]:
        answer = host.client.post("/v1/fleet/pull-messages", headers=headers)
        return answer.status_code, answer.json()["detail"]

    assert answered(signed(host.a))[0] == 503
    for headers in (
        {},
        host.a.bearer,
        signed(host.a) | {"flwr-signature": "!"},
        signed(host.a) | {"flwr-timestamp": "2026-01-01T00:00:00"},
    ):
        assert answered(headers) == (412, "The request bears no SuperNode's signature.")
    assert answered(signed(host.stranger)) == (412, "This SuperNode's key is not an admitted hospital's.")
    other = ec.generate_private_key(ec.SECP384R1())
    assert answered(signed(host.a, key=other)) == (412, "The SuperNode's signature is wrong.")
    moved = signed(host.a) | {"flwr-timestamp": signed(host.a, 1)["flwr-timestamp"]}
    assert answered(moved) == (412, "The SuperNode's signature is wrong.")
    for late_s in (400, -60):
        status, reason = answered(signed(host.a, late_s))
        assert (status, "clock differs" in reason) == (412, True)
    Members(host.kit.members).revoke(host.a.member.hospital)
    assert answered(signed(host.a)) == (412, "This SuperNode's key is not an admitted hospital's.")
    assert answered(signed(host.b))[0] == 503


@pytest.mark.parametrize(("method", "path"), [("GET", "/members"), ("POST", "/ledger"), ("GET", "/board/cards/0x1")])
def test_everything_else_needs_a_token(host: Host, method: str, path: str) -> None:
    def status(headers: dict[str, str]) -> int:
        return host.client.request(method, path, headers=headers).status_code

    allowed = status(host.a.bearer)
    assert allowed != 401
    assert status({"authorization": f"bearer   {host.a.token}"}) == allowed
    for headers in (
        {},
        host.stranger.bearer,
        signed(host.a),
        {"authorization": host.a.token},
        {"authorization": "Bearer"},
        {"authorization": f"Basic {host.a.token}"},
        {"authorization": f"Bearer {host.a.member.token_hash}"},
        {"authorization": f"Bearer {host.a.token[:-1]}"},
    ):
        assert status(headers) == 401
    Members(host.kit.members).revoke(host.a.member.hospital)
    assert (status(host.a.bearer), status(host.b.bearer)) == (401, allowed)
    host.kit.members.write_text("{")
    assert status(host.b.bearer) == 503


def test_members_are_told_without_secrets(host: Host) -> None:
    told = host.client.get("/members", headers=host.a.bearer).json()
    assert told == [
        {"hospital": each.member.hospital, "address": each.member.address, "weight": 100} for each in (host.a, host.b)
    ]
    Members(host.kit.members).revoke(host.b.member.hospital)
    assert len(host.client.get("/members", headers=host.a.bearer).json()) == 1


@pytest.mark.parametrize("kind", ["cards", "checkpoints"])
def test_a_card_or_checkpoint_is_left_by_its_hospital_only(host: Host, kind: str) -> None:
    loaded = {"cards": host.kit.study.keys.load_card, "checkpoints": host.kit.study.keys.load_checkpoint}[kind]
    path = f"{kind}/{host.a.member.address}"
    assert host.get(path, host.b) == 404
    assert host.put(path, host.b, b"forged") == 403
    assert host.put(path, host.a, b"card") == 204
    assert host.put(path, host.a, b"another card") == 204
    assert host.get(path, host.b) == b"another card"
    assert loaded(host.a.member.address) == b"another card"
    assert host.put(f"{kind}/{host.a.member.address.lower()}", host.a, b"card") == 204
    assert loaded(host.a.member.address) == b"card"
    assert host.put(f"{kind}/{host.stranger.member.address}", host.a, b"card") == 404


@pytest.mark.parametrize("kind", ["epochs/1", "models"])
def test_what_is_sealed_is_replaced_by_nobody_else(host: Host, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_board.ServerBoard, "most_model_bytes", lambda _: 100)
    path = f"{kind}/{host.b.member.address}"
    assert host.put(path, host.a, b"sealed") == 204
    assert host.put(path, host.b, b"other") == 409
    assert host.get(path, host.b) == b"sealed"
    assert host.put(path, host.b, b"sealed") == 204  # the same again
    assert host.put(path, host.a, b"sealed anew") == 204  # an interrupted dealer's
    assert host.get(path, host.b) == b"sealed anew"
    assert host.put(path, host.b, b"other") == 409


def test_what_the_administrator_left_is_replaced_by_nobody(host: Host) -> None:
    host.kit.study.keys.save_sealed_key(1, host.b.member.address, b"sealed")
    assert host.put(f"epochs/1/{host.b.member.address}", host.a, b"other") == 409


def test_epochs_come_one_after_the_other(host: Host) -> None:
    address = host.b.member.address
    assert host.put(f"epochs/2/{address}", host.a, b"x") == 409
    assert host.put(f"epochs/1/{address}", host.a, b"x") == 204
    assert host.put(f"epochs/2/{address}", host.a, b"x") == 204
    assert host.put(f"epochs/1/{host.a.member.address}", host.a, b"x") == 204


@pytest.mark.parametrize(
    "path",
    [
        "epochs/0/{}", "epochs/-1/{}", "epochs/x/{}", "epochs/10000/{}", "epochs/%C2%B2/{}", "cards/..",
        "cards/%2e%2e%2f{}", "cards/{}/x", "cards/", "models/authors", "cards",
    ],
)  # fmt: skip
def test_names_are_addresses_and_small_numbers(shared: Host, path: str) -> None:
    before = sorted(shared.kit.study.path.rglob("*"))
    named = path.format(shared.a.member.address)
    assert shared.put(named, shared.a, b"x") == 404
    assert shared.get(named, shared.a) == 404
    assert sorted(shared.kit.study.path.rglob("*")) == before


def test_sizes_are_bounded(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_board.ServerBoard, "most_model_bytes", lambda _: 1000)
    own, other = host.a.member.address, host.b.member.address
    places = {
        f"/board/cards/{own}": server_board.MOST_CARD_BYTES,
        f"/board/checkpoints/{own}": server_board.MOST_CARD_BYTES,
        f"/board/epochs/1/{other}": server_board.MOST_KEY_BYTES,
        f"/board/models/{other}": 1000,
    }
    for path, most in places.items():
        for content in (b"x" * (most + 1), iter([b"x" * most, b"x"])):  # the second tells no length
            assert host.client.put(path, content=content, headers=host.a.bearer).status_code == 413
        assert host.client.put(path, content=b"x" * most, headers=host.a.bearer).status_code == 204
    json_type = host.a.bearer | {"content-type": "application/json"}
    assert host.client.post("/ledger", content=b"x" * (MOST_LEDGER_BYTES + 1), headers=json_type).status_code == 413
    assert host.client.post("/ledger", content=b"x", headers=host.a.bearer).status_code == 415
    fleet, rpc = "/v1/fleet/push-object", "/ledger"
    assert raw_status(host, fleet, signed(host.a) | {"content-length": str(MOST_FLEET_BYTES + 1)}) == 413
    for length in ("-1", "1" * 5000, "1x"):
        assert raw_status(host, rpc, json_type | {"content-length": length}) in (400, 413)


def raw_status(host: Host, path: str, headers: dict[str, str]) -> int:
    """What is answered to a request's head alone."""
    lines = [f"POST {path} HTTP/1.1", "host: x", *(f"{name}: {value}" for name, value in headers.items())]
    with socket.create_connection(host.socket.getsockname(), timeout=10) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        return int(connection.recv(1000).split()[1])


def test_a_slow_body_is_given_up(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_requests, "CHUNK_TIMEOUT_S", 0.2)
    headers = host.a.bearer | {"content-type": "application/json", "content-length": "10"}
    assert raw_status(host, "/ledger", headers) == 408


def test_a_study_without_record_takes_no_model(host: Host) -> None:
    assert host.put(f"models/{host.b.member.address}", host.a, b"x") == 503


def test_the_log_names_who_and_what_and_no_secret(host: Host) -> None:
    host.client.get("/members", headers=host.a.bearer)
    host.client.get("/members", headers=host.stranger.bearer)
    host.client.post("/v1/fleet/get-run", headers=signed(host.b))
    host.put(f"cards/{host.a.member.address}", host.a, b"card")
    host.client.get("/health")
    lines = [json.loads(line) for line in host.log]
    assert [(line["hospital"], line["route"], line["status"]) for line in lines] == [
        ("a", "/members", 200),
        (None, "/members", 401),
        ("b", "/v1/fleet/get-run", 503),
        ("a", f"/board/cards/{host.a.member.address}", 204),
    ]
    assert lines[-1]["in"] == 4
    assert not any(secret in "".join(host.log) for secret in (host.a.token, host.stranger.token, "flwr-"))


def test_errors_tell_no_internals(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError(str(host.kit.path))

    monkeypatch.setattr(server_board.ServerBoard, "load_card", fails)
    answer = host.client.get(f"/board/cards/{host.a.member.address}", headers=host.a.bearer)
    assert (answer.status_code, answer.json()["error"]) == (500, "The server failed; its log says why.")


def test_one_hospital_cannot_crowd_out_the_others(shared: Host) -> None:
    busy = Busy(most=2)
    for _ in range(2):
        busy.enter(shared.a.member)
    with pytest.raises(RefusalError):
        busy.enter(shared.a.member)
    busy.enter(shared.b.member)
    busy.leave(shared.a.member)
    busy.enter(shared.a.member)


def test_where_too_many_are_connected_strangers_go_first() -> None:
    class Transport:
        aborted = False

        def abort(self) -> None:
            self.aborted = True

    class Fake:
        def __init__(self, port: int) -> None:
            self.client, self.transport = ("10.0.0.1", port), Transport()

    connections, fakes = Connections(most=2), [Fake(port) for port in range(5)]
    connections.opened(fakes[0])
    connections.trust(fakes[0].client)
    connections.opened(fakes[1])
    connections.opened(fakes[2])  # takes the place of the stranger
    assert [fake.transport.aborted for fake in fakes[:3]] == [False, True, False]
    connections.trust(fakes[2].client)
    connections.opened(fakes[3])  # nobody is a stranger
    assert [fake.transport.aborted for fake in fakes[:4]] == [False, True, False, True]
    connections.closed(fakes[0])
    connections.opened(fakes[4])
    assert not fakes[4].transport.aborted


@pytest.fixture
def witness(host: Host, tmp_path: Path) -> dict[str, str]:
    """The headers of the study's witness, whom the kit names."""
    token = "ab" * 32
    NamedWitness(Identity.create(tmp_path / "witness").address, sha256(token.encode()).hex()).save(host.kit.witness)
    return {"authorization": f"Bearer {token}"}


CIPHERTEXT = bytes(CHUNK_BYTES)


def test_the_witness_reads_rounds_and_ciphertexts_and_nothing_else(host: Host, witness: dict[str, str]) -> None:
    ciphertexts = host.kit.study.ciphertexts
    path = ciphertexts.store(CIPHERTEXT)
    ciphertexts.save_round(3, [path], {host.a.member.address: [path, path]})
    told = host.client.get("/witness/rounds/3", headers=witness)
    assert told.json() == {"aggregate": [path.name], "updates": {host.a.member.address: [path.name] * 2}}
    assert host.client.get(f"/witness/ciphertexts/{path.name}", headers=witness).content == CIPHERTEXT
    for missing in ("rounds/4", "rounds/x", "rounds/-1", "rounds/..%2f3", f"ciphertexts/{'0' * 64}",
                    "ciphertexts/round-0003.json", "ciphertexts/..%2f..%2frun.json", "ciphertexts/"):  # fmt: skip
        assert host.client.get(f"/witness/{missing}", headers=witness).status_code == 404
    for other in ("/members", f"/board/cards/{host.a.member.address}", f"/board/models/{host.a.member.address}"):
        assert host.client.get(other, headers=witness).status_code == 401
    assert host.client.put(f"/board/cards/{host.a.member.address}", content=b"x", headers=witness).status_code == 401


def test_single_updates_are_for_the_witness_only(host: Host, witness: dict[str, str]) -> None:
    """Hospitals have shares of each other's keys: what these open is not for them."""
    path = host.kit.study.ciphertexts.store(CIPHERTEXT)
    host.kit.study.ciphertexts.save_round(3, [path], {})
    wrong = {"authorization": f"Bearer {'cd' * 32}"}
    for route in ("rounds/3", f"ciphertexts/{path.name}"):
        for headers in (host.a.bearer, wrong, {}):
            assert host.client.get(f"/witness/{route}", headers=headers).status_code == 401
    host.kit.witness.write_bytes(b"{")
    assert host.client.get("/witness/rounds/3", headers=witness).status_code >= 500, "damaged: nobody is let in"
    host.kit.witness.unlink()
    assert host.client.get("/witness/rounds/3", headers=witness).status_code == 401
