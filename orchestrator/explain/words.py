"""An explanation in words, for people on a terminal or in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.explain.explanation import Explanation


def describe_explanation(explanation: Explanation, folder: Path) -> str:
    """What is suspicious and what was missed, and where the pictures are."""
    training, missed = explanation.training, explanation.missed
    lines = [f"{explanation.run_id}: {folder}"]
    if training.images:
        lines.append(f"  {training.n_outstanding} of {training.n_images} training images stand out; the furthest:")
        lines += [f"    {i.picture}  {i.name}  score {i.score:.4g}" for i in training.images]
    elif training.reason:
        lines.append(f"  training images: {training.reason}")
    lines += [f"    {d.picture}  {d.name}  missed, nearest to {d.nearest}" for d in missed.defects]
    if missed.reason:
        lines.append(f"  missed defects: {missed.reason}")
    return "\n".join(lines)
