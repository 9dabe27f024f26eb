"""What the steps of a method read: the images of a part, as features of a backbone or as they are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from adloc.keys import content_key
from adloc.methods.engines.engine import TORCH
from adloc.planning.stated import Stated

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from adloc.datasets.transform import ImageConfig
    from adloc.methods.engines.engine import Engine
    from adloc.planning.parts import Part
    from adloc.study_file.spec import FeatureDtype

# Raised when the code behind them changes its results: artifacts of older versions are not used.
FEATURES_VERSION, IMAGES_VERSION = 2, 1


@dataclass(frozen=True)
class Network:
    """A backbone with its weights.

    Attributes:
        backbone: "resnet50", "package.module:function".
        weights: as in the study file: "default", a path, "random".
        sha256: of the weights; only this, not the path, is part of the key.
        seed: of random weights.
    """

    backbone: str
    weights: str
    sha256: str
    seed: int


@dataclass(frozen=True, eq=False)
class FeatureStage(Stated):
    """Backbone features of every image of a part, kept image by image.

    Attributes:
        part: the images.
        network: the backbone.
        image: size and crop of its input.
        layers: that this run reads. They are not in the key: an image passes the backbone once for all layers
            that any run of the study reads.
        dtype: in which they are kept.
        engine: what runs the network. Part of the key where it is not torch: keys are older than the other engines.
    """

    part: Part
    network: Network
    image: ImageConfig
    layers: tuple[str, ...]
    dtype: FeatureDtype = "float32"
    engine: Engine = TORCH
    kind = "features"
    inputs = ()
    is_by_image = True

    @property
    def parts(self) -> tuple[Part, ...]:
        """The images."""
        return (self.part,)

    @property
    def uses_gpu(self) -> bool:
        """The other engines compute on the CPU."""
        return self.engine == TORCH

    @cached_property
    def source(self) -> str:
        """Identity of network, size, dtype and engine: stages that agree here share one backbone pass an image."""
        image = self.image.model_dump(mode="json")
        network = [self.network.backbone, self.network.sha256]
        engine = [] if self.engine == TORCH else [self.engine.name, self.engine.version]
        return content_key(["features", FEATURES_VERSION, *network, image, self.dtype, *engine])

    @cached_property
    def image_keys(self) -> tuple[str, ...]:
        """Key of each image's features."""
        return tuple(content_key([self.source, key]) for key in self.part.image_keys)

    @property
    def result_keys(self) -> tuple[str, ...]:
        """Those."""
        return self.image_keys

    @cached_property
    def key(self) -> str:
        """Key of the whole part's features."""
        return content_key(["features of a part", list(self.image_keys)])


@dataclass(frozen=True, eq=False)
class ImageStage(Stated):
    """The images of a part at the input size, for a method that reads them itself: nothing is computed or kept.

    Attributes:
        part: the images.
        network: whose weights the method takes up; None for a method without.
        image: size and crop.
    """

    part: Part
    network: Network | None
    image: ImageConfig
    kind = "images"
    inputs = ()
    result_keys = ()

    @property
    def parts(self) -> tuple[Part, ...]:
        """The images."""
        return (self.part,)

    @cached_property
    def key(self) -> str:
        """Key of the images, and of the weights that go with them."""
        image = self.image.model_dump(mode="json")
        network = [] if self.network is None else [self.network.backbone, self.network.sha256]
        return content_key(["images", IMAGES_VERSION, network, image, list(self.part.image_keys)])


Source = FeatureStage | ImageStage


def features_among(stages: Iterable[Stated]) -> Iterator[FeatureStage]:
    """Those of any stages that are features."""
    return (stage for stage in stages if isinstance(stage, FeatureStage))
