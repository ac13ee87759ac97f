"""``python -m eventstate``."""

from eventstate.cli import main

main()
