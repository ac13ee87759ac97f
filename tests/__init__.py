"""The tests. A package, so that `tests.…` always means this folder."""
