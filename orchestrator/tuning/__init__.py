"""Tuning: hyperparameters chosen on train and validation parts, by code that no test image can reach."""
