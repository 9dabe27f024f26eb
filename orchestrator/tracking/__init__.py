"""MLflow: an index of the records, and the form in which a model is served. The one room that imports mlflow."""
