"""Runs computed again beside what is kept of them, bit by bit: whether a study's figures can be had a second time."""
