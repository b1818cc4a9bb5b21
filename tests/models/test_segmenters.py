"""What every segmenter keeps; and the figures of those that are somebody's."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tumorscope.errors import RecipeError, TrainingError
from tumorscope.models.segmenters import ARCHITECTURES, Segmenter, keras_count, licence_remark, segmenter
from tumorscope.models.segmenters.library import KNOWN
from tumorscope.registry import entry

# Tiny encoders of timm's own tests.
ENCODERS = {name: "tu-test_vit" if name == "dpt" else "tu-test_resnet" for name in KNOWN}
SIDE = 64
CHEAP = ("unet-xception", "segformer-cnn")  # whose export takes seconds
SUPERVISED = {"basnet": 7}  # side outputs


def _tiny(name: str, *, classes: int = 2, channels: int = 3, head: bool = True) -> Segmenter:
    torch.manual_seed(0)
    network = segmenter(
        name, encoder=ENCODERS.get(name), classes=classes, channels=channels, size=SIDE, width=0.1, head=head
    )
    with torch.no_grad():  # weights and statistics that are not what they start as, zeros least of all
        for part in network.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_(std=0.1)
                part.running_var.uniform_(0.5, 1.5)
            elif isinstance(part, nn.Conv2d) and not part.weight.any():
                part.weight.normal_(std=0.1)
    return network


def _images(scans: int, channels: int = 1, side: tuple[int, int] = (SIDE, SIDE)) -> Tensor:
    return torch.rand(scans, channels, *side, generator=torch.Generator().manual_seed(scans))


def _counted(network: nn.Module) -> int:
    return sum(value.numel() for value in network.parameters())


def _meta(name: str, **settings: object) -> Segmenter:
    with torch.device("meta"):
        return segmenter(name, **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="class")
def network(request: pytest.FixtureRequest) -> Segmenter:
    network = _tiny(request.param)
    network.name = request.param
    return network


@pytest.mark.parametrize("network", ARCHITECTURES, indirect=True, scope="class")
class TestEverySegmenter:
    def test_draws_at_the_side_of_its_input_for_any_number_of_scans(self, network: Segmenter) -> None:
        for training, scans in ((True, 1), (True, 3), (False, 1)):
            network.train(training)
            with torch.no_grad():
                found = network(_images(scans))
            assert found.mask.shape == (scans, 2, SIDE, SIDE) and found.score.shape == (scans,)
            assert [one.shape for one in found.side] == SUPERVISED.get(network.name, 0) * [found.mask.shape]
            assert all(torch.isfinite(one).all() for one in (found.mask, found.score, *found.side))

    def test_gives_each_scan_its_own_mask(self, network: Segmenter) -> None:
        network.eval()
        with torch.no_grad():
            both = network(_images(2))
            alone = network(_images(2)[1:])
        assert not torch.allclose(both.mask[0], both.mask[1], atol=1e-6)
        assert torch.allclose(both.mask[1:], alone.mask, atol=1e-4)
        assert torch.allclose(both.score[1:], alone.score, atol=1e-4)

    def test_sees_grey_as_the_colour_of_three_equal_channels(self, network: Segmenter) -> None:
        network.eval()
        grey = _images(1)
        with torch.no_grad():
            assert torch.equal(network(grey).mask, network(grey.expand(-1, 3, -1, -1)).mask)
        with pytest.raises(TrainingError, match="2 channels for a network of 3; give 1 or 3"):
            network(_images(1, 2))

    def test_every_part_that_draws_learns(self, network: Segmenter) -> None:
        network.train()
        network.train_part("all")
        found = network(_images(3))
        torch.stack([found.mask.mean(), found.score.mean(), *(one.mean() for one in found.side)]).sum().backward()
        idle = {name for name, value in network.named_parameters() if value.grad is None}
        network.zero_grad()
        if network.name in KNOWN:  # stages or a last norm of the library's encoder that its decoder does not ask for
            idle = {name for name in idle if not name.startswith("network.network.encoder.")}
        assert not idle

    def test_a_frozen_encoder_keeps_weights_and_statistics(self, network: Segmenter) -> None:
        network.train_part("head")
        network.train()
        before = {name: value.clone() for name, value in network.encoder.state_dict().items()}
        found = network(_images(3))
        (found.mask.mean() + found.score.mean()).backward()
        assert all(value.grad is None for value in network.encoder.parameters())
        assert any(value.grad is not None for value in network.parameters())
        after = network.encoder.state_dict()
        assert all(torch.equal(value, after[name]) for name, value in before.items())
        network.zero_grad()
        network.train_part("all")
        assert all(value.requires_grad for value in network.parameters())
        assert network.encoder.training

    def test_draws_the_same_after_it_was_saved(self, network: Segmenter, tmp_path: Path) -> None:
        from safetensors.torch import load_file, save_file

        save_file({name: value.contiguous() for name, value in network.state_dict().items()}, tmp_path / "weights")
        other = segmenter(network.name, encoder=ENCODERS.get(network.name), classes=2, size=SIDE, width=0.1, head=True)
        other.load_state_dict(load_file(tmp_path / "weights"))
        with torch.no_grad():
            assert torch.equal(other.eval()(_images(1)).mask, network.eval()(_images(1)).mask)

    def test_pads_a_side_that_it_does_not_take(self, network: Segmenter) -> None:
        network.eval()
        image = _images(1, 1, (40, 50))
        with torch.no_grad():
            assert network(image).mask.shape == (1, 2, 40, 50)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in CHEAP else pytest.mark.slow) for name in ARCHITECTURES]
)
def test_export_draws_what_the_network_draws(name: str) -> None:
    import onnxruntime

    from tumorscope.training.export import to_onnx

    class Pixels(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = _tiny(name, classes=1)

        def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
            found = self.network(image)
            return found.mask.sigmoid(), found.score

    pixels = Pixels().eval()
    model = to_onnx(pixels, (1, SIDE, SIDE), ("mask", "score"), half=False)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for scans in (1, 3):
        image = _images(scans)
        with torch.no_grad():
            mask, score = pixels(image)
        found = session.run(None, {"image": image.numpy()})
        assert mask.std() > 1e-4  # two flat masks would agree as well
        assert abs(found[0] - mask.numpy()).max() <= 1e-4 and abs(found[1] - score.numpy()).max() <= 1e-4


class TestCounts:
    def test_keras_count_by_hand(self) -> None:
        network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 2, 1, bias=False))
        assert keras_count(network) == (3 * 8 * 9 + 8) + 4 * 8 + 16
        network.biased_in_keras = True
        assert keras_count(network) == (3 * 8 * 9 + 8) + 4 * 8 + 16 + 2
        assert keras_count(nn.BatchNorm2d(8, track_running_stats=False)) == 16

    def test_deeplabv3plus_has_the_references_count(self) -> None:
        network = _meta("deeplabv3plus", classes=20)
        statistics = [value.numel() for name, value in network.named_buffers() if "running" in name]
        assert keras_count(network) == 11_857_236 and sum(statistics) == 32_736
        assert _counted(_meta("deeplabv3plus-smp", classes=20)) > 2 * _counted(network)  # all of ResNet50

    def test_unet_xception_has_the_references_count(self) -> None:
        assert keras_count(_meta("unet-xception", classes=3, size=160)) == 2_058_979

    def test_unet_by_hand(self) -> None:
        filters = (64, 128, 256, 512, 1024)
        double = [9 * a * b + 2 * b + 9 * b * b + 2 * b for a, b in zip((3, *filters), filters, strict=False)]
        up = [4 * 2 * b * b + b + 9 * 2 * b * b + 2 * b + 9 * b * b + 2 * b for b in filters[:-1]]
        assert _counted(_meta("unet", classes=2)) == sum(double) + sum(up) + 64 * 2 + 2 == 31_037_698

    def test_fcn_is_vgg19_with_scores_for_its_classes(self) -> None:
        from torchvision.models import vgg19

        with torch.device("meta"):
            rest = _counted(vgg19()) - (4096 * 1000 + 1000)
        for name, filters in (("fcn-32s", [4096]), ("fcn-16s", [4096, 512]), ("fcn-8s", [4096, 512, 256])):
            assert _counted(_meta(name)) == rest + sum(count + 1 for count in filters)

    def test_basnet_by_hand(self) -> None:
        from torchvision.models import resnet34

        def plain(*filters: int) -> int:
            return sum(9 * a * b + 2 * b for a, b in itertools.pairwise(filters))

        with torch.device("meta"):
            stages = _counted(resnet34()) - (64 * 3 * 49 + 128) - (512 * 1000 + 1000)
        encoder = plain(3, 64) + stages + 2 * 3 * plain(512, 512, 512)
        bridge = plain(512, 512, 512, 512)
        decoder = plain(1024, 512, 512, 512) * 2 + plain(1024, 512, 512, 256) + plain(512, 256, 256, 128)
        decoder += plain(256, 128, 128, 64) + plain(128, 64, 64, 64)
        outputs = 9 * (3 * 512 + 256 + 128 + 64 + 64) + 7
        refinement = (9 * 64 + 64) + 5 * plain(64, 64) + 4 * plain(128, 64) + (9 * 64 + 1)
        assert _counted(_meta("basnet")) == encoder + bridge + decoder + outputs + refinement == 87_052_680

    def test_segformer_b0_is_that_of_transformers_and_its_encoder_the_registrys(self) -> None:
        network = _meta("segformer-b0", classes=150)
        assert _counted(network) == 3_752_694
        assert _counted(network.encoder) == entry("mit-b0").parameters - (256 * 1000 + 1000)
        assert _counted(segmenter("segformer", encoder="mit_b0").encoder) == _counted(network.encoder)

    def test_segformer_cnn_is_made_of_convolutions_alone(self) -> None:
        network = _meta("segformer-cnn")
        kinds = {type(part) for part in network.modules() if next(part.parameters(recurse=False), None) is not None}
        assert kinds == {nn.Conv2d, nn.BatchNorm2d}

    @pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name != "linknet"])
    def test_width_scales_the_filters(self, name: str) -> None:
        encoder = ENCODERS.get(name)
        half, whole = (_counted(_meta(name, encoder=encoder, width=width)) for width in (0.5, 1.0))
        assert half < whole


@pytest.mark.parametrize(("name", "backbone"), [("deeplabv3plus", "resnet50"), ("basnet", "resnet34")])
def test_published_weights_of_the_backbone_fit_the_encoder(name: str, backbone: str) -> None:
    import timm

    network = _meta(name)
    with torch.device("meta"):
        state = timm.create_model(backbone).state_dict()
    own = {key: value.shape for key, value in network.encoder.state_dict().items()}
    extra = ("stem.", "layer5.", "layer6.")  # BASNet's own
    assert all(state[key].shape == shape for key, shape in own.items() if not key.startswith(extra))


def test_deeplabv3plus_stops_inside_the_last_block() -> None:
    network = _meta("deeplabv3plus").encoder
    low, high = network(torch.zeros(1, 3, 64, 64, device="meta"))
    assert low.shape == (1, 64, 16, 16) and high.shape == (1, 256, 4, 4)
    assert not any(part.startswith("layer4") or part.startswith("layer3.5.conv3") for part in network.state_dict())


def test_strided_layers_of_unet_xception_pad_at_the_end_only() -> None:
    network = segmenter("unet-xception", width=0.1, channels=1).network.encoder[0]
    with torch.no_grad():
        network.convolution.weight.fill_(1.0)
        network.convolution.bias.zero_()
        ones = network.eval()(torch.ones(1, 1, 4, 4))[0, 0]
    assert torch.allclose(ones / ones[0, 0], torch.tensor([[9.0, 6.0], [6.0, 4.0]]) / 9)


def test_basnet_refines_the_finest_of_its_side_outputs() -> None:
    network = _tiny("basnet").eval()
    drawn: list[Tensor] = []
    network.network.outputs[-1].register_forward_hook(lambda *hook: drawn.append(hook[2]))
    with torch.no_grad():
        network.network.refinement.last.weight.zero_()
        network.network.refinement.last.bias.fill_(2.0)
        found = network(_images(1))
    assert drawn[0].shape == found.mask.shape
    assert torch.equal(found.side[0], drawn[0]) and torch.equal(found.mask, drawn[0] + 2.0)


def test_scores_of_fcn_start_at_zero() -> None:
    network = segmenter("fcn-8s", width=0.02).eval()
    assert not network(_images(1)).mask.any()


def test_preprocessing_is_the_encoders() -> None:
    images = torch.full((1, 1, SIDE, SIDE), 0.5)
    seen: list[Tensor] = []
    for encoder, mean in (("xception", 0.5), ("resnet18", 0.485)):
        network = segmenter("unet-smp", encoder=encoder).eval()
        network.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        network(images)
        assert torch.allclose(seen[-1][0, 0].mean(), (0.5 - torch.tensor(mean)) / (0.5 if mean == 0.5 else 0.229))
        assert seen[-1].shape == (1, 3, SIDE, SIDE)


def test_encoders_with_fixed_positions_are_built_for_the_side() -> None:
    network = segmenter("dpt", encoder="tu-test_vit", size=96, width=0.1).eval()
    with torch.no_grad():
        assert network(_images(1, 1, (96, 96))).mask.shape == (1, 1, 96, 96)
        assert network(_images(1)).mask.shape == (1, 1, SIDE, SIDE)  # padded
        with pytest.raises(TrainingError, match="image: larger than the 96 px that its encoder has positions for"):
            network(_images(1, 1, (128, 128)))


def test_weights_that_may_not_be_sold_are_named() -> None:
    for architecture, encoder in (("segformer-b0", None), ("segformer", None), ("upernet", "mit_b2")):
        assert "non-commercial" in licence_remark(architecture, encoder)
    assert not licence_remark("unet") and not licence_remark("segformer", "resnet18")


@pytest.mark.parametrize(
    ("settings", "finding"),
    [
        ({"architecture": "deeplab3plus"}, "did you mean 'deeplabv3plus'"),
        ({"architecture": "unet", "encoder": "resnet18"}, "unet has its own; leave encoder out, or use unet-smp"),
        ({"architecture": "deeplabv3plus", "encoder": "resnet18"}, "or use deeplabv3plus-smp"),
        ({"architecture": "fpn", "encoder": "resnet19"}, "unknown encoder 'resnet19'; did you mean resnet1"),
        ({"architecture": "fpn", "encoder": "tu-nothing"}, "unknown encoder 'tu-nothing'"),
        ({"architecture": "unetplusplus", "encoder": "mit_b0"}, "unetplusplus does not take mit_b0 .*; use resnet34"),
        ({"architecture": "unet", "classes": 0}, "classes: 0 is too few; give 1 or more"),
        ({"architecture": "unet", "channels": 0}, "channels: 0 is too few"),
        ({"architecture": "unet", "width": 0.0}, "width: 0.0 is no factor; give a number above 0"),
        ({"architecture": "unet", "width": float("nan")}, "width: nan is no factor"),
    ],
)
def test_what_cannot_be_built_is_refused_with_a_remedy(settings: dict[str, object], finding: str) -> None:
    with pytest.raises(RecipeError, match=finding):
        segmenter(**settings)  # type: ignore[arg-type]
