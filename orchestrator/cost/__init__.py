"""What a study costs before it starts, and what it has cost: the door is `estimate.py`, measured by `meter.py`."""
