"""How each stage is computed, and the store that keeps the results. Stages first see a test image here.

Its hash was taken before, by `adloc.datasets.fingerprint`.
"""
