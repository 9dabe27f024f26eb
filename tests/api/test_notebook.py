"""The notebook and the page on Python do what they show, on the quick start made small."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from io import BytesIO
from typing import Any

import nbformat
import pytest
from PIL import Image

from adloc.study import spec_yaml
from adloc.study_file.validation import load_study
from checkout import ROOT

NOTEBOOK, PAGE = ROOT / "docs" / "quickstart.ipynb", ROOT / "docs" / "python.md"
SMALL = (
    "dataset.categories=[brick]",
    "image.size=64",
    "regimes=[clean, no_adaptation]",
    "methods=[{method: patchcore, params: {backbone: efficientnet_lite0, coreset_ratio: 0.1, reweight: none}}]",
    "heatmaps=4",
    "models=none",
)


def test_notebook_is_kept_without_outputs() -> None:
    """No figure, no path and no time of whoever ran it last."""
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The notebook, run in a kernel beside the small study, with a mistake at its end; `metadata.where`: its folder."""
    from nbclient import NotebookClient

    root = tmp_path_factory.mktemp("notebook")
    (root / "docs").mkdir()
    (root / "studies").mkdir()
    _, spec = load_study(ROOT / "studies" / "quickstart.yaml", SMALL)
    (root / "studies" / "quickstart.yaml").write_text(spec_yaml(spec))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    mistake = nbformat.v4.new_code_cell("adloc.Study.load('none.yaml')", metadata={"tags": ["raises-exception"]})
    notebook.cells.append(mistake)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_RUNTIME_DIR", str(root / "runtime"))
        patch.setenv("IPYTHONDIR", str(root / "ipython"))
        NotebookClient(notebook, timeout=540, resources={"metadata": {"path": str(root / "docs")}}).execute()
    notebook.metadata.where = str(root)
    return notebook


def outputs(notebook: Any, kind: str) -> list[str]:
    """What cells have shown, of a MIME type."""
    found = [o.data for cell in notebook.cells for o in cell.get("outputs", ()) if "data" in o]
    return ["".join(data[kind]) for data in found if kind in data]


@pytest.mark.slow
def test_notebook_shows_its_leaderboard_and_heatmaps(executed: Any) -> None:
    """The table of the five lines that it begins with, and pictures of several strips."""
    lines = [line for cell in executed.cells[1:4] for line in cell.source.splitlines() if line]
    assert len(lines) == 5
    board, *_ = outputs(executed, "text/html")
    assert re.search(r"<table.*>image_auroc<.*patchcore", board, re.DOTALL)
    pictures = [Image.open(BytesIO(base64.b64decode(png))) for png in outputs(executed, "image/png")]
    assert pictures[0].width > 1000
    assert pictures[0].height > 4 * 300


@pytest.mark.slow
def test_progress_in_a_notebook_is_plain_lines(executed: Any) -> None:
    """On the standard output; nothing is written over."""
    told = [o for cell in executed.cells for o in cell.get("outputs", ()) if o.output_type == "stream"]
    assert "[2/2] brick patchcore" in "".join(o.text for o in told if o.name == "stdout")
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", "".join(o.text for o in told))


@pytest.mark.slow
def test_examples_of_the_page_run(executed: Any) -> None:
    """One after the other, in a folder where the quick start has run."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 4
    code, where = "\n".join(blocks), executed.metadata.where
    found = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=where, capture_output=True, text=True, timeout=300, check=False
    )
    assert found.returncode == 0, found.stderr
    assert "image.size is -1" in found.stdout


@pytest.mark.slow
def test_mistake_in_a_notebook_shows_no_traceback(executed: Any) -> None:
    """IPython shows finding, rule and remedy, a line each."""
    (shown,) = executed.cells[-1].outputs
    assert shown.output_type == "error"
    assert shown.traceback[0].startswith("none.yaml: No such file")
    assert len(shown.traceback) == 3
