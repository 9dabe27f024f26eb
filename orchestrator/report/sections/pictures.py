"""The sections made of pictures: the gallery, and images before and after the shift."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.report.section import Section

if TYPE_CHECKING:
    from adloc.report.gallery import Gallery


def gallery(gallery: Gallery) -> Section | None:
    """The same images across settings and regimes."""
    if not gallery.cards:
        return None
    text = (
        "The same images across settings and regimes: first those that every run has a picture of, the most often "
        "misjudged at the front, then each run's own extremes. Each view shows the anomaly map, and the image with the "
        "map's contour at the threshold. In every map the colour turns from cold to warm at the run's own threshold: "
        "colours compare between methods whose raw scores do not. Runs that share a model and its threshold share the "
        "scale, so what a shift does to the scores can be seen."
    )
    thinned = gallery.n_recorded - gallery.n_shown
    left = (
        f"{gallery.n_shown} of the {gallery.n_recorded} recorded pictures are shown, made smaller; the others "
        "are of other "
        "settings or repeats, or were left out to keep this file small. All are in the records' heatmaps folders."
        if thinned > 0
        else "All recorded pictures are shown, made smaller."
    )
    choice = (
        "Half of a run's pictures are of images chosen by a hash of their names, one of each defect type in "
        "turn, so that "
        "they are the same in every run; the other half are the run's own: its lowest-scored anomalies, highest-scored "
        "normal images and those nearest to the threshold."
    )
    verdicts = (
        "A verdict is of the image score, which is not smoothed as the map is. Amber says that the map does not bear "
        'it out: its contour shares no pixel with the defect ("contour elsewhere"), or there is none ("no contour", '
        '"map cold"). Pictures drawn by earlier versions do not tell; theirs is the verdict alone.'
    )
    return Section("gallery", "Gallery", (text,), notes=(verdicts, choice, left), kind="gallery")


def pairs(gallery: Gallery) -> Section | None:
    """Images before and after the shift."""
    if not any(len(card.pictures) > 1 for card in gallery.cards):
        return None
    text = "The same images before and after the shift, with the defects outlined where they are."
    return Section("shift", "Clean and shifted images", (text,), kind="pairs")
