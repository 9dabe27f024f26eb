"""PaDiM, by anomalib's own model: params, memory, explaining; detector puts the calls in their order."""
