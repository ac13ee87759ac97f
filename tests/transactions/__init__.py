"""Locks as callers, processes and restored files see them."""
