"""``eventstate demo``: crashes by the dozen, and nothing lost."""
