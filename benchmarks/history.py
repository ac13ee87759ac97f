"""Results kept by commit, so that a later run can be compared with them."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.processes import ROOT


def kept_at(cache: Path, machine: Mapping[str, Any]) -> Path:
    """Where a run is kept: by commit, and apart from runs of another kind (``-tmpfs``, ``-long``, ``-partial``)."""
    kinds = [name for name in ("tmpfs", "long") if name in (machine["files"], machine["mode"])]
    if not machine["whole"]:
        kinds.append("partial")
    return cache / "results" / f"{'-'.join([machine['commit'], *kinds])}.json"


def commit(root: Path = ROOT) -> str:
    """The short name of the commit, ``-dirty`` where files differ from it; ``unversioned`` outside a repository."""
    name = _git(root, "rev-parse", "--short=10", "HEAD")
    if name is None:
        return "unversioned"
    return f"{name}-dirty" if _git(root, "status", "--porcelain") else name


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
