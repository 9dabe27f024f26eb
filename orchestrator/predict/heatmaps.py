"""A folder of heatmaps: of each image the map over it as PNG, and the raw map as TIFF."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tifffile

from adloc.errors import Complaint, UserError
from adloc.predict.places import is_folder, is_there
from adloc.record.png import encode_png

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path, PurePath

    from adloc.predict.overlays import Overlays
    from adloc.predict.pipeline import Predicted


def check_folder(folder: Path, roots: Sequence[Path], searched: Sequence[Path]) -> None:
    """Refuse a folder of heatmaps where images are: they could be overwritten, or taken for images.

    Args:
        folder: of the heatmaps.
        roots: folders that hold images.
        searched: those that are searched through, with the folders in them.

    Raises:
        UserError: it is one of the first, or lies in one of the second; or it is a file.
    """
    place = folder.resolve()
    around = {place, *place.parents}
    clash = next((each for each in searched if each.resolve() in around), None)
    clash = clash or next((each for each in roots if each.resolve() == place), None)
    if clash is not None:
        rule = f"heatmaps have the names of their images, and images are looked for in {clash}"
        raise UserError(Complaint(f"--heatmaps is {folder}", rule, "name a folder elsewhere"))
    if is_there(folder) and not is_folder(folder):
        raise UserError(Complaint(f"--heatmaps is {folder}", "it must be a folder", "name another"))


class Heatmaps:
    """Writes two files an image, named and placed as the image is."""

    def __init__(self, folder: Path, overlays: Overlays) -> None:
        self._folder, self._overlays = folder, overlays
        self._taken: set[PurePath] = set()

    def add(self, batch: Sequence[Predicted]) -> None:
        """Write those of some images; a broken one has none.

        Raises:
            UserError: a file cannot be written.
        """
        scored = [each for each in batch if each.score is not None]
        for each, drawn in zip(scored, self._overlays.draw(scored), strict=True):
            path = self._folder / self._free(each.asked.place)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.with_name(f"{path.name}.png").write_bytes(encode_png(drawn.overlay, {}))
                tifffile.imwrite(path.with_name(f"{path.name}.tiff"), drawn.anomaly_map, compression="zlib")
            except OSError as error:
                rule = "heatmaps are written as images are scored"
                found = f"{path}.png: cannot be written ({error.strerror})"
                raise UserError(Complaint(found, rule, "name another place by --heatmaps")) from None

    def finish(self) -> None:
        """Nothing is left to do."""

    def _free(self, place: PurePath) -> PurePath:
        """The place without its suffix; "part-2" where part.png and part.jpg are two images."""
        plain, n = place.with_suffix(""), 1
        found = plain
        while found in self._taken:
            n += 1
            found = plain.with_name(f"{plain.name}-{n}")
        self._taken.add(found)
        return found
