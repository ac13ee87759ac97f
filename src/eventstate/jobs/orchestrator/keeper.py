"""Runs a program, and ends it should whoever wanted it die: ``python keeper.py FD LOCALE PROGRAM [ARGUMENT ...]``.

A process that is killed can't end what it has started. So a program gets a keeper: a small process that leads its
group, and holds one end of a pipe whose other end closes when the one that wanted the program is gone, however it went.
Imports little, for it starts once for each job.

The program must not feel its keeper. So what Python changes for itself when it starts is undone: ``LC_CTYPE``, which it
sets where the locale is C (``LOCALE`` says what it was: ``=VALUE``, or nothing), and the signals that it ignores.
"""

import os
import select
import signal
import sys

CANT_START = 127
LOCALE = "LC_CTYPE"
NOTED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
"""What a group may be sent whose members know what to do: it is for them, and the keeper outlives it."""
IGNORED = tuple(getattr(signal, name) for name in ("SIGPIPE", "SIGXFZ", "SIGXFSZ") if hasattr(signal, name))
"""What Python ignores."""


def keep(pipe: int, locale: str, argv: list[str]) -> int:
    """Run a program in this process group; its exit code, or 128 and the number of the signal that ended it."""
    os.environ.pop(LOCALE, None)
    if locale:
        os.environ[LOCALE] = locale[1:]
    os.set_inheritable(pipe, False)
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write)
    for number in NOTED:  # a handler is not passed on to the program; what is ignored, as under nohup, is
        if number == signal.SIGCHLD or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _noted)
    try:
        program = os.posix_spawnp(argv[0], argv, os.environ, setsigdef=IGNORED)
    except OSError as error:
        sys.stderr.write(f"{argv[0]} can't be started: {error.strerror}\n")
        return CANT_START
    while True:
        ready, _, _ = select.select([pipe, read], [], [])
        if pipe in ready:
            os.killpg(0, signal.SIGKILL)  # itself too
        os.read(read, 512)
        ended, status = os.waitpid(program, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _noted(_number: int, _frame: object) -> None:
    """Woken is enough."""


if __name__ == "__main__":
    sys.exit(keep(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
