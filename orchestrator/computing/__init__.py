"""How each stage is computed, and the store that keeps the results. Stages first see a test image here.

That is in `features.py`, `images.py` and `truth.py`. Its hash was taken before, by `adloc.datasets.fingerprint`.
"""
