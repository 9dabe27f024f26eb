"""`adloc init`: a first study file for a folder of images."""

from __future__ import annotations

from pathlib import Path

import click

from adloc.cli.options import user_errors
from adloc.cli.say import hand_out, say


@click.command()
@click.argument("folder", type=click.Path())  # a URL is told more there than `require_on_disk` can
@click.option(
    "--output", type=click.Path(path_type=Path), help="The study file; default: FOLDER's name with .yaml, here."
)
@click.option("--print", "only_print", is_flag=True, help="Print the file instead of writing it.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@user_errors
def init(folder: str, output: Path | None, only_print: bool, force: bool) -> None:  # noqa: FBT001
    """Look at a folder of images and write a study file that runs at once.

    It knows the layouts of MVTec AD, MVTec AD 2, MVTec LOCO AD, VisA, BTAD, MPDD, KolektorSDD, KolektorSDD2,
    Real-IAD and AeBAD-S, tables with the columns path and label, and any folders that are called what they hold:
    good and bad, ok and ng, normal and abnormal, train and test, masks; one category or a folder for each.
    One folder of good images is enough.
    """
    from adloc.init.first import first_study, free_place

    found = first_study(Path(folder))
    path = free_place(found, output, force=force or only_print)
    for line in found.seen:
        say(line, err=True)
    for note in found.notes:
        say(f"NOT SURE: {note}", err=True)
    if only_print:
        hand_out(found.text)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(found.text, encoding="utf-8")
    say(f"Written: {path}")
    say(f"Look:    adloc data check {path}")
    say(f"Run:     adloc study run {path}")
