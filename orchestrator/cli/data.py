"""`adloc data`: look at the images of a study before it is run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from adloc.cli.options import AS_JSON, FILE, OK, SET, WORKSPACE, WRONG, find_workspace, user_errors
from adloc.cli.say import say, warn


@click.group()
def data() -> None:
    """Look at the images of a study before it is run."""


@data.command("check")
@FILE
@SET
@AS_JSON
@WORKSPACE
@user_errors
def check_command(file: Path, overrides: tuple[str, ...], as_json: bool, workspace: str | None) -> None:  # noqa: FBT001
    """Read every image, name what is broken or missing, and count images per part.

    The kinds of dataset: folder and table (your own images), mvtec_ad, mvtec_ad_2, mvtec_loco, visa, btad, mpdd,
    kolektor_sdd, kolektor_sdd2, real_iad, aebad_s, textures. Warned of are also masks that are missing, empty, soft or
    cover everything, counts other than the published ones, and images of two parts that look the same.
    """
    from adloc.cli.tables import print_check

    checked = _check(file, overrides, workspace)
    print_check(checked, as_json=as_json)
    if checked.plan is not None:
        from adloc.answer.promises import small_part_warnings

        warn(small_part_warnings(checked.plan))
    sys.exit(WRONG if checked.errors else OK)


@data.command()
@FILE
@SET
@WORKSPACE
@click.option(
    "--output", type=click.Path(path_type=Path), help="The sheet; default: preview.png in the study's folder."
)
@click.option("--images", type=click.IntRange(1, 20), default=6, show_default=True, help="Images of each category.")
@user_errors
def preview(file: Path, overrides: tuple[str, ...], workspace: str | None, output: Path | None, images: int) -> None:
    """Write a contact sheet of the study's images with their masks, clean and shifted side by side."""
    from adloc.errors import UserError
    from adloc.preview import preview_sheet

    checked = _check(file, overrides, workspace)
    if checked.plan is None:
        raise UserError(*checked.errors)
    path = output or find_workspace(workspace).study_path(checked.spec.study) / "preview.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    preview_sheet(checked.plan, images).save(path)
    say(str(path))


def _check(file: Path, overrides: tuple[str, ...], workspace: str | None) -> Any:  # noqa: ANN401
    from adloc.study import check_data

    return check_data(file, overrides, find_workspace(workspace))
