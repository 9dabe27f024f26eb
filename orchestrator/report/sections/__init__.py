"""The sections of a report, in order; one that the study has no data for is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.explain.explanation import Explanations
from adloc.report.sections.answer import answer
from adloc.report.sections.boards import defect_types, hardest, leaderboard
from adloc.report.sections.charted import curves, distributions, trade_offs
from adloc.report.sections.comparisons import compared
from adloc.report.sections.conditions import how_clean, how_many_images, which_part_hurts
from adloc.report.sections.explained import suspicious, why_missed
from adloc.report.sections.operating import operating
from adloc.report.sections.paper import paper
from adloc.report.sections.pictures import gallery, pairs
from adloc.report.sections.protocol import protocol
from adloc.report.sections.provenance import failures, provenance
from adloc.report.sections.robustness import robustness
from adloc.report.sections.training import training
from adloc.report.sections.tuning import tuning
from adloc.report.sections.unified import unified
from adloc.sealing.ledger import sentences, standing

if TYPE_CHECKING:
    from adloc.answer.found import Found
    from adloc.answer.material import Material
    from adloc.report.gallery import Gallery
    from adloc.report.section import Section
    from adloc.report.strips import Strips
    from adloc.tuning.state import SearchState
    from adloc.workspace import Workspace


def make_sections(
    material: Material,
    found: Found,
    pictures: Gallery,
    strips: Strips,
    searches: tuple[SearchState, ...],
    workspace: Workspace,
) -> list[Section]:
    """Every section that has something to show.

    Args:
        material: of the report.
        found: what it says together.
        pictures: the recorded ones.
        strips: reads the pictures of explanations.
        searches: of the study, and how far they are.
        workspace: of the study.
    """
    study_path = workspace.study_path(material.plan.spec.study)
    explanations = Explanations(study_path)
    figures = [
        answer(material, found.claims, found.verdicts),
        protocol(material, sentences(standing(material.plan, workspace))),
        operating(material),
        leaderboard(material),
        compared(material, found.comparisons),
        *robustness(material),
        which_part_hurts(material),
        how_many_images(material),
        how_clean(material),
        distributions(material),
        curves(material),
        trade_offs(material),
    ]
    images = [
        hardest(material),
        defect_types(material),
        why_missed(material, explanations, strips),
        suspicious(material, explanations, strips),
        unified(material),
        training(material),
        tuning(searches, study_path, material),
    ]
    about = [paper(material), failures(material), provenance(material)]
    made = [*figures, gallery(pictures), *images, pairs(pictures), *about]
    return [section for section in made if section is not None]
