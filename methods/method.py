"""What a method declares of itself, without importing torch: its parameters and the steps it takes.

The planner reads declarations only. Two runs whose step has the same declaration, the same values of the
parameters named here and the same inputs share that step's result: it is computed once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a method, the unit of sharing.

    Attributes:
        name: "coreset"; also the name of the method of the detector class that computes it.
        part: "fit" steps read a train part and must be one model's; "calibrate" steps, after them, read the validation
            part that goes with it (the train part again where there is none); "score" steps the part that is scored.
        params: the method parameters on which the result depends, beyond those of its inputs.
        grows_with: the parameter for which a larger value's result contains every smaller one's (a nested
            coreset, a longer list of neighbours). It is then not in `params`: the step is computed once, for
            the largest value that any run needs.
        builds_on: the one of `params` whose result at a larger value can be made from that at a smaller one, to
            the very same bits: each value of a study then costs only what it adds to the next smaller one.
        version: raised when the step's result changes; old results are then not used.
        unless: a parameter, and its value at which the step is not taken. A step before it and one after it then have
            the keys that they would have if it did not exist.
    """

    name: str
    part: Literal["fit", "calibrate", "score"]
    params: tuple[str, ...]
    grows_with: str | None = None
    builds_on: str | None = None
    version: int = 1
    unless: tuple[str, object] | None = None

    def is_taken(self, params: BaseModel) -> bool:
        """Whether a run with these parameters takes it."""
        return self.unless is None or getattr(params, self.unless[0]) != self.unless[1]


@dataclass(frozen=True, slots=True)
class Method:
    """A registry entry.

    Attributes:
        name: as in a study file.
        params: the parameter class (Pydantic, frozen, extras forbidden): every parameter with its default.
        steps: in the order in which they run; each may read the results of all before it. The last one gives
            image scores and, where `maps` says so, patch maps.
        map_params: parameters used only when patch maps are expanded to anomaly maps.
        detector: "package.module:Class" that implements the steps (imported only when something is computed).
        default_space: the default search space for tuning, in the notation of a study file.
        leave_one_out: the step that scores each image of a train part by a model without it (see
            `adloc.methods.detector.LeaveOneOut`), a "score" step that reads the fit steps alone; None where the method
            has none. No run takes it: it explains one.
        least_images: without so many training images there is no fit; a learning curve begins there.
        reads: what its steps read of a part: backbone features, computed once for all methods that read them (its
            parameters then have `backbone`, `weights` and `layers`), or the images themselves.
        maps: whether it says where a defect is; a method without patch maps gives scores of whole images alone.
        code: identity of the source behind a plug-in or of the library that does the work, a part of every key; empty
            for adloc's own steps, whose versions are raised by hand.
        plain: the parameters that make scores of distances, each with the value at which it leaves them as they are.
            A study compares the ranking of a run that has another value with that at this one, on its validation
            part; see `adloc.methods.detector.Rescoring`.
        over_epochs: the step that scores images by earlier states of the training (see
            `adloc.methods.detector.OverEpochs`), a "score" step that reads the fit steps alone; None where the method
            has none. It gives no figure and costs none: the report draws from it how the training went.
        possible: "package.module:function" of parameters and an `adloc.methods.given.Given`, which raises MethodError
            where no fit on that could have these parameters: so it is told before anything is computed.
        library: module that its steps import, where that takes seconds: it is imported with a study's other libraries,
            and is no step's cost.
    """

    name: str
    params: type[BaseModel]
    steps: tuple[Step, ...]
    map_params: tuple[str, ...]
    detector: str
    default_space: Mapping[str, Mapping[str, object]]
    leave_one_out: Step | None = None
    least_images: int = 1
    reads: Literal["features", "images"] = "features"
    maps: bool = True
    code: str = ""
    plain: Mapping[str, object] = field(default_factory=dict)
    over_epochs: Step | None = None
    possible: str = ""
    library: str = ""
