"""The end of a test run: how many tests ran on which backend, and loudly what did not run."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

NOT_RUN = pytest.StashKey[list[str]]()
"""``config.stash[NOT_RUN].append("…")`` puts a line under the heading of what did not run."""

BACKENDS = {"memory": "memory", "sqlite": "sqlite", "firestore": "firestore emulator"}
NO_BACKEND = "without a store"
PROPERTY = "backend"


def backend_of(item: pytest.Item) -> str | None:
    """The backend a test runs on: its marker ``backend(name)``, else a parameter whose id is a backend's name."""
    marker = item.get_closest_marker("backend")
    if marker is not None:
        return str(marker.args[0])
    callspec = getattr(item, "callspec", None)
    parts = callspec.id.split("-") if callspec is not None else []
    return next((part for part in parts if part in BACKENDS), None)


class RunReport:
    """The pytest plugin that counts; the counts of the workers of xdist meet in the controller."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.ran: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.not_run: list[str] = config.stash[NOT_RUN]

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            name = backend_of(item)
            if name is not None:
                item.user_properties.append((PROPERTY, name))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self.skipped[_skip_reason(report)] += 1
        elif report.when == "call":
            name = str(dict(report.user_properties).get(PROPERTY, NO_BACKEND))
            self.ran[BACKENDS.get(name, name)] += 1

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output["not_run"] = self.not_run

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self.not_run += getattr(node, "workeroutput", {}).get("not_run", [])

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if hasattr(self.config, "workerinput"):
            return
        self._add_earlier_runs()
        absent = list(dict.fromkeys(self.not_run))
        absent += [f"{count} test{'s' if count > 1 else ''}: {reason}" for reason, count in self.skipped.items()]
        if absent:
            terminalreporter.section("DID NOT RUN", red=True, bold=True)
            for line in absent:
                terminalreporter.write_line(line, red=True, bold=True)
        terminalreporter.section("tests per backend")
        order = [*BACKENDS.values(), *sorted(self.ran.keys() - set(BACKENDS.values()) - {NO_BACKEND}), NO_BACKEND]
        terminalreporter.write_line(", ".join(f"{name} {self.ran[name]}" for name in order))

    def _add_earlier_runs(self) -> None:
        """With ``--totals FILE``, one summary spans the pytest calls of one `make test`."""
        file = self.config.getoption("totals")
        if file is None:
            return
        path = Path(file)
        if path.exists():
            earlier = json.loads(path.read_text())
            self.ran.update(earlier["ran"])
            self.skipped.update(earlier["skipped"])
            self.not_run[:0] = earlier["not_run"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"ran": self.ran, "skipped": self.skipped, "not_run": self.not_run}))


def _skip_reason(report: pytest.TestReport) -> str:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return reason.removeprefix("Skipped: ")
