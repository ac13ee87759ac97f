"""What `eventstate watch` shows on a terminal: a table that follows the store."""
