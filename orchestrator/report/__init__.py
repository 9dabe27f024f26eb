"""The answer of a study for people: one HTML file that needs nothing else, figures and tables for a paper.

Made from the records alone (`adloc.record`), at any time, also while the study runs; never from the store or MLflow.

    records -> material (what was found, with resamples) -> sections (words, tables, charts, gallery) -> page
"""
