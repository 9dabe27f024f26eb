"""Drawings of the report: figures in, a drawing out."""
