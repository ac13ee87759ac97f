"""Backends behind one port: memory, SQLite and Firestore."""
