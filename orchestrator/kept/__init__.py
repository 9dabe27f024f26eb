"""A study as it is kept: read from its records alone, and what failed beside it without ending it."""
