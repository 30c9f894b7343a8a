"""What all tests share: where the real data is, and that nothing is skipped where CI forbids it."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from shared_runs import SharedRuns

ROOT = Path(__file__).resolve().parent.parent
NO_SKIPS = os.environ.get("FEDWARD_NO_SKIPS") == "1"
# Studies of many minutes, which only `make soak` runs (tests/soak.py).
collect_ignore = [] if os.environ.get("FEDWARD_SOAK") == "1" else ["end_to_end/test_changing_roster.py"]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real X-rays; tests that need it skip with a reason where it is absent."""
    folder = Path(os.environ.get("FEDWARD_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real X-rays at {folder}; set FEDWARD_DATA")
    return folder


@pytest.fixture(autouse=True, scope="session")
def private_cache_and_state(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep images that tests decode, and studies that they run, out of the user's folders, also in other processes."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="session")
def shared_runs(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[SharedRuns]":
    """Runs that all tests of a session share; each of its processes has a folder of its own beside the others'."""
    from shared_runs import SharedRuns  # what it needs takes seconds to import

    own = tmp_path_factory.getbasetemp()
    runs = SharedRuns((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared-runs")
    yield runs
    assert runs.check() == [], "a test changed what all share: it should have copied it"


# Folders whose tests make federations or start the command; of the others, single tests are marked slow themselves.
SLOW_FOLDERS = ("browser", "end_to_end", "integration")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow, and put it first: processes that share out files then end at about the same time."""
    for item in items:
        if item.path.parent.name in SLOW_FOLDERS:
            item.add_marker(pytest.mark.slow)
    order = [*SLOW_FOLDERS, "contract", "property", "unit", "architecture"]
    items.sort(key=lambda item: order.index(item.path.parent.name))


def pytest_collection_finish() -> None:
    """Give each of several processes of tests one thread: more would wait busily for a processor that others have.

    By then all libraries are loaded, and none has computed anything. Programs that tests start have as many as ever.
    """
    if int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) == 1:
        return
    threadpool_limits(1)
    if tensorflow := sys.modules.get("tensorflow"):
        try:
            tensorflow.config.threading.set_intra_op_parallelism_threads(1)
            tensorflow.config.threading.set_inter_op_parallelism_threads(1)
        except RuntimeError as error:
            raise pytest.UsageError("A file of tests computes with TensorFlow when it is imported.") from error


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a session that skipped a test which its machine was set up to run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if NO_SKIPS and skipped:
        reporter.write_line(f"{len(skipped)} tests were skipped although FEDWARD_NO_SKIPS=1", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
