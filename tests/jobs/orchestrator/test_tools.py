"""Tools: programs that end, hang, print without end or leave others behind; functions that return, raise or go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from eventstate import (
    CallableTool,
    ConfigurationError,
    InvalidIdError,
    InvalidInputError,
    JobResult,
    JobSpec,
    JobStateStore,
    SubprocessTool,
    Tool,
    ToolContext,
    Tools,
)
from eventstate.jobs.orchestrator.job_file import read_job_file
from eventstate.jobs.orchestrator.output import Output


def job(code: str, **members: Any) -> JobSpec:
    return JobSpec("job-1", command={"exe": sys.executable, "args": ["-c", code]}, **members)


def run(code: str, *, timeout: float | None = 30, grace: float = 5, **members: Any) -> JobResult:
    return SubprocessTool(grace=grace).run(job(code, **members), ToolContext("job-1", timeout=timeout))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes() if Path("/proc/self").exists() else True


def eventually(condition: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_program_tells_how_it_ended() -> None:
    result = run(
        "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)", paths={"error_report": "e.txt"}
    )
    assert (result.exit_code, result.success, result.outcome) == (3, False, "failed")
    assert (result.stdout, result.stderr, result.error_report_path) == ("out\n", "err\n", "e.txt")
    assert result.duration_s > 0
    assert run("").outcome == "completed"


def test_there_is_no_shell_and_no_input() -> None:
    tool = SubprocessTool(env={"A": "tool", "B": "tool"})
    code = "import os, sys; print(sys.argv[1:], os.environ['A'], os.environ['B'], sys.stdin.read() == '')"
    spec = JobSpec("j", command={"exe": sys.executable, "args": ["-c", code, "$HOME; *"]}, env={"B": "job"})
    assert tool.run(spec, ToolContext("j")).stdout == "['$HOME; *'] tool job True\n"


def test_it_runs_where_its_paths_say(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    code = "import os; print(os.getcwd())"
    root = {"repo_root": str(tmp_path)}
    assert run(code, paths=root).stdout.strip() == str(tmp_path.resolve())
    inner = {**root, "working_dir": str(tmp_path / "inner"), "log_file": "logs/job.log"}
    assert run(code, paths=inner).stdout.strip().endswith("inner")
    run("import sys; print('more', file=sys.stderr)", paths=inner)
    log = (tmp_path / "inner/logs/job.log").read_text(encoding="utf-8")
    assert log.splitlines()[0].endswith("inner")
    assert log.endswith("more\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
def test_a_log_that_can_not_be_written_is_told_and_leaves_nothing_running() -> None:
    started = time.monotonic()
    with pytest.raises(OSError, match="No space left"):
        run("import time; print('x', flush=True); time.sleep(600)", paths={"log_file": "/dev/full"}, grace=0.2)
    assert time.monotonic() - started < 60


@pytest.mark.backend("sqlite")
def test_the_file_of_a_store_is_no_log(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with JobStateStore(path) as store:
        store.create_run(run_id="r")
        for name in (path, f"{path}-wal"):
            with pytest.raises(InvalidInputError, match="belongs to the store"):
                run("print('x')", paths={"log_file": str(name)})
        with pytest.raises(InvalidInputError, match="belongs to the store"):
            read_job_file(path)
        assert store.get_run("r")["status"] == "pending"


def test_a_signal_is_no_timeout() -> None:
    result = run(f"import os; os.kill(os.getpid(), {int(signal.SIGHUP)})")
    assert (result.exit_code, result.outcome) == (128 + signal.SIGHUP, "failed")


def test_a_timeout_ends_the_whole_group() -> None:
    code = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid, flush=True); import time; time.sleep(600)"
    result = run(code, timeout=1)
    assert (result.exit_code, result.outcome) == (-1, "timeout")
    child = int(result.stdout)
    eventually(lambda: not is_alive(child))


def test_what_ignores_sigterm_is_killed() -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    started = time.monotonic()
    result = run(code, timeout=1, grace=0.2)
    assert (result.exit_code, result.stdout) == (-1, "deaf\n")
    assert time.monotonic() - started < 30


def test_what_a_program_says_after_sigterm_is_kept() -> None:
    code = (
        "import signal, sys, time\n"
        "def end(*_): print('x' * 200_000 + 'tidy', flush=True); sys.exit(0)\n"
        "signal.signal(15, end); time.sleep(600)"
    )
    result = run(code, timeout=1)
    assert result.exit_code == -1
    assert result.stdout.endswith("xtidy\n")


def test_what_a_program_leaves_running_is_killed() -> None:
    code = "import subprocess; print(subprocess.Popen(['sleep', '600'], stdout=2).pid)"
    started = time.monotonic()
    result = run(code)
    assert result.success
    eventually(lambda: not is_alive(int(result.stdout)))
    assert time.monotonic() - started < 30, "it waited for what was left behind"


ORPHAN = """
import sys
from eventstate import JobSpec, SubprocessTool, ToolContext
code = "import os, subprocess; p = subprocess.Popen(['sleep', '600']); print(os.getpid(), p.pid, flush=True); p.wait()"
job = JobSpec("j", command={"exe": sys.executable, "args": ["-c", code]}, paths={"log_file": sys.argv[1]})
SubprocessTool(keeper=sys.argv[2] == "keeper").run(job, ToolContext("j"))
"""


@pytest.mark.serial
@pytest.mark.parametrize("keeper", ["keeper", "none"])
def test_programs_die_with_whoever_wanted_them(keeper: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = subprocess.Popen([sys.executable, "-c", ORPHAN, str(log), keeper])
    eventually(lambda: log.exists() and len(log.read_text(encoding="utf-8").split()) == 2)
    program, child = map(int, log.read_text(encoding="utf-8").split())
    assert is_alive(program)
    assert is_alive(child)
    process.kill()
    process.wait(30)
    if keeper == "keeper":
        eventually(lambda: not is_alive(program) and not is_alive(child))
    else:
        assert is_alive(program)
        os.killpg(os.getpgid(program), signal.SIGKILL)


def test_with_and_without_a_keeper_all_is_the_same() -> None:
    code = "import os, sys; print(os.getcwd(), sys.argv[1:], flush=True); os.kill(os.getpid(), 9)"
    spec = JobSpec("j", command={"exe": sys.executable, "args": ["-c", code, "a b", ""]})
    kept, alone = (SubprocessTool(keeper=keeper).run(spec, ToolContext("j")) for keeper in (True, False))
    assert (kept.exit_code, kept.stdout, kept.stderr) == (alone.exit_code, alone.stdout, alone.stderr)
    assert kept.exit_code == 128 + signal.SIGKILL


FELT = r"""
env | grep -c '^LC_CTYPE='; env | grep '^LC_CTYPE='
yes | head -1; trap 'echo caught' HUP USR1; kill -HUP 0; kill -USR1 0; echo done
"""


@contextmanager
def hangup(handling: signal.Handlers) -> Iterator[None]:
    """This process, and so what it starts, ignores SIGHUP or does not. How the tests were started does not count."""
    before = signal.signal(signal.SIGHUP, handling)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("handling", [signal.SIG_DFL, signal.SIG_IGN])
@pytest.mark.parametrize("env", [{"LANG": "C", "LC_ALL": ""}, {"LC_CTYPE": "C", "LC_ALL": ""}])
def test_a_program_does_not_feel_its_keeper(
    env: dict[str, str], handling: signal.Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LC_CTYPE", raising=False)
    spec = JobSpec("j", command={"exe": "sh", "args": ["-c", FELT]}, env=env)
    with hangup(handling):
        kept, alone = (SubprocessTool(keeper=keeper).run(spec, ToolContext("j")) for keeper in (True, False))
    assert (kept.exit_code, kept.stdout, kept.stderr) == (alone.exit_code, alone.stdout, alone.stderr)
    caught = 2 if handling is signal.SIG_DFL else 1  # a shell can't trap what was ignored when it began
    assert kept.stdout.endswith("y\n" + "caught\n" * caught + "done\n")
    assert kept.stderr == "", "writing to a closed pipe ends a program silently"


def test_all_of_a_group_have_their_time_of_grace(tmp_path: Path) -> None:
    tidy = (
        "import signal, sys, time\n"
        "def end(*_): time.sleep(0.3); open('tidy', 'w').close(); sys.exit()\n"
        "signal.signal(15, end); print('ready', flush=True); time.sleep(600)"
    )
    command = {"exe": "sh", "args": ["-c", '"$0" -c "$1"; true', sys.executable, tidy]}
    result = SubprocessTool().run(
        JobSpec("j", command=command, paths={"working_dir": str(tmp_path)}), ToolContext("j", timeout=1)
    )
    assert (result.exit_code, result.stdout) == (-1, "ready\n")
    assert (tmp_path / "tidy").exists(), "the shell ended at once, and what it had started was killed with it"


def test_what_is_no_program(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no program", encoding="utf-8")
    (tmp_path / "data").chmod(0o755)
    spec = JobSpec("j", command={"exe": "./data"}, paths={"working_dir": str(tmp_path)})
    result = SubprocessTool().run(spec, ToolContext("j"))
    assert result.exit_code == 127
    assert "can't be started" in result.stderr
    with pytest.raises(OSError, match="Exec format error"):
        SubprocessTool(keeper=False).run(spec, ToolContext("j"))


def test_a_job_that_is_cancelled_ends_soon() -> None:
    context = ToolContext("job-1", timeout=60)
    threading.Timer(0.5, context.cancelled.set).start()
    result = SubprocessTool(grace=1).run(job("import time; time.sleep(600)"), context)
    assert (result.exit_code, result.metadata) == (130, {"cancelled": True})
    assert result.duration_s < 30


def test_endless_output_takes_little_memory() -> None:
    result = run("import sys; sys.stdout.write('a' * 3_000_000 + 'z')")
    assert result.success
    assert len(result.stdout) < 200_000
    assert result.stdout.startswith("aaa")
    assert result.stdout.endswith("az")
    assert "bytes left out" in result.stdout


def test_a_program_may_close_its_output_and_go_on() -> None:
    assert run("import os, time; os.close(1); os.close(2); time.sleep(0.3)").exit_code == 0


@pytest.mark.parametrize("sizes", [[3], [10, 10], [1] * 25, [7, 100], [64, 1]])
def test_of_much_output_both_ends_are_kept(sizes: list[int]) -> None:
    output, whole = Output(kept=10), b""
    for number, size in enumerate(sizes):
        chunk = bytes([97 + number % 26]) * size
        output.add(chunk)
        whole += chunk
    text = output.text
    if len(whole) <= 20:
        assert text == whole.decode()
    else:
        assert text.startswith(whole[:10].decode() + "\n[")
        assert text.endswith("]\n" + whole[-10:].decode())
        assert f"[{len(whole) - 20:,} bytes left out]" in text


def test_a_job_without_a_program_is_refused() -> None:
    for command in ({}, {"exe": ""}, {"exe": "true", "args": "-c"}, {"exe": "true", "args": [1]}):
        with pytest.raises(InvalidInputError):
            SubprocessTool().run(JobSpec("j", command=command), ToolContext("j"))
    with pytest.raises(FileNotFoundError):
        SubprocessTool().run(JobSpec("j", command={"exe": "/no/such/program"}), ToolContext("j"))


def test_functions_are_tools() -> None:
    context = ToolContext("j", timeout=60)

    def call(function: Callable[[JobSpec, ToolContext], Any]) -> JobResult:
        return CallableTool(function).run(JobSpec("j"), context)

    assert call(lambda _job, _context: None).metadata == {}
    assert call(lambda job, _context: {"id": job.job_id}).metadata == {"value": {"id": "j"}}
    assert call(lambda _job, _context: object()).success
    assert call(lambda _job, _context: JobResult(9)).exit_code == 9

    def fail(_job: JobSpec, _context: ToolContext) -> None:
        raise LookupError("no such thing")

    failed = call(fail)
    assert (failed.exit_code, failed.stderr) == (-2, "LookupError: no such thing")


def test_a_function_that_only_makes_what_would_do_the_job_has_failed() -> None:
    """A coroutine in a lambda, or a function with a ``yield`` in it: nothing of either has run."""
    begun: list[str] = []

    async def coroutine(job: JobSpec) -> None:
        begun.append(job.job_id)

    def generator(job: JobSpec, _context: ToolContext) -> Iterator[None]:
        begun.append(job.job_id)
        yield

    for tool in (lambda job, _context: coroutine(job), generator):
        result = CallableTool(tool).run(JobSpec("j"), ToolContext("j", timeout=60))
        assert (result.success, result.exit_code) == (False, -2)
        assert "of which nothing has run" in result.stderr
    assert begun == []


def test_functions_end_where_they_look() -> None:
    def work(_job: JobSpec, context: ToolContext) -> None:
        while True:
            context.check()

    late = ToolContext("j", timeout=0.01)
    assert CallableTool(work).run(JobSpec("j"), late).exit_code == -1
    assert late.remaining == 0
    cancelled = ToolContext("j")
    assert cancelled.remaining is None
    cancelled.check()
    cancelled.cancelled.set()
    assert CallableTool(work).run(JobSpec("j"), cancelled).metadata == {"cancelled": True}


def test_tools_by_name() -> None:
    def work(_job: JobSpec, _context: ToolContext) -> None: ...

    program = SubprocessTool()
    tools = Tools({"work": work, "run": program})
    assert isinstance(tools["work"], Tool)
    assert Tools.of(tools) is tools
    assert list(tools) == ["work", "run"]
    tools.register("run", program)
    with pytest.raises(ConfigurationError, match="already"):
        tools.register("run", SubprocessTool())
    with pytest.raises(ConfigurationError, match="is a class"):
        tools.register("x", SubprocessTool)
    with pytest.raises(ConfigurationError, match="is no tool"):
        tools.register("x", "text")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidIdError):
        tools.register("", program)
