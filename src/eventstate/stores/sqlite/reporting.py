"""What a store tells the log of the program."""

from __future__ import annotations


def warn(text: str, *details: object) -> None:
    """Tell it, as a warning of ``eventstate.sqlite``; the details are put in as `logging` does it."""
    try:
        import logging  # takes its time, and mostly there is nothing to tell
    except (ImportError, OSError):  # no file can be opened any more, which may be what was to be told
        return
    logging.getLogger("eventstate.sqlite").warning(text, *details, stacklevel=2)
