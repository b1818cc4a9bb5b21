"""Maps of where networks look: laws on networks whose attention is known, and every kind of backbone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tumorscope.errors import DataError, TumorscopeError
from tumorscope.models.classifiers import Classifier
from tumorscope.training.saliency import METHODS, Maps, Target, last_maps, occlusion, saliency, unit, weighed

SIDE = 64
TUMOUR = Target.of(1, 1)


class Corner(nn.Module):
    """Logit: mean brightness of the upper right quarter; its maps come out as said, tokens after one of a class."""

    def __init__(self, layout: str) -> None:
        super().__init__()
        self.layout = layout
        self.embed = nn.Conv2d(1, 4, 8, stride=8, bias=False)
        self.norm = nn.ReLU()
        self.classes = nn.Linear(4, 1)
        for weight in (self.embed.weight, self.classes.weight):
            nn.init.constant_(weight, 0.1)
        if layout == "NHWC":
            self.output_fmt = layout

    def forward(self, square: Tensor) -> Tensor:
        seen = square * 0
        seen[..., : SIDE // 2, SIDE // 2 :] = square[..., : SIDE // 2, SIDE // 2 :]
        maps = self.embed(seen)
        if self.layout == "NHWC":
            return self.classes(self.norm(maps.permute(0, 2, 3, 1)).mean((1, 2)))
        if self.layout == "tokens":
            tokens = maps.flatten(2).transpose(1, 2)
            return self.classes(self.norm(torch.cat([tokens[:, :1] * 0 + 3, tokens], 1))[:, 1:].mean(1))
        return self.classes(self.norm(maps).mean((2, 3)))


def noise(channels: int = 1, size: int = SIDE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.2, 1, (channels, size, size)).astype(np.float32)


def small(head: tuple[str, ...] = ()) -> Classifier:
    torch.manual_seed(0)
    return Classifier.of("custom-cnn", head, outputs=1, channels=1, width=0.25).eval()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "tokens"])
def test_a_network_that_looks_at_one_corner_is_shown_to(layout: str, method: str) -> None:
    network = Corner(layout).eval()
    place = last_maps(network, 1, SIDE)
    assert (place.layer, place.layout, place.side, place.prefix) == ("norm", layout, 8, int(layout == "tokens"))
    square = noise()
    square[:, 40:56, 8:24] = 1.0  # what is bright elsewhere plays no part
    square[:, 16:32, 40:] *= 0.5
    found = saliency(method, network, square, TUMOUR, place)
    corner = found[: SIDE // 2, SIDE // 2 :]
    assert found.shape == (SIDE, SIDE) and corner.max() == 1 == found.max()
    assert corner.sum() > 0.9 * found.sum()
    against = saliency(method, network, square, Target.of(0, 1), place)  # nothing speaks for the other class
    assert against.sum() == 0 if method != "occlusion" else against[SIDE // 2 + 8 :].sum() == 0


def test_with_pooled_features_grad_cam_is_class_activation_mapping() -> None:
    network = small()
    square = noise()
    with torch.no_grad():
        maps = network.backbone.forward_features(network._normalised(torch.from_numpy(square)[None]))
    weight = network.head.classes.weight.detach()[0]
    activation = torch.einsum("c,nchw->nhw", weight, maps)[:, None].clamp_min(0)
    large = torch.nn.functional.interpolate(activation, (SIDE, SIDE), mode="bilinear", align_corners=False)
    found = saliency("gradcam", network, square, TUMOUR, last_maps(network, 1, SIDE))
    assert found.any()
    np.testing.assert_allclose(found, unit(large[0, 0].numpy()), atol=1e-5)


def test_grad_cam_pp_is_monais_where_gradients_are_large_and_even() -> None:
    from monai.visualize.class_activation_maps import GradCAMpp

    network = small()
    network.head.classes.weight.data *= 100  # their 1e-7 in the denominator then plays no part
    square = torch.from_numpy(noise())[None]
    theirs = GradCAMpp(network, "backbone", postprocessing=lambda found: found)(
        square.requires_grad_(True), class_idx=0
    )
    ours = saliency("gradcam++", small_like(network), square[0].detach().numpy(), TUMOUR, last_maps(network, 1, SIDE))
    assert ours.any()
    np.testing.assert_allclose(ours, unit(theirs[0, 0].detach().numpy()), atol=1e-3)


def small_like(network: nn.Module) -> Classifier:
    twin = small()
    twin.load_state_dict(network.state_dict())
    return twin


def test_grad_cam_pp_by_hand() -> None:
    maps = torch.tensor([[[[1.0, 3.0]], [[2.0, 0.0]]]])
    gradient = torch.tensor([[[[1.0, 0.0]], [[-1.0, -1.0]]]])  # the second channel speaks against: no weight
    weight = 1 / (2 + 1 * 4) * 1  # alpha at the first place times its gradient; none at the second
    assert weighed(maps, gradient).tolist() == [[[pytest.approx([weight * 1, weight * 3])]]]


def test_occlusion_by_hand() -> None:
    class Pixel(nn.Module):
        def forward(self, square: Tensor) -> Tensor:
            return square[:, :, 20, 37] * 2

    square = noise()
    square[0, 20, 37] = 1.0
    found = occlusion(Pixel(), torch.from_numpy(square)[None], TUMOUR)
    fall = 2 * (square[0, 20, 37] - square.mean())
    assert fall > 0
    assert found[20, 37] == pytest.approx(fall, abs=1e-5)  # every patch over it hides it
    rows, columns = np.nonzero(found)
    assert np.abs(rows - 20).max() < SIDE // 8 and np.abs(columns - 37).max() < SIDE // 8
    assert 0 < found[20, 43] < found[20, 37]  # of the patches over a neighbour some do


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence:UserWarning")  # MONAI's own use of torch
def test_occlusion_is_monais_where_nothing_is_black() -> None:
    from monai.visualize.occlusion_sensitivity import OcclusionSensitivity

    network, square = small(), torch.from_numpy(noise())[None]
    patch = {"mask_size": SIDE // 8, "overlap": 0.5, "mode": float(square.mean())}
    with torch.inference_mode():
        hidden, _ = OcclusionSensitivity(network, n_batch=64, verbose=False, activate=False, **patch)(square)
        fall = float(network(square)) - hidden[0, 0].numpy()
    ours = occlusion(network, square, TUMOUR)
    assert ours.any()
    np.testing.assert_allclose(ours, np.maximum(fall, 0), atol=1e-5)


def test_occlusion_puts_no_patch_into_the_dark() -> None:
    class Brightness(nn.Module):
        def forward(self, square: Tensor) -> Tensor:
            return -square.sum((1, 2, 3))[:, None]  # a patch in the dark would lower it

    dark = np.zeros((1, 1, SIDE, SIDE), np.float32)
    dark[..., 24:40, 24:40] = 0.5
    assert not occlusion(Brightness(), torch.from_numpy(dark), TUMOUR).any()


@pytest.mark.parametrize("method", METHODS)
def test_maps_are_mirrored_with_the_scan(method: str) -> None:
    network = small(("dense 8",))
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight += layer.weight.flip(3)
    place = last_maps(network, 1, SIDE)
    square = noise()
    for number in (0, 1):
        target = Target.of(number, 1)
        plain = saliency(method, network, square, target, place)
        mirrored = saliency(method, network, square[..., ::-1], target, place)
        np.testing.assert_allclose(mirrored, plain[:, ::-1], atol=1e-3)


BACKBONES = [
    ("custom-cnn", "backbone", "NCHW", 4, 0),
    ("vgg11", "backbone.features", "NCHW", 2, 0),
    ("resnet10t", "backbone.layer4", "NCHW", 2, 0),
    ("convnext_atto", "backbone.norm_pre", "NCHW", 2, 0),
    ("mobilenetv3_small_050", "backbone.blocks", "NCHW", 2, 0),
    ("efficientnet_lite0", "backbone.bn2", "NCHW", 2, 0),
    ("vit_tiny_patch16_224", "backbone.blocks.11.norm1", "tokens", 4, 1),
    ("swin_tiny_patch4_window7_224", "backbone.norm", "NHWC", 2, 0),
    ("deit_tiny_distilled_patch16_224", "backbone.blocks.11.norm1", "tokens", 4, 2),
]


@pytest.mark.parametrize(("name", "layer", "layout", "side", "prefix"), BACKBONES)
def test_every_kind_of_backbone(name: str, layer: str, layout: str, side: int, prefix: int) -> None:
    torch.manual_seed(0)
    channels = 1 if name == "custom-cnn" else 3
    network = Classifier.of(name, ["dense 4"], outputs=3, channels=channels, size=SIDE, width=0.25).eval()
    place = last_maps(network, 1, SIDE)
    assert place == Maps(layer, layout, side, prefix)
    for method in ("gradcam", "gradcam++"):
        found = [
            saliency(method, network, noise(seed=seed), target, place)
            for seed in (0, 1)
            for target in (Target.of(2, 3), Target(2, -1.0))  # one of the two signs speaks for something
        ]
        assert all(one.shape == (SIDE, SIDE) and one.min() >= 0 and one.max() in (0, 1) for one in found)
        assert np.ptp(found[0] + found[1]) > 0
        assert not np.array_equal(found[0] + found[1], found[2] + found[3])
    # the network is left as it was: no hooks, no gradients, not in training mode
    assert not [one for one in network.modules() if one._forward_hooks or one._backward_hooks or one.training]
    assert all(weight.grad is None for weight in network.parameters())


@given(st.integers(2, 5), st.integers(1, 4), st.integers(0, 3), st.sampled_from(["NCHW", "NHWC", "tokens"]))
def test_maps_come_back_as_they_were(side: int, channels: int, prefix: int, layout: str) -> None:
    shape = {"NCHW": (channels, side, side), "NHWC": (side, side, channels)}.get(
        layout, (prefix + side * side, channels)
    )
    output = torch.rand(2, *shape)
    place = Maps("", layout, side, prefix)
    planes = place.planes(output)
    assert planes.shape == (2, channels, side, side)
    assert torch.equal(place.restored(planes, output), output)


def test_what_cannot_be_explained_is_told() -> None:
    network, square = small(), noise()
    place = last_maps(network, 1, SIDE)
    with pytest.raises(TumorscopeError, match="did you mean 'gradcam'"):
        saliency("grad-cam", network, square, TUMOUR, place)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 1))
    with pytest.raises(DataError, match="none of its layers gives maps"):
        last_maps(flat, 1, SIDE)
    assert saliency("occlusion", flat, square, TUMOUR).shape == (SIDE, SIDE)
    network.head.classes.weight.data *= np.nan
    for method in METHODS:
        with pytest.raises(DataError, match="no number"):
            saliency(method, network, square, TUMOUR, place)
