"""The record of a run: the truth, on disk by rename before MLflow hears of it. All that is shown is made from it."""
