"""Classifiers: what is pooled, what is normalised, what a head is made of, and what a frozen part keeps."""

from __future__ import annotations

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from tumorscope.errors import RecipeError
from tumorscope.models.classifiers import Classifier
from tumorscope.models.classifiers.custom_cnn import FILTERS, MEAN, STD, CustomCNN
from tumorscope.models.classifiers.network import NORM, backbones
from tumorscope.models.heads import Layer, layers

SMALL = ("custom-cnn", "test_resnet", "test_convnext", "test_efficientnet", "test_vit", "mobilenetv3_small_050")
OWN_SIZE = {"halonet26t": 256, "crossvit_tiny_240": 240}  # attention in blocks, positions of two grids


def made(backbone: str, head: tuple[str, ...] = (), **settings: object) -> Classifier:
    torch.manual_seed(0)
    return Classifier.of(backbone, head, **{"outputs": 1, "size": 64, "width": 0.1, **settings}).eval()


@pytest.fixture(scope="module", params=SMALL)
def network(request: pytest.FixtureRequest) -> Classifier:
    return made(request.param, ("dense 8", "batchnorm", "dropout 0.5"))


@torch.no_grad()
def test_a_grey_square_is_three_equal_channels(network: Classifier) -> None:
    grey = torch.rand(3, 1, 64, 64)
    found = network(grey)
    assert found.shape == (3, 1) and torch.isfinite(found).all()
    assert torch.equal(found, network(grey.expand(-1, 3, -1, -1)))
    assert not torch.equal(found[0], found[1])


@torch.no_grad()
def test_one_channel_takes_the_mean_of_colours() -> None:
    network = made("mobilenetv3_small_050", channels=1)
    colours = torch.rand(2, 3, 64, 64)
    assert torch.allclose(network(colours), network(colours.mean(1, keepdim=True)))
    assert network.mean.flatten().tolist() == pytest.approx([(0.485 + 0.456 + 0.406) / 3])


@torch.no_grad()
def test_the_network_normalises_as_its_weights_were_trained() -> None:
    network = made("test_convnext")
    cfg = timm.models.get_pretrained_cfg("test_convnext")
    square = torch.rand(2, 3, 64, 64)
    shifted = (square - torch.tensor(cfg.mean).view(1, 3, 1, 1)) / torch.tensor(cfg.std).view(1, 3, 1, 1)
    plain = network.backbone.forward_head(network.backbone.forward_features(shifted), pre_logits=True)
    assert torch.allclose(network.features(square), plain, atol=1e-6)
    assert network.head.classes(network.features(square)).equal(network(square))
    own = made("custom-cnn", channels=1)
    assert (float(own.mean), float(own.std)) == (MEAN[0], STD[0])


@torch.no_grad()
@pytest.mark.parametrize("backbone", ["custom-cnn", "test_resnet", "test_efficientnet"])
def test_features_are_the_global_average(backbone: str) -> None:
    network = made(backbone)
    square = torch.rand(2, 3, 64, 64)
    maps = network.backbone.forward_features(network._normalised(square))
    assert maps.ndim == 4 and maps.shape[-1] > 1
    assert torch.allclose(network.features(square), maps.mean((2, 3)), atol=1e-6)


@torch.no_grad()
def test_convolutions_from_keras_pad_at_the_bottom_and_the_right() -> None:
    stem = made("tf_efficientnetv2_b0").backbone.conv_stem
    square = torch.rand(1, 3, 64, 64)
    assert torch.allclose(stem(square), F.conv2d(F.pad(square, (0, 1, 0, 1)), stem.weight, stride=2), atol=1e-6)


@torch.no_grad()
def test_a_transformer_gives_its_class_token() -> None:
    network = made("test_vit")
    square = torch.rand(2, 3, 64, 64)
    tokens = network.backbone.forward_features(network._normalised(square))
    assert tokens.shape[1] == 1 + (64 // 16) ** 2  # built for 64 px, not for the 160 px of its weights
    assert torch.allclose(network.features(square), tokens[:, 0], atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize(("outputs", "side"), [(1, 33), (4, 64), (3, 50)])
def test_any_number_of_classes_and_any_size(outputs: int, side: int) -> None:
    network = made("test_resnet", ("dense 8",), outputs=outputs)
    assert network(torch.rand(2, 1, side, side)).shape == (2, outputs)


def test_a_head_is_built_layer_by_layer_in_the_order_of_its_words() -> None:
    head = made("test_resnet", ("batchnorm", "dense 16", "dropout 0.4", "dense 4")).head
    assert list(head._modules) == ["norm0", "dense1", "relu1", "dropout2", "dense3", "relu3", "classes"]
    kinds = [type(part) for part in head]
    assert kinds == [nn.BatchNorm1d, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear, nn.ReLU, nn.Linear]
    assert (head.norm0.momentum, head.norm0.eps) == (0.01, 1e-3) == tuple(NORM.values())
    assert head.dropout2.p == 0.4 and (head.classes.in_features, head.classes.out_features) == (4, 1)


def test_a_heads_words() -> None:
    assert layers([" dense 512 ", "dropout 0", "batchnorm"]) == [
        Layer("dense", 512), Layer("dropout", 0), Layer("batchnorm", 0),
    ]  # fmt: skip
    assert layers([]) == []


@pytest.mark.parametrize("words", ["dense", "dense 0", "dense 1.5", "dropout", "dropout 1", "batchnorm 3", "relu", ""])
def test_words_that_are_no_layer_are_refused(words: str) -> None:
    with pytest.raises(ValueError, match=r"no layer|whole number|below 1"):
        layers([words])


@pytest.mark.parametrize("channels", [1, 3])
def test_the_own_network_has_the_parameters_of_a_hand_count(channels: int) -> None:
    sizes = (channels, *FILTERS)
    convolutions = sum(9 * (before * after + after * after) for before, after in zip(sizes, FILTERS, strict=False))
    norms = 2 * sum(2 * after for after in FILTERS)
    counted = sum(p.numel() for p in CustomCNN(channels).parameters())
    assert counted == convolutions + norms
    assert convolutions == {1: 9 * (32 + 130_048), 3: 9 * (96 + 130_048)}[channels]


def test_a_frozen_part_keeps_its_weights_and_its_statistics() -> None:
    network = made("test_resnet", ("dense 8", "batchnorm"))
    before = {name: value.clone() for name, value in network.backbone.state_dict().items()}
    network.train_part("head")
    network.train()
    assert network.head.training and not network.backbone.training
    assert not any(part.training for part in network.norms() if part is not network.head.norm1)
    network(torch.rand(4, 1, 64, 64)).sum().backward()
    assert all(p.grad is None for p in network.backbone.parameters())
    assert all(p.grad is not None for p in network.head.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.backbone.state_dict().items())
    assert network.head.norm1.num_batches_tracked == 1


def test_an_unfrozen_part_learns_again() -> None:
    network = made("test_resnet")
    network.train_part("head")
    network.train_part("all")
    network.train()
    before = network.backbone.bn1.running_mean.clone()
    network(torch.rand(4, 1, 64, 64)).sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    assert network.backbone.training and not torch.equal(network.backbone.bn1.running_mean, before)


def test_an_evaluated_network_stays_so_when_a_part_is_frozen() -> None:
    network = made("test_resnet")
    network.train_part("head")
    assert not network.training and not network.head.training
    network.train()
    network.eval()
    assert not network.head.training


def test_normalisation_is_no_weight() -> None:
    names = made("custom-cnn", ("dense 4",)).state_dict()
    assert not {"mean", "std"} & set(names)


def test_an_unknown_backbone_gets_the_nearest_names() -> None:
    with pytest.raises(RecipeError, match=r"unknown backbone 'resnet181'; did you mean .*resnet18"):
        made("resnet181")
    with pytest.raises(RecipeError, match=r"unknown backbone 'custom-cn'; did you mean .*custom-cnn"):
        made("custom-cn")
    assert {"custom-cnn", "resnet18", "vit_base_patch16_224"} <= set(backbones())


@pytest.mark.slow
@pytest.mark.parametrize("family", timm.list_modules())
def test_any_family_of_timm(family: str) -> None:
    names = timm.list_models(module=family)
    if not names:
        pytest.skip("a module without models of its own")
    small = ("tiny", "atto", "nano", "test_")
    name = min(names, key=lambda one: (not any(word in one for word in small), len(one), one))
    size = OWN_SIZE.get(name, 224)
    with torch.device("meta"):
        network = Classifier.of(name, ["dense 8"], outputs=2, size=size).eval()
        assert network(torch.zeros(2, 1, size, size)).shape == (2, 2)
