"""A prepared study run to its end: its searches, then its runs, tracked and told as they go."""
