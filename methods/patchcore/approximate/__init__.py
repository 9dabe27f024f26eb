"""A memory bank searched by an index that finds most of the nearest entries, and how many: the door is `bank`."""
