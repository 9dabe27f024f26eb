"""Benchmarks of the cost laws: `make bench`, or this file with --quick and --only a,d.

Each item runs what it compares in the same process, in turn. The results go, with what machine it was, to
.cache/benchmarks/ as JSON; nothing here fails because something is slow.
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
    """Run the items asked for, one after the other, and write what was found so far after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: does everything work?")
    parser.add_argument("--only", default=",".join("abcdefghijklmno"), help="items, by letter; p needs a GPU")
    parser.add_argument(
        "--threads", type=int, help="of torch and FAISS, for all that is compared; fewer where others work"
    )
    parser.add_argument("--output", type=Path, help="the JSON file")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    os.environ["TQDM_DISABLE"] = "1"
    if options.threads:
        for library in ("OMP", "MKL", "OPENBLAS"):  # before any of them is loaded; child processes obey too
            os.environ[f"{library}_NUM_THREADS"] = str(options.threads)

    from gpu import GPU_ITEMS
    from kernels import KERNELS
    from machine import machine_facts
    from scale import SCALE_ITEMS
    from sweeps import SWEEPS

    from engines import ENGINE_ITEMS
    from predict import PREDICT_ITEMS

    name = time.strftime("%Y%m%d-%H%M%S") + ("-quick" if options.quick else "")
    output = options.output or ROOT / ".cache" / "benchmarks" / f"{name}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    items = dict(sorted({**KERNELS, **SWEEPS, **ENGINE_ITEMS, **PREDICT_ITEMS, **SCALE_ITEMS, **GPU_ITEMS}.items()))
    found: dict[str, Any] = {"quick": options.quick, "machine": machine_facts(), "items": {}}
    for letter in options.only.split(","):
        start, load = time.perf_counter(), os.getloadavg()[0]
        result = items[letter](quick=options.quick)
        took = {"item_s": round(time.perf_counter() - start, 1), "load": [round(load, 1), round(os.getloadavg()[0], 1)]}
        found["items"][letter] = result | took
        output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        sys.stdout.write(f"{letter}. {json.dumps(found['items'][letter], indent=1)}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{output}\n")


if __name__ == "__main__":
    main()
