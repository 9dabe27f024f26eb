"""What adloc knows of anomalib's image models without importing it, which takes 10 to 17 s. No torch is imported here.

A test compares the table with the installed library.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Model:
    """An image model of anomalib.

    Attributes:
        name: of its class.
        backbone: its default where it takes a network that adloc knows by name; "" where it has none, or only one of
            its own.
        timm: whether it asks timm for a network by a name of its own, whose weights a study may bring as a file.
        needs: what it asks for that no package holds: weights of a hub, a dataset; "" where nothing is asked for.
        once: fitted in one pass over the images, whatever `epochs` says.
    """

    name: str
    backbone: str = ""
    timm: bool = False
    needs: str = ""
    once: bool = False


_DINO = "weights of a vision transformer from a hub"

MODELS: Mapping[str, Model] = {
    model.name: model
    for model in (
        Model("AnomalyDINO", timm=True, needs=_DINO, once=True),
        Model("AnomalyVFM", needs="weights of RADIO from a hub"),
        Model("CFM", timm=True, needs="weights of DINO and Point-MAE from a hub, and depth images"),
        Model("Cfa", "wide_resnet50_2"),
        Model("Cflow", "wide_resnet50_2"),
        Model("Csflow", timm=True, needs="weights of EfficientNet-B5 from a hub"),
        Model("Dfkde", "resnet18", once=True),
        Model("Dfm", "resnet50", once=True),
        Model("Dinomaly", timm=True, needs=_DINO),
        Model("Draem", needs="the textures of DTD (arguments: dtd_dir)"),
        Model("Dsr", needs="weights of its own from anomalib's releases"),
        Model("EfficientAd", needs="weights of its own from anomalib's releases, and images of ImageNet"),
        Model("Fastflow", "resnet18"),
        Model("FoundAD", timm=True, needs=_DINO),
        Model("Fre", "resnet50"),
        Model("Ganomaly"),
        Model("GeneralAD", timm=True, needs=_DINO),
        Model("Glass", "wide_resnet50_2"),
        Model("InpFormer", timm=True, needs=_DINO),
        Model("L2BT", timm=True, needs=_DINO),
        Model("MHPatchcore", "wide_resnet50_2", once=True),
        Model("Padim", "resnet18", once=True),
        Model("Patchcore", "wide_resnet50_2", once=True),
        Model("Patchflow", "wide_resnet50_2"),
        Model("Rad", timm=True, needs=_DINO, once=True),
        Model("ReverseDistillation", "wide_resnet50_2"),
        Model("Stfpm", "resnet18"),
        Model("SuperADD", timm=True, needs=_DINO, once=True),
        Model("Supersimplenet", "wide_resnet50_2"),
        Model("Uflow", timm=True, needs="weights of CaiT from a hub"),
        Model("UniNet", "wide_resnet50_2"),
        Model("VlmAd", needs="a language model that is served elsewhere"),
        Model("WinClip", needs="weights of CLIP from a hub", once=True),
    )
}
