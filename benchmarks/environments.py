"""A virtual environment of its own for each peer, with pinned versions, kept between runs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

OWN: Final = "own"
"""The environment that runs `python -m benchmarks` itself: eventstate and the raw limit."""


class EnvironmentFailed(Exception):
    """The environment could not be made; the text says why in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """What is installed, and the oldest Python that can run it."""

    requirements: tuple[str, ...]
    python: tuple[int, int] = (3, 11)

    @property
    def digest(self) -> str:
        text = "\n".join((*self.requirements, str(self.python)))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


CHARTS: Final = "charts"
"""The environment that draws; nothing is measured in it."""

PEERS: Final[dict[str, tuple[Pins, ...]]] = {  # the first entry for which a Python is found is used
    "eventsourcing": (Pins(requirements=("eventsourcing==9.5.6", "typing-extensions==4.16.0")),),
    "eventsource-py": (
        Pins(
            requirements=(
                "eventsource-py==0.15.1",
                "aiosqlite==0.22.1",
                "orjson==3.13.0",
                "pydantic==2.14.3",
                "SQLAlchemy==2.1.9",
            ),
            python=(3, 13),
        ),
        Pins(
            requirements=(
                "eventsource-py==0.8.1",
                "aiosqlite==0.22.1",
                "orjson==3.13.0",
                "pydantic==2.14.3",
                "SQLAlchemy==2.1.9",
            )
        ),
    ),
    "langgraph": (
        Pins(
            requirements=(
                "langgraph-checkpoint-sqlite==3.1.2",
                "langgraph-checkpoint==4.3.2",
                "langchain-core==1.7.2",
                "aiosqlite==0.22.1",
                "ormsgpack==1.13.1",
            )
        ),
    ),
    "dbos": (Pins(requirements=("dbos==3.4.0", "SQLAlchemy==2.1.9")),),
    "langgraph-firestore": (
        Pins(
            requirements=(
                "langgraph-checkpoint-firestore==0.4.0",
                "langgraph==1.2.24",
                "langgraph-checkpoint==4.3.2",
                "langchain-core==1.8.3",
                "google-cloud-firestore==2.34.1",
                "grpcio==1.85.3",
                "protobuf==7.36.2",
            )
        ),
    ),
    "huey": (Pins(requirements=("huey==3.5.4",)),),
    "charts": (Pins(requirements=("matplotlib==3.11.2",)),),
}


def interpreter(name: str, cache: Path) -> Path:
    """The interpreter of a ready environment, which is made first where it is missing.

    Raises:
        EnvironmentFailed: no fitting Python, or the installation failed.
    """
    if name == OWN:
        return Path(sys.executable)
    for pins in PEERS[name]:
        base = find_python(pins.python)
        if base is not None:
            return _ready(name, pins, base, cache)
    raise EnvironmentFailed("no fitting Python interpreter found")


def is_ready(name: str, cache: Path) -> bool:
    """Whether `interpreter` has nothing to make."""
    return name == OWN or any((_folder(name, pins, cache) / "ready").exists() for pins in PEERS[name])


def find_python(oldest: tuple[int, int]) -> Path | None:
    """This interpreter where it is new enough, else the named one on the path or from pyenv."""
    if sys.version_info >= oldest:
        return Path(sys.executable)
    wanted = f"{oldest[0]}.{oldest[1]}"
    candidates = sorted(_pyenv_root().glob(f"versions/{wanted}.*/bin/python"))
    on_path = shutil.which(f"python{wanted}")
    if on_path is not None:
        candidates.append(Path(on_path))
    return next((candidate for candidate in reversed(candidates) if _is_version(candidate, wanted)), None)


def _pyenv_root() -> Path:
    return Path(os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv")))


def _is_version(python: Path, wanted: str) -> bool:
    """A shim on the path may exist without a version behind it."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() == wanted


def _ready(name: str, pins: Pins, base: Path, cache: Path) -> Path:
    folder = _folder(name, pins, cache)
    python = folder / "bin" / "python"
    if (folder / "ready").exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    _call([str(base), "-m", "venv", str(folder)])
    _call([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pins.requirements])
    (folder / "ready").touch()
    return python


def _folder(name: str, pins: Pins, cache: Path) -> Path:
    return cache / "environments" / f"{name}-{pins.digest}"


def _call(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    except subprocess.TimeoutExpired as error:
        raise EnvironmentFailed("the installation took more than 600 s") from error
    if done.returncode != 0:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise EnvironmentFailed(lines[-1].strip() if lines else f"{command[0]} ended with {done.returncode}")
