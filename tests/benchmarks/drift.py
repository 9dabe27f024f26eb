"""The drift watch, measured: false alarms, delays on MVTec-Shift, and whether its advice is that of the regimes.

Run it as a script, with --data and --weights for the real images; the result is JSON in .cache/benchmarks/.
Scores of images are kept beside it and read again: give another --scores to compute them anew.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
# The folder datasets/ at the repository root would shadow a package of that name.
sys.path[:] = [str(Path(__file__).resolve().parent)] + [p for p in sys.path if p and Path(p).resolve() != ROOT]


def main() -> None:
    """Measure what is asked for, and write it after each item."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="false_alarms,delays,advice", help="items")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data/industrial", help="bottle, commutator")
    parser.add_argument(
        "--weights",
        type=Path,
        default=ROOT.parent / "shared/weights/resnet18_imagenet1k_v1_trunk.safetensors",
        help="of ResNet-18",
    )
    parser.add_argument("--scores", type=Path, default=ROOT / ".cache" / "benchmarks" / "drift", help="folder")
    parser.add_argument("--output", type=Path, help="the JSON file")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    os.environ["TQDM_DISABLE"] = "1"

    from drift_streams import ITEMS
    from machine import machine_facts

    output = options.output or ROOT / ".cache" / "benchmarks" / f"drift-{time.strftime('%Y%m%d-%H%M%S')}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"machine": machine_facts(), "items": {}}
    for name in options.only.split(","):
        found["items"][name] = ITEMS[name](lambda category: scores_of(category, options))
        output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{json.dumps(found['items'], indent=1)}\n{output}\n")


def scores_of(category: str, options: argparse.Namespace) -> dict[str, Any]:
    """{method: Scored} of a category, computed once."""
    from drift_images import METHODS, Scored, score_category
    from drift_streams import TEXTURES

    from adloc.datasets.readers.mvtec_ad import MvtecAdConfig
    from adloc.datasets.textures import TexturesConfig

    paths = {method: options.scores / f"{category}-{method}.npz" for method in METHODS}
    if not all(path.is_file() for path in paths.values()):
        options.scores.mkdir(parents=True, exist_ok=True)
        if category in TEXTURES:
            textures = TexturesConfig(categories=(category,), n_train=150, n_per_defect=10)
            scored = score_category(textures, options.weights, n_fit=50, draws=1)
        else:
            real = MvtecAdConfig(root=options.data, categories=(category,))
            scored = score_category(real, options.weights, n_fit=70, draws=2)
        for method, path in paths.items():
            scored[method].save(path)
    return {method: Scored.load(path) for method, path in paths.items()}


if __name__ == "__main__":
    main()
