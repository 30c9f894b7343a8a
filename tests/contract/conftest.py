"""A node for all contract tests, and for each a fresh contract, on a copy of a chain where one was founded."""

from collections.abc import Iterator

import pytest
from consortium import Chain, Consortium, Foundings, running_chain


@pytest.fixture(scope="session")
def chain() -> Iterator[Chain]:
    with running_chain() as running:
        yield running


@pytest.fixture(scope="session")
def foundings(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> Foundings:
    return Foundings(tmp_path_factory.mktemp("foundings"), chain.everybody)


@pytest.fixture
def consortium(foundings: Foundings) -> Iterator[Consortium]:
    with foundings.consortium() as founded:
        yield founded
