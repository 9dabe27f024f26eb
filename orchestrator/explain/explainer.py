"""Explain one run: its training images, its misses, its masks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from adloc.explain.defects import measure_defects
from adloc.explain.explanation import Explanation, Missed, Training, explanation_key
from adloc.explain.mask_noise import measure_mask_noise
from adloc.explain.missed import explain_missed
from adloc.explain.suspicious import explain_training

if TYPE_CHECKING:
    from adloc.computing.compute import Workbench
    from adloc.explain.explanation import Defect, Explanations, MovedMasks
    from adloc.planning.plan import Run
    from adloc.record.records import Records, RunRecord
    from adloc.study_file.explaining import ExplainConfig


class Unheard:
    """Hears of no stage: explaining is no part of a plan, its stages in no count. See `adloc.computing.compute`."""

    def stage_started(self, stage: object) -> None:
        """Say nothing."""

    def stage_progress(self, stage: object, done: int, total: int) -> None:
        """Say nothing."""

    def worker_done(self, worker: str, stage: object, seconds: float, n_images: int) -> None:
        """Nothing."""

    def stage_done(self, stage: object, seconds: float, n_images: int) -> None:
        """Say nothing."""


def explain_run(
    run: Run, record: RunRecord, bench: Workbench, records: Records, explanations: Explanations, config: ExplainConfig
) -> Explanation:
    """Make and keep the explanation of a run that is recorded.

    Args:
        run: of the plan.
        record: of the run.
        bench: finds its stages in the store, or computes them.
        records: of the study.
        explanations: where it is kept.
        config: what is asked.
    """
    start = time.perf_counter()
    folder, threshold = explanations.draft(run.run_id), record.threshold
    training = Training()
    if config.suspicious_images:
        validation = records.image_scores(run.run_id, "validation")
        normals = np.array([each.score for each in validation if not each.anomalous], dtype=np.float64)
        training = explain_training(run, bench, normals, threshold, config.suspicious_images, folder)
    defects: tuple[Defect, ...] = ()
    noise: tuple[MovedMasks, ...] = ()
    missed = Missed()
    if config.missed_defects or config.mask_noise:
        truth = bench.result(run.test.truth)
        if config.missed_defects:
            scores = np.array([each.score for each in records.image_scores(run.run_id, "test")], dtype=np.float64)
            defects = measure_defects(run, truth, scores, threshold)
            missed = explain_missed(run, bench, truth, threshold, config.missed_defects, folder)
        if config.mask_noise:
            noise = measure_mask_noise(run, bench, truth, config.mask_noise)
    made = Explanation(
        key=explanation_key(run, config),
        run_id=run.run_id,
        threshold=threshold,
        training=training,
        defects=defects,
        missed=missed,
        mask_noise=noise,
        seconds=round(time.perf_counter() - start, 3),
    )
    explanations.write(made)
    return made
