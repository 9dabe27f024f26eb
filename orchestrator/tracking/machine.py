"""The machine's load while a study runs, as metrics of its parent run, where MLflow's own switch asks for it."""

from __future__ import annotations

import logging
from typing import Any

from mlflow.environment_variables import MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING


class MachineWatch:
    """MLflow's own monitor of processor, memory, disk, network and GPU: every ten seconds, or as its variables say."""

    def __init__(self, run_id: str, uri: str) -> None:
        """Start it, if $MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING is true; without psutil say that there will be none.

        Args:
            run_id: of the MLflow run, which goes on where it has such metrics.
            uri: of the tracking.
        """
        self._monitor: Any = None  # of a module without types
        if not MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING.get():  # type: ignore[no-untyped-call]
            return
        try:
            from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
        except ModuleNotFoundError as missing:
            logging.getLogger(__name__).warning(
                "WARNING: MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING is on, but %s is not installed: there are no system"
                " metrics; pip install %s",
                missing.name,
                missing.name,
            )
            return
        self._monitor = SystemMetricsMonitor(run_id, resume_logging=True, tracking_uri=uri)  # type: ignore[no-untyped-call]
        self._monitor.start()

    def end(self) -> None:
        """Stop it, with all that it has measured logged."""
        if self._monitor is not None:
            self._monitor.finish()
