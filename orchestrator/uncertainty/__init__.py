"""How sure a figure is: bootstrap intervals, paired comparisons, corrections for many of them. Pure NumPy and SciPy."""
