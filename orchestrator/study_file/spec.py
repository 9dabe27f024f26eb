"""What a study asks for. Every default of the study file stands here, or in the class that it configures."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from adloc.datasets import DatasetConfig
from adloc.datasets.split import SplitConfig
from adloc.datasets.transform import ImageConfig
from adloc.methods.engines.engine import EngineName
from adloc.study_file.axes import LearningCurve, StudyShift, TrainConfig
from adloc.study_file.comparing import ComparisonConfig
from adloc.study_file.domains import AnyShift
from adloc.study_file.evaluating import EvaluationConfig
from adloc.study_file.explaining import ExplainConfig
from adloc.study_file.operating import OperatingConfig
from adloc.study_file.regimes import Regime
from adloc.study_file.tuning import TuneConfig, TuningConfig
from adloc.thresholds import ThresholdConfig

Scope = Literal["category", "unified"]
FeatureDtype = Literal["float32", "float16"]
KeptFeatures = Literal["all", "train", "none"]
LoggedModels = Literal["best", "all", "none"]
StudyName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9_-]{1,80}$",
        json_schema_extra={
            "rule": "it must be 1 to 80 letters, digits, _ and -: it names folders and the MLflow experiment",
            "remedy": "use a name like coreset_ablation",
        },
    ),
]


class MethodEntry(BaseModel):
    """One method of a study: single values in `params`, lists to multiply out in `grid`, a search space in `tune`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str = Field(description="a method by name (see `adloc methods`), or package.module:METHOD")
    params: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="single values",
        json_schema_extra={
            "rule": "it must hold parameters of the method, one value each",
            "remedy": "write for example params: {backbone: resnet50}",
        },
    )
    grid: dict[str, list[JsonValue]] = Field(
        default_factory=dict,
        description="lists; their product is taken",
        json_schema_extra={
            "rule": "every key of a grid must have a list of values; their product is taken",
            "remedy": "write for example grid: {coreset_ratio: [0.01, 0.1]}, or move a single value to params",
        },
    )
    tune: TuneConfig | None = Field(
        default=None,
        description="a space that is searched on the validation part; every combination of the grid is tuned by itself",
        json_schema_extra={
            "rule": "it must hold a space to search, or auto for the method's own",
            "remedy": "write for example tune: {space: auto}",
        },
    )


class FeaturesConfig(BaseModel):
    """How backbone features are computed and kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dtype: FeatureDtype = Field(
        default="float32",
        description="float32, or float16: half the disk, each value rounded by up to 0.05 %",
        json_schema_extra={"rule": "it must be float32 or float16", "remedy": "use float32"},
    )
    engine: EngineName = Field(
        default="torch",
        description="what runs the backbone: torch; or onnx or openvino, always on the CPU and faster there",
        json_schema_extra={"rule": "it must be torch, onnx or openvino", "remedy": "use torch"},
    )
    keep: KeptFeatures = Field(
        default="all",
        description="what stays in the store: all; those of training images (train); or none. Others pass the backbone"
        " again at every step that reads them; changes no figure",
        json_schema_extra={"rule": "it must be all, train or none", "remedy": "use all"},
    )


class StudySpec(BaseModel):
    """A study, validated. Frozen; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: StudyName
    description: str = Field(default="", description="the question that the study answers")
    dataset: DatasetConfig
    split: SplitConfig = Field(default_factory=SplitConfig)
    shift: AnyShift = Field(default_factory=StudyShift)
    train: TrainConfig = Field(default_factory=TrainConfig)
    learning_curve: LearningCurve | None = Field(
        default=None, description="fits on ever more images, in the first regime: how many are enough"
    )
    image: ImageConfig = Field(default_factory=ImageConfig)
    features: FeaturesConfig = Field(default_factory=FeaturesConfig)
    regimes: tuple[Regime, ...] = Field(
        default=("clean",),
        min_length=1,
        json_schema_extra={
            "rule": "it must be a list of clean, no_adaptation, threshold_only, full_adaptation",
            "remedy": "use [clean], or all four to see what a shift does",
        },
    )
    scopes: tuple[Scope, ...] = Field(
        default=("category",),
        min_length=1,
        json_schema_extra={
            "rule": "it must be a list of category (one model each) and unified (one model for all)",
            "remedy": "use [category]",
        },
    )
    thresholds: ThresholdConfig = Field(default_factory=ThresholdConfig)
    operating: OperatingConfig | None = Field(
        default=None, description="rates and costs of the line; objective cost needs it, the report reads it"
    )
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)
    comparison: ComparisonConfig = Field(default_factory=ComparisonConfig)
    methods: tuple[MethodEntry, ...] = Field(
        min_length=1,
        json_schema_extra={
            "rule": "it must be a list of at least one method with its params and grid",
            "remedy": "add `- method: patchcore`",
        },
    )
    tuning: TuningConfig = Field(default_factory=TuningConfig)
    repeats: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="repeat i uses every seed + i",
        json_schema_extra={
            "rule": "it must be a whole number from 1 to 1000",
            "remedy": "use 1, or 5 for intervals",
        },
    )
    max_runs: int = Field(
        default=20_000,
        ge=1,
        description="a study of more runs than this is refused before anything is planned; changes no figure",
        json_schema_extra={"rule": "it must be a whole number from 1: the most runs", "remedy": "use 20000"},
    )
    heatmaps: int = Field(
        default=8,
        ge=0,
        description="heatmaps logged per run: a mix of the best, the worst and borderline images",
        json_schema_extra={"rule": "it must be a whole number, 0 or more", "remedy": "use 8"},
    )
    explain: ExplainConfig = Field(
        default_factory=ExplainConfig,
        description="what is explained of the leads' runs, in the first regime; changes no figure",
    )
    models: LoggedModels = Field(
        default="best",
        description="whose models MLflow shows and serves: of the best setting of each method, chosen on validation "
        "images, in the first regime and repeat, one a category; of all runs; or of none; changes no figure",
        json_schema_extra={
            "rule": "it must be best (of each method the best on validation images), all (of every run) or none",
            "remedy": "use best",
        },
    )
    seed: int = Field(
        default=42,
        ge=0,
        description="of the methods' own random choices",
        json_schema_extra={"rule": "it must be a whole number, 0 or more", "remedy": "use 42"},
    )

    def resolved(self) -> dict[str, Any]:
        """Everything that was asked, defaults included, as plain values for YAML and JSON."""
        return self.model_dump(mode="json")
