"""The study file: what is asked, with every mistake named by its line, the rule and the remedy.

reader (YAML, with the line of every key) -> spec (Pydantic) -> validation -> variants (methods, settings, grids)
"""
