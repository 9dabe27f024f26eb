"""The door to adloc in Python: what the verbs of the command line do, as objects, data frames, arrays and pictures.

    import adloc
    study = adloc.Study.load("studies/quickstart.yaml").run()
    study.leaderboard()
    study.heatmaps()

Verbs of `adloc study` and `adloc data` are methods of `Study`, those of `adloc model` and `adloc predict` of `Model`,
those of `adloc store` of `Store`; the others are functions. Options are keyword arguments of the same name.
"""

from __future__ import annotations

import warnings

from adloc.api.catalogue import examine, list_datasets, list_methods, schema
from adloc.api.compared import Compared, compare
from adloc.api.model import Model, load_model
from adloc.api.pictures import Heatmap, Heatmaps
from adloc.api.store import Store
from adloc.api.study import Study
from adloc.errors import Complaint, UserError

# Libraries that adloc imports ask for a notebook's widgets, which it does not use: it writes plain lines.
warnings.filterwarnings("ignore", message="IProgress not found")

__all__ = [
    "Compared",
    "Complaint",
    "Heatmap",
    "Heatmaps",
    "Model",
    "Store",
    "Study",
    "UserError",
    "compare",
    "examine",
    "list_datasets",
    "list_methods",
    "load_model",
    "schema",
]
