"""Whether an MLflow server answers, and how long it is waited for."""

from __future__ import annotations

import os

from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

# MLflow's own defaults wait 4 minutes for a request to a server that is away; what the user has set stays.
WAITING = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",  # seconds; a large model takes a server some to put away
}
PROBE_S = (3, 15)  # to connect, and to answer: the first query of a server that has just started takes some
OK = 200


def limit_waiting() -> None:
    """Have MLflow's client give up soon: what is not shown now is shown later."""
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)


def check_answers(server: str) -> None:
    """Ask the server, once, for something small that takes its database.

    Raises:
        MlflowException: it cannot be reached, or answers with anything but the thing.
    """
    host = get_default_host_creds(server)  # type: ignore[no-untyped-call]
    answer = http_request(  # type: ignore[no-untyped-call]
        host, "/api/2.0/mlflow/experiments/search", "POST",
        max_retries=0, timeout=PROBE_S, raise_on_status=False, json={"max_results": 1},
    )  # fmt: skip
    if answer.status_code != OK:
        raise MlflowException(f"it answers with status {answer.status_code}, {answer.reason}")
