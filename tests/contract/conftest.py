"""A node for all contract tests, and a fresh contract for each."""

from collections.abc import Iterator

import pytest
from consortium import Chain, Consortium, running_chain


@pytest.fixture(scope="session")
def chain() -> Iterator[Chain]:
    with running_chain() as running:
        yield running


@pytest.fixture
def consortium(chain: Chain) -> Iterator[Consortium]:
    founded = Consortium.found(chain)
    yield founded
    founded.close()
