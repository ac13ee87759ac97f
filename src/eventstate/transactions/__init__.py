"""From batches to settled outcomes."""
