"""Every classifier recipe that ships: faithful to RECIPES.md, and able to do all that a run asks of it."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn
from torchvision import models as published

from tumorscope.datasets import phantom
from tumorscope.errors import OutputError
from tumorscope.models.classifiers import Classifier
from tumorscope.training import classifier_fit, engine
from tumorscope.training import recipe as recipes
from tumorscope.training.cache import Cache
from tumorscope.training.classifier_data import Labels, Squares
from tumorscope.training.classifier_recipe import ClassifierRecipe
from tumorscope.training.classify import loss_of, optimiser_of

NAMES = [name for name in recipes.names() if isinstance(recipes.load(name), ClassifierRecipe)]

THREE = (
    ("dense", 1024), ("batchnorm", 1024), ("dropout", 0.5),
    ("dense", 512), ("batchnorm", 512), ("dropout", 0.3),
    ("dense", 128), ("batchnorm", 128), ("dropout", 0.2),
)  # fmt: skip
# RECIPES.md, table "Classifiers": input, head after the global average (batch norms with what they normalise), phases.
# A phase: what trains, optimiser, rate, schedule, decay per 1000 steps, epochs, weight decay, patience. What the
# mission leaves open is the recipe's choice, and stands here so that it is not changed unseen.
FINE = ("all", "adam", 1e-5, "constant", None)
GOLDEN = {
    "custom-cnn": ("custom-cnn", 128, 256, (("dense", 128), ("dropout", 0.5)), [
        ("all", "adam", 1e-3, "exponential", 0.5, 40, 0.0, 15),
    ]),
    "vgg16": ("vgg16", 224, 512, (("dense", 512), ("dropout", 0.5)), [
        ("head", "adam", 1e-4, "exponential", 0.9, 30, 0.0, 5), (*FINE, 10, 0.0, 0),
    ]),
    "resnet50-v1": ("resnet50", 224, 2048, (
        ("batchnorm", 2048), ("dense", 512), ("dropout", 0.5), ("batchnorm", 512), ("dense", 128), ("dropout", 0.3),
    ), [
        ("head", "adam", 1e-4, "exponential", 0.9, 30, 0.0, 5), (*FINE, 10, 1e-5, 0),
    ]),
    "resnet50-v2": ("resnet50", 300, 2048, THREE, [
        ("head", "adam", 1e-6, "exponential", 0.9, 30, 1e-5, 0), ("all", "adam", 1e-6, "constant", None, 10, 0.0, 0),
    ]),
    "efficientnetv2l-v1": ("tf_efficientnetv2_l", 224, 1280, (
        ("batchnorm", 1280), ("dropout", 0.5), ("dense", 512), ("dropout", 0.3), ("dense", 256), ("dropout", 0.3),
    ), [
        ("head", "adam", 1e-4, "exponential", 0.9, 30, 0.0, 5), (*FINE, 10, 0.0, 0),
    ]),
    "efficientnetv2l-v2": ("tf_efficientnetv2_l", 224, 1280, (
        ("batchnorm", 1280), ("dropout", 0.5), ("dense", 512), ("dropout", 0.3), ("dense", 256), ("dropout", 0.3),
    ), [
        ("head", "adam", 1e-5, "exponential", 0.85, 30, 0.0, 0), ("all", "adam", 1e-6, "constant", None, 10, 0.0, 0),
    ]),
    "convnext-base-v1": ("convnext_base", 224, 1024, THREE, [
        ("head", "adam", 1e-4, "exponential", 0.9, 30, 1e-5, 5), (*FINE, 20, 1e-5, 0),
    ]),
    "convnext-base-v2": ("convnext_base", 224, 1024, THREE, [
        ("head", "adam", 1e-5, "exponential", 0.85, 30, 1e-5, 0), ("all", "adam", 1e-6, "constant", None, 20, 1e-5, 0),
    ]),
    "convnext-base-v3": ("convnext_base", 224, 1024, THREE, [
        ("head", "adam", 5e-6, "exponential", 0.85, 30, 1e-4, 0), ("all", "adam", 5e-7, "constant", None, 20, 1e-4, 0),
    ]),
    "vit-b16": ("vit_base_patch16_224", 224, 768, (("dropout", 0.1),), [
        ("head", "adamw", 1e-3, "cosine", None, 5, 0.0, 0), ("all", "adamw", 3e-5, "cosine", None, 20, 0.05, 5),
    ]),
    "resnet18": ("resnet18", 128, 512, (("dropout", 0.3),), [
        ("all", "adamw", 1e-3, "cosine", None, 40, 0.05, 0),
    ]),
    "convnext-atto": ("convnext_atto", 128, 320, (("dropout", 0.2),), [
        ("all", "adamw", 1e-3, "cosine", None, 40, 0.05, 0),
    ]),
    "mobilenet": ("mobilenetv3_small_100", 128, 1024, (("dropout", 0.2),), [
        ("all", "adamw", 1e-3, "cosine", None, 40, 0.05, 0),
    ]),
}  # fmt: skip
FROM_SCRATCH = {"custom-cnn", "resnet18", "convnext-atto", "mobilenet"}  # all others begin with ImageNet weights

# Trainable parameters without the classes. torchvision publishes each whole network's count beside its weights
# (`Weights.meta["num_params"]`); what is taken off is its classifier, counted by hand.
VGG_DENSE = (7 * 7 * 512 + 1) * 4096 + (4096 + 1) * 4096
TORCHVISION = {
    "resnet50": (published.ResNet50_Weights.IMAGENET1K_V1, (2048 + 1) * 1000),
    "resnet18": (published.ResNet18_Weights.IMAGENET1K_V1, (512 + 1) * 1000),
    "tf_efficientnetv2_l": (published.EfficientNet_V2_L_Weights.IMAGENET1K_V1, (1280 + 1) * 1000),
    "convnext_base": (published.ConvNeXt_Base_Weights.IMAGENET1K_V1, (1024 + 1) * 1000),
    "vgg16": (published.VGG16_Weights.IMAGENET1K_V1, VGG_DENSE + (4096 + 1) * 1000),
    "vit_base_patch16_224": (published.ViT_B_16_Weights.IMAGENET1K_V1, (768 + 1) * 1000),
    "mobilenetv3_small_100": (published.MobileNet_V3_Small_Weights.IMAGENET1K_V1, (1024 + 1) * 1000),
}
# Keras' summaries with include_top=False count the running means and variances of batch norm as well, and its ResNet50
# has biases in the 53 convolutions that a norm follows (26,560 in all), which change nothing there.
KERAS = {
    "resnet50": (23_587_712, 26_560),
    "tf_efficientnetv2_l": (117_746_848, 0),
    "convnext_base": (87_566_464, 0),
    "vgg16": (14_714_688, 0),
}
# timm's model card of convnext_atto.d2_in1k: 3.7 M parameters, of which (320 + 1) * 1000 are the classes
CARD = {"convnext_atto": 3.7e6 - 321_000}
COUNTS = {
    "resnet50": 23_508_032,
    "resnet18": 11_176_512,
    "tf_efficientnetv2_l": 117_234_272,
    "convnext_base": 87_566_464,
    "vgg16": 14_714_688,
    "vit_base_patch16_224": 85_798_656,
    "mobilenetv3_small_100": 1_517_856,
    "convnext_atto": 3_374_520,
    "custom-cnn": 9 * (1 * 32 + 32**2 + 32 * 64 + 64**2 + 64 * 128 + 128**2 + 128 * 256 + 256**2) + 4 * 480,
}

# Small relatives of the same family, on which everything else is tried
RELATIVES = {
    "resnet50": "test_resnet",
    "resnet18": "test_resnet",
    "tf_efficientnetv2_l": "tf_efficientnetv2_b0",
    "convnext_base": "test_convnext",
    "convnext_atto": "test_convnext",
    "vgg16": "vgg11",
    "vit_base_patch16_224": "test_vit",
    "mobilenetv3_small_100": "mobilenetv3_small_050",
}
SIDE = 32


@cache
def full(name: str) -> Classifier:
    """The recipe's own network without memory for its weights."""
    with torch.device("meta"):
        return classifier_fit.build(recipes.load(name), 1)


def relative_of(name: str) -> ClassifierRecipe:
    recipe = recipes.load(name)
    backbone = recipe.model.backbone
    settings = {"model.backbone": RELATIVES.get(backbone, backbone), "model.width": 0.1, "input.size": SIDE}
    settings |= {"fit.batch": 4, "machine.precision": "fp32", "machine.workers": 0, "model.pretrained": "no"}
    return recipes.changed(recipe, settings)


@cache
def built(name: str) -> Classifier:
    torch.manual_seed(0)
    return classifier_fit.build(relative_of(name), 1)


@pytest.fixture
def network(name: str) -> Classifier:
    return copy.deepcopy(built(name))


@cache
def squares() -> Squares:
    """Sixteen phantoms, as a cache holds them."""
    made = [phantom.make(seed, size=SIDE, lesion="meningioma" if seed % 2 else None) for seed in range(16)]
    images = np.stack([one.image for one in made])
    table = pl.DataFrame({"synthetic": [False] * 16, "path": [f"{seed}.png" for seed in range(16)]})
    held = Cache(images, np.zeros_like(images), np.zeros((16, 65), np.float32), pl.DataFrame())
    return Squares(held, table, np.array([one.label for one in made]), Labels((0, 1), ("no_tumor", "tumor")))


def kinds(head: nn.Sequential) -> list[tuple[str, float]]:
    """Kind, and units or share, of a head's layers but its last; each dense layer has its ReLU."""
    found: list[tuple[str, float]] = []
    layers = list(head)[:-1]
    for place, layer in enumerate(layers):
        if isinstance(layer, nn.Linear):
            assert isinstance(layers[place + 1], nn.ReLU)
            found.append(("dense", layer.out_features))
        elif isinstance(layer, nn.BatchNorm1d):
            assert (layer.momentum, layer.eps) == (0.01, 1e-3)  # Keras: .99 from the other end, and 1e-3
            found.append(("batchnorm", layer.num_features))
        elif isinstance(layer, nn.Dropout):
            found.append(("dropout", layer.p))
        else:
            assert isinstance(layer, nn.ReLU)
    return found


def test_all_recipes_of_the_mission_are_here() -> None:
    assert set(NAMES) == set(GOLDEN)


@pytest.mark.parametrize("name", NAMES)
class TestAsTheMissionHasIt:
    def test_backbone_and_input(self, name: str) -> None:
        recipe, (backbone, size, *_) = recipes.load(name), GOLDEN[name]
        assert (recipe.model.backbone, recipe.input.size) == (backbone, size)
        assert recipe.input.colors == recipe.input.enhance == "none" and recipe.data.folds == 0
        assert recipe.model.pretrained == ("no" if name in FROM_SCRATCH else "yes")

    def test_the_head_layer_by_layer(self, name: str) -> None:
        network, (_, _, features, head, _) = full(name), GOLDEN[name]
        assert kinds(network.head) == list(head)
        first = next((layer for layer in network.head if isinstance(layer, nn.Linear | nn.BatchNorm1d)), None)
        assert (first.in_features if isinstance(first, nn.Linear) else first.num_features) == features
        assert type(network.head[-1]) is nn.Linear and network.head[-1].out_features == 1  # a sigmoid comes after it

    def test_phases(self, name: str) -> None:
        found = []
        for one in recipes.load(name).phases:
            decay = one.decay if one.schedule == "exponential" else None
            found.append(
                (one.train, one.optimiser, one.rate, one.schedule, decay, one.epochs, one.weight_decay, one.patience)
            )
        assert found == GOLDEN[name][4]
        if len(found) == 2:
            assert [one[0] for one in found] == ["head", "all"]  # frozen first

    def test_augmentation_is_the_missions(self, name: str) -> None:
        chosen = recipes.load(name).augmentation
        assert (chosen.flip, chosen.shift, chosen.shear, chosen.fill) == (0.5, 0.05, 0.05, "nearest")
        if name in ("resnet18", "convnext-atto", "mobilenet", "convnext-base-v3"):  # from scratch, or "augmented"
            assert chosen.rotation >= 10 and chosen.zoom >= 0.1 and chosen.brightness > 0
        else:
            assert (chosen.rotation, chosen.zoom, chosen.curve, chosen.noise) == (10, 0.1, 0, 0)

    def test_the_whole_backbone_has_the_published_number_of_parameters(self, name: str) -> None:
        network = full(name)
        backbone = recipes.load(name).model.backbone
        counted = sum(p.numel() for p in network.backbone.parameters())
        assert counted == COUNTS[backbone]
        if backbone in TORCHVISION:
            weights, classes = TORCHVISION[backbone]
            assert counted == weights.meta["num_params"] - classes
        if backbone in KERAS:
            total, biases = KERAS[backbone]
            buffers = network.backbone.named_buffers()
            running = sum(value.numel() for key, value in buffers if key.endswith(("running_mean", "running_var")))
            assert counted + running + biases == total
        if backbone in CARD:
            assert abs(counted - CARD[backbone]) < 0.05e6


@pytest.mark.parametrize("name", NAMES)
class TestWhatARunAsks:
    def test_each_phase_moves_what_it_should(self, name: str, network: Classifier) -> None:
        images = torch.from_numpy(np.stack([squares().cache.image(row) for row in range(8)]))[:, None]
        labels = torch.from_numpy(squares().truth[:8])
        for phase in recipes.load(name).phases:
            network.train_part(phase.train)
            network.train()
            network.zero_grad(set_to_none=True)
            before = {key: value.clone() for key, value in network.state_dict().items()}
            optimiser = optimiser_of(network, phase)
            loss = loss_of(network(images), labels, recipes.load(name).loss)
            loss.backward()
            optimiser.step()
            assert torch.isfinite(loss)
            now = network.state_dict()
            moved = {key for key, value in now.items() if not torch.equal(value, before[key])}
            assert "head.classes.weight" in moved
            of_backbone = {key for key in moved if key.startswith("backbone.")}
            if phase.train == "head":
                assert not of_backbone  # neither weights nor running statistics
                assert all(p.grad is None for p in network.backbone.parameters())
            else:
                assert all(p.grad is not None for p in network.parameters())
                running = {key for key in now if key.startswith("backbone.") and key.endswith("running_mean")}
                assert of_backbone and running <= moved
            assert {key for key in now if key.startswith("head.") and key.endswith("running_mean")} <= moved

    @torch.no_grad()
    def test_weights_come_back(self, name: str, network: Classifier, tmp_path: Path) -> None:
        images = torch.rand(3, 1, SIDE, SIDE)
        said = network.eval()(images)
        assert said.shape == (3, 1) and torch.isfinite(said).all()
        engine.write_weights(network, tmp_path / "w.safetensors")
        for value in network.state_dict().values():
            value.zero_()
        assert not torch.equal(network(images), said)
        engine.load_weights(network, tmp_path / "w.safetensors")
        assert torch.equal(network(images), said)


def _fit(name: str, folder: Path, watch=None) -> engine.Outcome:
    recipe = relative_of(name)
    short = {f"phases.{number}.epochs": 2 for number in range(len(recipe.phases))}
    recipe = recipes.changed(recipe, short)
    network, _ = classifier_fit.initial(recipe, 1, 3)
    rows = np.arange(16)
    return classifier_fit.fit(network, recipe, squares(), rows[:10], rows[10:], folder, seed=3, watch=watch)


def _stopped_in(epoch: int):
    def watch(number: int, _: object) -> None:
        if number == epoch:
            raise OutputError("stopped")

    return watch


SLOW = [pytest.param(name, marks=() if name in ("resnet50-v1", "vit-b16") else pytest.mark.slow) for name in NAMES]


@pytest.mark.parametrize("name", SLOW)
def test_a_training_that_stopped_goes_on_as_if_it_had_not(name: str, tmp_path: Path) -> None:
    whole = _fit(name, tmp_path / "whole")
    last = 2 * len(recipes.load(name).phases) - 1
    with pytest.raises(OutputError, match="stopped"):
        _fit(name, tmp_path / "broken", _stopped_in(last))
    assert not (tmp_path / "broken" / "best.safetensors").exists()
    assert _fit(name, tmp_path / "broken") == whole
    for file in ("metrics.csv", "best.safetensors", "phases.json"):
        assert (tmp_path / "broken" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert pl.read_csv(tmp_path / "whole" / "metrics.csv")["epoch"].to_list() == list(range(last + 1))
