"""What stands in an exported model's model.json. Reading it imports neither torch nor numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from adloc.datasets.transform import ImageConfig
from adloc.keys import content_key
from adloc.methods.engines.engine import EngineName
from adloc.study_file.spec import FeatureDtype

if TYPE_CHECKING:
    from adloc.methods.method import Method


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Origin(_Part):
    """The run that the model is of.

    Attributes:
        key: of the record: identity of data, weights, settings and code.
        domain: of the images that it was evaluated on.
        n_train: images that it was fitted on.
    """

    study: str
    run_id: str
    key: str
    category: str
    regime: str
    scope: str
    threshold_scope: str
    repeat: int
    setting: str
    domain: str
    n_train: int


class BackboneSpec(_Part):
    """The network that images go through.

    Attributes:
        backbone: as in the study file.
        weights: the same: "default", "random", or the path where the file was.
        sha256: of the weights, as in every key of the study.
        seed: of random weights.
        layers: that features are taken from; empty for a method that reads images.
        description: of the weights, in words.
        file: name of their copy in the model's folder; None where they are taken from where they are.
    """

    backbone: str
    weights: str
    sha256: str
    seed: int
    layers: tuple[str, ...]
    description: str
    file: str | None = None


class Threshold(_Part):
    """From which score an image is anomalous, and what that promises.

    Attributes:
        image: an image is anomalous when score >= image; None where none was calibrated.
        pixel: the same for the pixels of an anomaly map.
        objective: how it was chosen, in words: "f1", "guaranteed_fpr 0.01 at 0.95 confidence".
        source: of which images.
        n_normal: normal images that it rests on.
        expected_fpr: the expected share of normal images that it flags is at most this; None where nothing is promised.
        upper_fpr: the share is at most this in the share `confidence` of calibrations.
        confidence: of `upper_fpr`.
        set_on: ISO 8601, UTC; empty for the study's own.
    """

    image: float | None
    pixel: float | None
    objective: str
    source: str
    n_normal: int
    expected_fpr: float | None = None
    upper_fpr: float | None = None
    confidence: float = 0.95
    set_on: str = ""


class Scale(_Part):
    """Between which scores maps are coloured: the median of normal pixels, and a quantile that few pixels reach."""

    low: float
    high: float


class Reference(_Part):
    """The images whose scores the model is judged by later; the figures themselves are arrays.

    Attributes:
        file: that has them.
        source: of which images.
        n_normal: how many of them are normal.
        n_anomalous: how many are not.
        statistics: names of what else was measured of each, beside its score.
    """

    file: str
    source: str
    n_normal: int
    n_anomalous: int
    statistics: tuple[str, ...]


class StepFacts(_Part):
    """What a fit step left behind, without its arrays.

    Attributes:
        arrays: their names.
        facts: small named values.
    """

    arrays: tuple[str, ...]
    facts: dict[str, JsonValue]


class ModelSpec(_Part):
    """A model.

    Attributes:
        method: as a study file names it.
        method_code: of a plug-in or a library, the hash of its source or its version.
        params: every hyperparameter of the method, defaults included.
        seed: of the fit.
        image: preprocessing.
        dtype: of the features, as the study kept them.
        engine: what computes the backbone.
        steps: the fit, by step.
        former: thresholds that it had before, the oldest first.
        regimes: image F1 on validation images by regime, at this setting, where its study had a shift: what a new
            threshold and a new fit were worth there.
        scale: None where it was evaluated on no validation images, or gives no maps.
        files: SHA-256 by file that belongs to the model.
        versions: of the packages that made it.
        created: ISO 8601, UTC.
        check: of all the others, so that a changed value shows.
    """

    format: Literal[1] = 1
    origin: Origin
    method: str
    method_code: str
    params: dict[str, JsonValue]
    seed: int
    image: ImageConfig
    dtype: FeatureDtype
    engine: EngineName
    backbone: BackboneSpec | None
    threshold: Threshold
    former: tuple[Threshold, ...] = ()
    regimes: dict[str, float] = {}
    scale: Scale | None
    reference: Reference
    steps: dict[str, StepFacts]
    files: dict[str, str]
    versions: dict[str, str]
    created: str
    check: str = ""

    def sealed(self) -> ModelSpec:
        """The same, with its check."""
        return self.model_copy(update={"check": self._digest()})

    @property
    def is_intact(self) -> bool:
        """Whether every value is the one that was written."""
        try:
            return self.check == self._digest()
        except ValueError:  # a number that is not finite, which has no digest and was never written
            return False

    def method_params(self, method: Method) -> BaseModel:
        """The parameters as the method's own class."""
        import json

        return method.params.model_validate_json(json.dumps(self.params))

    def _digest(self) -> str:
        return content_key(["model", self.model_dump(mode="json", exclude={"check"})])
