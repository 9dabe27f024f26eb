"""adloc: studies of industrial anomaly detection and localisation."""

__version__ = "0.1.0"
