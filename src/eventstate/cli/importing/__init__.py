"""``eventstate import``: an event log from a file."""
