"""Tools to test stores, machines and what is built on them: usable in your own test suite."""
