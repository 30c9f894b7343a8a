"""Helper processes: results in order whatever the timing, refusals as errors, nothing left behind."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import encryption
from encryption import SecretContext, decrypt, encrypt
from fedward.ciphertexts import workers
from fedward.ciphertexts.packing import plan_packing, quantize
from fedward.ciphertexts.workers import Helpers
from fedward.errors import EncryptionError, ResourceError
from fedward.settings import load
from fedward.types import PrivacyEvent, PrivateUpdate

ROOT = Path(encryption.__file__).parent
EVENT = PrivacyEvent("none", "none", 1.0, 0.0, 0, 0.0, 0.0)
SCRIPT = """
import os, sys
sys.path.insert(0, {root!r})
from fedward.errors import EncryptionError
from fedward.ciphertexts.workers import serve

def start(setup):
    def work(job):
        if job == b"refuse":
            raise EncryptionError("It is refused.", "Do not.")
        if job == b"die":
            os._exit(3)
        if job == b"environment":
            return "\\n".join(sorted(os.environ)).encode()
        return setup + job[::-1] + bytes(200_000)
    return work

serve(sys.stdin.buffer, sys.stdout.buffer, start)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "helper.py"
    path.write_text(SCRIPT.format(root=str(ROOT)))
    return path


def here(job: bytes) -> bytes:
    return b"setup " + job[::-1] + bytes(200_000)


@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("jobs", [0, 1, 2, 40])
def test_results_come_in_the_order_of_the_jobs(script: Path, count: int, jobs: int) -> None:
    work = [b"%d " % number + os.urandom(70_000) for number in range(jobs)]
    with Helpers(script, b"setup ", count) as helpers:
        assert list(helpers.share_out(iter(work), here)) == [here(job) for job in work]


def test_pipes_that_cannot_be_enlarged_do(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_enlarge", lambda _pipe: False)
    work = [os.urandom(200_000) for _ in range(20)]
    with Helpers(script, b"setup ", 2) as helpers:
        assert list(helpers.share_out(iter(work), here)) == [here(job) for job in work]


def only_there(job: bytes) -> bytes:
    """The first job always goes to a helper; what is done here is not looked at."""
    return job


def test_a_refusal_keeps_its_words(script: Path) -> None:
    with Helpers(script, b"", 1) as helpers, pytest.raises(EncryptionError) as caught:
        list(helpers.share_out([b"refuse"], only_there))
    assert (caught.value.what, caught.value.remedy) == ("It is refused.", "Do not.")


def test_a_helper_that_dies_is_an_error_and_not_a_wait(script: Path) -> None:
    with Helpers(script, b"", 1) as helpers, pytest.raises(ResourceError, match="encryption-workers"):
        list(helpers.share_out([b"die", b"a", b"b"], only_there))


def test_a_script_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResourceError), Helpers(tmp_path / "none.py", b"x" * 2**21, 1) as helpers:
        list(helpers.share_out([b"a"], only_there))


def test_passwords_in_the_environment_do_not_reach_a_helper(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_PASSWORD", "x")
    with Helpers(script, b"", 1) as helpers:
        seen = next(helpers.share_out([b"environment"], only_there)).decode().split("\n")
    assert "PATH" in seen
    assert "SOME_PASSWORD" not in seen


def test_no_process_outlives_the_block(script: Path) -> None:
    with Helpers(script, b"setup ", 2) as helpers:
        processes = list(helpers._processes)
        results = helpers.share_out((b"a" for _ in range(10)), here)
        next(results)
        assert [process.poll() for process in processes] == [None, None]
    assert all(process.returncode is not None for process in processes)


def test_jobs_are_not_taken_far_ahead(script: Path) -> None:
    taken = 0

    def jobs() -> Iterator[bytes]:
        nonlocal taken
        for taken in range(1, 1001):  # noqa: B007 - read outside
            yield b"a"

    with Helpers(script, b"setup ", 1) as helpers:
        next(helpers.share_out(jobs(), here))
    assert 0 < taken <= workers._WINDOW + 2


def test_a_helper_ends_with_its_input() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "encryption.py")], input=b"", capture_output=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, b"")


def test_helpers_encrypt_the_same_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encryption, "HELPED_FROM", 2)
    started = []
    monkeypatch.setattr(Helpers, "_start", lambda self, start=Helpers._start: (started.append(1), start(self)))
    secret, plan = SecretContext.generate(), plan_packing(100_001, 5, load().encryption, 1.0)
    delta = np.random.default_rng(0).normal(0, 0.4, plan.parameters).astype(np.float32)
    expected = quantize(delta, 1, 5, plan, np.random.default_rng(1))
    update = PrivateUpdate(delta, EVENT)
    for count in (0, 1, 2):
        sent = encrypt(update, 1, 5, plan, secret.public, np.random.default_rng(1), count)
        np.testing.assert_array_equal(decrypt(sent.chunks, plan, secret, 1), expected.values)
        assert sent.saturated == expected.saturated > 0
    assert len(started) == 3
    few = plan_packing(10, 5, load().encryption, 1.0)
    encrypt(PrivateUpdate(delta[:10], EVENT), 1, 5, few, secret.public, np.random.default_rng(1), 2)
    assert len(started) == 3
