"""Durable state machines."""
