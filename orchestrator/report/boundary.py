"""The report's own failure boundary: a report that cannot be written takes nothing from a study that was run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.kept.failure import keep_failure, kept_reason
from adloc.report.page import ERROR_NAME, write_report

if TYPE_CHECKING:
    from adloc.report.page import Report
    from adloc.study import Study


def try_report(study: Study) -> Report | None:
    """The report, written unless it is up to date; None where that failed, with the traceback kept in report_error.txt.

    The file is in the study's folder, until the next good report removes it. Every exception is caught: the runs
    are recorded, the tables written, and a mistake in a figure or a full disk must not make them look lost.
    """
    path = study.workspace.study_path(study.spec.study) / ERROR_NAME
    try:
        report = write_report(study)
    except Exception:  # noqa: BLE001  the one boundary of the report
        keep_failure(path)
        return None
    path.unlink(missing_ok=True)
    return report


def complaint(study: Study) -> str:
    """What kept the last report from being written, in one line; "" where nothing did."""
    path = study.workspace.study_path(study.spec.study) / ERROR_NAME
    reason, again = kept_reason(path), f"`adloc study report {study.file.path}` tries again"
    return f"the report could not be written: {reason} (all of it in {path}); {again}" if reason else ""
