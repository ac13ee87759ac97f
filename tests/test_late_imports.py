"""What is imported when it is first used: by many threads at once, and in a child of a fork."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FIRST_USES = """
import os, sys, threading
import eventstate
from eventstate import Event, StateMachinePersister, open_store

store = open_store(sys.argv[1])
shop = StateMachinePersister(store)
for number in range(3):
    shop.append("doc-1", Event("x", state={"n": number}), expected=number)

USES = [
    lambda: list(shop.history("doc-1")),
    lambda: shop.load("doc-1", at_version=2),
    lambda: shop.rebuild("doc-1"),
    lambda: shop.recover_all(),
    lambda: shop.get_stats(),
    lambda: shop.validate_consistency(),
    lambda: list(eventstate.SealManager(store).list_seals()),
    lambda: list(eventstate.LockManager(store).list_locks()),
    lambda: eventstate.TransactionManager(store).execute_transaction(lambda tx: tx.load("doc-1")),
    lambda: eventstate.TimeTravel(store).diff(eventstate.At("doc-1", version=1), eventstate.At("doc-1")),
    lambda: eventstate.JobQueue(store).depths(),
    lambda: eventstate.RetentionManager(store).pins(),
    lambda: eventstate.AsyncStateMachinePersister,
    lambda: eventstate.Subscription(shop, "all"),
    lambda: eventstate.Keyring(store),
    lambda: open_store("memory://").close(),
]
"""

AT_ONCE = (
    FIRST_USES
    + """
THREADS = 8
begin = threading.Barrier(THREADS)
odd = []

def use(first):
    begin.wait()
    for number in range(len(USES)):
        try:
            USES[(first + number * STEP) % len(USES)]()
        except BaseException as error:
            odd.append(f"{first}, {number}: {error!r}")

threads = [threading.Thread(target=use, args=(2 * number,), daemon=True) for number in range(THREADS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(40)
assert odd == [], odd
assert not any(thread.is_alive() for thread in threads)
print("done")
"""
)

AFTER_A_FORK = (
    FIRST_USES
    + """
child = os.fork()
if not child:
    store = open_store(sys.argv[1])
    shop = StateMachinePersister(store)
    for use in USES:
        use()
    store.close()
    os._exit(7)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 7
for use in USES:
    use()
print("done")
"""
)


IN_THE_MIDDLE = """
import os, signal, threading, time
from importlib.machinery import SourceFileLoader
from eventstate import Event, StateMachinePersister, open_store

def slowly(loader, module):
    if module.__name__ == "eventstate.log.history":
        begun.set()
        time.sleep(SECONDS)
    run(loader, module)

begun = threading.Event()
run, SourceFileLoader.exec_module = SourceFileLoader.exec_module, slowly
store = open_store("memory://")
shop = StateMachinePersister(store)
shop.append("doc-1", Event("x", state=1), expected=0)
thread = threading.Thread(target=lambda: list(shop.history("doc-1")), daemon=True)
thread.start()
begun.wait()
child = os.fork()
if not child:
    signal.alarm(10)
    os._exit(len(list(shop.history("doc-1"))))
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status))
"""


def printed(code: str, path: Path) -> str:
    """What a new interpreter prints; one that hangs is a failure."""
    command = [sys.executable, "-c", code, f"sqlite:///{path / 'x.db'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout.strip() or done.stderr


@pytest.mark.backend("sqlite")
@pytest.mark.parametrize("step", [1, 7])
def test_threads_that_use_everything_for_the_first_time_at_once(tmp_path: Path, step: int) -> None:
    """Each begins somewhere else, so that they import in different orders."""
    assert printed(f"STEP = {step}\n{AT_ONCE}", tmp_path) == "done"


@pytest.mark.backend("sqlite")
def test_a_child_uses_for_the_first_time_what_its_parent_has_not_used(tmp_path: Path) -> None:
    assert printed(AFTER_A_FORK, tmp_path) == "done"


def test_a_fork_while_another_thread_imports(tmp_path: Path) -> None:
    """Without care the child would wait for ever for a thread that it does not have."""
    assert printed(f"SECONDS = 0.5\n{IN_THE_MIDDLE}", tmp_path) == "1"
    careless = f"import os; os.register_at_fork = lambda **_: None; SECONDS = 30\n{IN_THE_MIDDLE}"
    assert printed(careless.replace("alarm(10)", "alarm(1)"), tmp_path) == "-14"
