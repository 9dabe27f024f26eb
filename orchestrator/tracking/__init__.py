"""MLflow: an index of the records, and the form in which a model is served. The one room that imports mlflow."""

import os

# Before MLflow is imported: it and its server tell their makers who uses them how, and it prints links into our JSON.
for _switch in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"):
    os.environ.setdefault(_switch, "true")
