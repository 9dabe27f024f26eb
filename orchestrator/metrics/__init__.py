"""Metrics on raw scores.

`ranking` and `classification` for images, `regions` for anomaly maps, `registry` for their names and meaning.
Import from the modules; this package imports none of them, so that the registry stays light.
"""
