"""Pretrained networks as data: architecture, size, preprocessing, origin and licence of their weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tumorscope.errors import WeightsError, look_up

TASKS = ("classify", "segment", "promptable")
LIBRARIES = ("timm", "transformers")

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of ImageNet's pixels in [0, 1], red, green, blue
IMAGENET_STD = (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)  # mean and standard deviation that bring [0, 1] to [-1, 1]

NVIDIA = "LicenseRef-NVIDIA-SegFormer"
NON_COMMERCIAL = frozenset({NVIDIA})

# Papers that several entries share.
_BACK = "weights of Wightman et al., ResNet strikes back, 2021"
_VGG = "Simonyan, Zisserman, Very deep convolutional networks for large-scale image recognition, ICLR 2015"
_RESNET = "He, Zhang, Ren, Sun, Deep residual learning for image recognition, CVPR 2016"
_CONVNEXT = "Liu et al., A ConvNet for the 2020s, CVPR 2022"
_CONVNEXT_SMALL = f"{_CONVNEXT}; sizes of Woo et al., ConvNeXt V2, CVPR 2023"
_VIT = "Dosovitskiy et al., An image is worth 16x16 words, ICLR 2021"
_VIT_WEIGHTS = f"{_VIT}; weights of Steiner et al., How to train your ViT?, TMLR 2022"
_SAM = "Kirillov et al., Segment anything, ICCV 2023"
_SAM2 = "Ravi et al., SAM 2: segment anything in images and videos, ICLR 2025"


@dataclass(frozen=True)
class Entry:
    """A network whose pretrained weights can be had.

    Parameters
    ----------
    name : str
        What recipes and commands call it: timm's name, or the last part of the hub's.
    task : {"classify", "segment", "promptable"}
        What the mission uses it for.
    architecture : str
        In words.
    paper : str
        Authors, title, place.
    parameters : int
        Trainable numbers of the whole published network: a classifier with 1000 classes, for SAM 2 the video model.
    tag : str
        Which of several published weights, by timm's name for them; empty where there is one.
    hub_id : str
        Repository on the hub.
    licence : str
        SPDX identifier of the weights' licence.
    input_size : tuple of int
        (channels, height, width) that the weights were trained on.
    mean, std : tuple of float
        What is taken from each channel in [0, 1], and what it is then divided by.
    interpolation : {"bilinear", "bicubic"}
        How images were resized.
    library : {"timm", "transformers"}
        Which library builds the network.
    files : tuple of str
        Names that the weights may have in the repository, the preferred first.
    sha256 : str or None
        Hash of the weights' file, or None where it is recorded on the first ``weights fetch``.

    Examples
    --------
    >>> entry("resnet18").hub_id, entry("resnet18").licence
    ('timm/resnet18.a1_in1k', 'Apache-2.0')
    """

    name: str
    task: str
    architecture: str
    paper: str
    parameters: int
    tag: str
    hub_id: str
    licence: str
    input_size: tuple[int, int, int] = (3, 224, 224)
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: str = "bicubic"
    library: str = "timm"
    files: tuple[str, ...] = ("model.safetensors",)
    sha256: str | None = None

    @property
    def builds(self) -> str:
        """The name by which the library builds the network: without the tag."""
        return self.name.partition(".")[0] if self.library == "timm" else self.name

    @property
    def tagged(self) -> str:
        """Name and tag, which no two entries of different weights share.

        Examples
        --------
        >>> entry("resnet18").tagged, entry("sam-vit-base").tagged
        ('resnet18.a1_in1k', 'sam-vit-base')
        """
        return f"{self.builds}.{self.tag}" if self.tag else self.name

    @property
    def commercial(self) -> bool:
        """Whether the weights' licence allows commercial use."""
        return self.licence not in NON_COMMERCIAL


def _timm(
    name: str,
    tag: str,
    parameters: int,
    architecture: str,
    paper: str,
    licence: str = "Apache-2.0",
    task: str = "classify",
    **preprocessing: Any,
) -> Entry:
    """An entry of timm's; its repository is named after architecture and tag."""
    hub_id = f"timm/{name.partition('.')[0]}.{tag}"
    return Entry(name, task, architecture, paper, parameters, tag, hub_id, licence, **preprocessing)


def _sam(name: str, parameters: int, architecture: str, paper: str) -> Entry:
    """An entry of the Segment Anything family; all work on 1024 px."""
    preprocessing: Any = {"input_size": (3, 1024, 1024), "interpolation": "bilinear", "library": "transformers"}
    hub_id = f"facebook/{name}"
    return Entry(name, "promptable", architecture, paper, parameters, "", hub_id, "Apache-2.0", **preprocessing)


ENTRIES: tuple[Entry, ...] = (
    # classifiers of the mission
    _timm(
        "vgg16", "tv_in1k", 138_357_544, "13 convolutions 3x3 in five stages, two layers of 4096", _VGG,
        "BSD-3-Clause", interpolation="bilinear",
    ),
    _timm(
        "resnet50", "a1_in1k", 25_557_032, "residual bottlenecks 3, 4, 6, 3",
        f"{_RESNET}; {_BACK}",
    ),
    _timm(
        "tf_efficientnetv2_l", "in21k_ft_in1k", 118_515_272,
        "fused and plain inverted bottlenecks with squeeze and excite",
        "Tan, Le, EfficientNetV2: smaller models and faster training, ICML 2021",
        input_size=(3, 384, 384), mean=HALF, std=HALF,
    ),
    _timm(
        "convnext_base", "fb_in22k_ft_in1k", 88_591_464, "depthwise 7x7 blocks 3, 3, 27, 3, widths 128 to 1024",
        _CONVNEXT,
    ),
    _timm(
        "vit_base_patch16_224", "augreg2_in21k_ft_in1k", 86_567_656, "transformer on 16x16 patches, 12 layers of 768",
        _VIT_WEIGHTS, mean=HALF, std=HALF,
    ),
    # small relatives for few cores
    _timm(
        "resnet18", "a1_in1k", 11_689_512, "residual blocks 2, 2, 2, 2",
        f"{_RESNET}; {_BACK}",
    ),
    _timm(
        "resnet34", "a1_in1k", 21_797_672, "residual blocks 3, 4, 6, 3",
        f"{_RESNET}; {_BACK}",
    ),
    _timm(
        "convnext_atto", "d2_in1k", 3_695_520, "depthwise 7x7 blocks 2, 2, 6, 2, widths 40 to 320", _CONVNEXT_SMALL,
    ),
    _timm(
        "convnext_nano", "in12k_ft_in1k", 15_593_560, "depthwise 7x7 blocks 2, 2, 8, 2, widths 80 to 640",
        _CONVNEXT_SMALL,
    ),
    _timm(
        "mobilenetv3_small_100", "lamb_in1k", 2_542_856, "inverted bottlenecks with squeeze and excite, hard swish",
        "Howard et al., Searching for MobileNetV3, ICCV 2019",
    ),
    _timm(
        "efficientnet_b0", "ra_in1k", 5_288_548, "inverted bottlenecks with squeeze and excite, swish",
        "Tan, Le, EfficientNet: rethinking model scaling for convolutional neural networks, ICML 2019",
    ),
    _timm(
        "vit_tiny_patch16_224", "augreg_in21k_ft_in1k", 5_717_416, "transformer on 16x16 patches, 12 layers of 192",
        _VIT_WEIGHTS, mean=HALF, std=HALF,
    ),
    # encoders of segmenters
    _timm(
        "resnet34.tv_in1k", "tv_in1k", 21_797_672, "residual blocks 3, 4, 6, 3: the encoder of BASNet", _RESNET,
        "BSD-3-Clause", task="segment", interpolation="bilinear",
    ),
    _timm(
        "vgg19", "tv_in1k", 143_667_240, "16 convolutions 3x3 in five stages, two layers of 4096: the encoder of FCN",
        _VGG, "BSD-3-Clause", task="segment", interpolation="bilinear",
    ),
    Entry(
        "mit-b0", "segment", "Mix transformer, 4 stages of 2 blocks, widths 32 to 256: the encoder of SegFormer-B0",
        "Xie et al., SegFormer: simple and efficient design for semantic segmentation with transformers, NeurIPS 2021",
        3_576_392, "", "nvidia/mit-b0", NVIDIA, interpolation="bilinear", library="transformers",
        files=("model.safetensors", "pytorch_model.bin"),
    ),
    # promptable segmenters
    _sam("sam-vit-base", 93_735_728, "ViT-B image encoder, prompt encoder, mask decoder", _SAM),
    _sam("sam-vit-large", 312_343_088, "ViT-L image encoder, prompt encoder, mask decoder", _SAM),
    _sam("sam-vit-huge", 641_090_864, "ViT-H image encoder, prompt encoder, mask decoder", _SAM),
    _sam("sam2.1-hiera-tiny", 38_962_498, "Hiera-T image encoder, prompt encoder, mask decoder, memory", _SAM2),
    _sam("sam2.1-hiera-small", 46_060_354, "Hiera-S image encoder, prompt encoder, mask decoder, memory", _SAM2),
    _sam("sam2.1-hiera-base-plus", 80_850_178, "Hiera-B+ image encoder, prompt encoder, mask decoder, memory", _SAM2),
    _sam("sam2.1-hiera-large", 224_446_642, "Hiera-L image encoder, prompt encoder, mask decoder, memory", _SAM2),
)  # fmt: skip
"""Every network that the recipes start from, in the order in which commands list them."""

_BY_NAME = {one.name: one for one in ENTRIES}


def entry(name: str) -> Entry:
    """The entry of that name.

    Raises
    ------
    WeightsError
        For an unknown name, with the nearest one and all there are.

    Examples
    --------
    >>> entry("vit_base_patch16_224").mean
    (0.5, 0.5, 0.5)
    >>> entry("resnet19")
    Traceback (most recent call last):
    ...
    tumorscope.errors.WeightsError: unknown pretrained network 'resnet19'; did you mean 'resnet18'? known: vgg16, ...
    """
    return _BY_NAME[look_up(name, _BY_NAME, "pretrained network", WeightsError)]


def names(task: str | None = None) -> tuple[str, ...]:
    """Names of all entries, or of those for one task.

    Raises
    ------
    WeightsError
        For an unknown task.

    Examples
    --------
    >>> names("segment")
    ('resnet34.tv_in1k', 'vgg19', 'mit-b0')
    """
    if task is not None:
        look_up(task, TASKS, "task", WeightsError)
    return tuple(one.name for one in ENTRIES if task in (None, one.task))
