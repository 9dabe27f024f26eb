"""A workspace behind a URL: what its machines have in common, by an object store's own rules.

`shared.py` is the door. Objects are written once under names made of their content, or by number where one follows
another; nothing is renamed, nothing is changed in its place, and whatever is read is held against its SHA-256. A
listing that is late shows less, never something else: at worst a stage is computed once more.
"""
