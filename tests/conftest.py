"""What every test may use: a store's URL, the run's emulator, hypothesis profiles, the closing report."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.emulator import NoEmulator, RunEmulator, is_required
from tests.reporting import NOT_RUN, RunReport

EMULATOR = pytest.StashKey[RunEmulator]()

# Hypothesis picks a profile of its own where it sees CI, which never varies its examples: ours start from its default.
_default = settings.get_profile("default")
settings.register_profile("ci", parent=_default, deadline=None, max_examples=50, print_blob=True)
settings.register_profile(
    "torture",
    parent=_default,
    deadline=None,
    max_examples=5000,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("eventstate")
    group.addoption("--no-emulator", action="store_true", help="leave out the tests on the Firestore emulator")
    group.addoption("--totals", metavar="FILE", help="add the counts per backend to FILE and show the sums")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "torture: runs for minutes; only with -m torture")
    config.addinivalue_line("markers", "serial: kills processes or measures time; run without other tests beside it")
    config.addinivalue_line("markers", "backend(name): the backend this test runs on, for the closing report")
    config.stash[NOT_RUN] = []
    config.pluginmanager.register(RunReport(config), "eventstate-report")
    config.stash[EMULATOR] = RunEmulator(allowed=not config.getoption("no_emulator"))
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        # Here, not in a fixture: no worker lives as long as the last test that needs the emulator.
        config.stash[EMULATOR].export()


def pytest_unconfigure(config: pytest.Config) -> None:
    if EMULATOR in config.stash:
        config.stash[EMULATOR].stop()


@pytest.fixture(scope="session")
def emulator_host(pytestconfig: pytest.Config) -> str:
    """``host:port`` of the run's Firestore emulator; use `project_id` to keep tests apart."""
    try:
        return pytestconfig.stash[EMULATOR].host()
    except NoEmulator as missing:
        if is_required():
            pytest.fail(f"EVENTSTATE_REQUIRE=emulator, but {missing}", pytrace=False)
        pytest.skip(str(missing))


@pytest.fixture
def project_id() -> str:
    """A Firestore project that no other test uses."""
    return f"test-{uuid.uuid4().hex[:20]}"


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """URL of a SQLite store whose file does not exist yet."""
    return f"sqlite:///{tmp_path / 'store.db'}"
