"""`python -m benchmarks.child`: read one request from standard input, measure, print the answer as the last line."""

from __future__ import annotations

import json
import platform
import resource
import sys
import traceback

from benchmarks.child.workloads import run
from benchmarks.protocol import Request


def main() -> None:
    request = Request.from_json(sys.stdin.readline())
    try:
        answer = run(request)
        answer["python"] = platform.python_version()
        answer["peak_rss_kib"] = peak_rss_kib()
    except Exception as error:
        traceback.print_exc()
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)


def peak_rss_kib() -> int:
    """The largest memory of this process so far; getrusage alone would include the parent's before exec."""
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


main()
