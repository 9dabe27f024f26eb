"""The answer of a study as tables, from the records alone: results, what is lost or gained, what differs."""
