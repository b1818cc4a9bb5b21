"""Checkpoints of many makers, read and put into networks; what does not fit is told."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from tumorscope.errors import WeightsError
from tumorscope.models.weights import PREFIXES, WRAPPERS, load_into, locate, read


def network(name: str = "test_resnet", **settings: Any) -> nn.Module:
    """A small timm model with random weights, statistics of batches included."""
    model = timm.create_model(name, **settings).eval()
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.add_(0.05 * torch.rand_like(value))
    return model


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def copy_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def refusal(call: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    with pytest.raises(WeightsError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    return network()


def test_the_whole_way_from_an_offline_folder(
    resnet: nn.Module, tmp_path: Path, sums: Callable[[Path], None], hub: Any
) -> None:
    save_file(copy_of(resnet), tmp_path / "test_resnet.safetensors")
    sums(tmp_path)
    fresh = network()
    path = locate("test_resnet", offline=tmp_path)
    report = load_into(fresh, read(path), origin="test_resnet")
    image = torch.rand(1, 3, 96, 96)
    assert torch.equal(fresh(image), resnet(image))
    assert report.missing == report.unexpected == report.reshaped == () and report.share == 1
    assert report.sentence() == f"test_resnet: {len(report.loaded)} tensors, 100.0% of the parameters"
    with path.open("ab") as stream:
        stream.write(b" ")
    assert "recorded is" in refusal(locate, "test_resnet", offline=tmp_path)


class TestRead:
    @pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".ckpt", ".bin"])
    def test_kinds_of_file(self, suffix: str, tmp_path: Path) -> None:
        state = {"a.weight": torch.rand(2, 3), "b": torch.arange(3)}
        file = tmp_path / f"x{suffix}"
        save_file(state, file) if suffix == ".safetensors" else torch.save(state, file)
        assert same(read(file), state)

    @pytest.mark.parametrize("key", WRAPPERS)
    def test_wrappers(self, key: str, tmp_path: Path) -> None:
        state = {"conv.weight": torch.rand(2, 3), "conv.count": 3}
        torch.save(
            {"epoch": 7, "args": Namespace(rate=0.1), key: state, "optimizer": {"state": {}}}, tmp_path / "x.pth"
        )
        assert list(read(tmp_path / "x.pth")) == ["conv.weight"]
        torch.save({"model": {key: state}}, tmp_path / "y.pth")
        assert list(read(tmp_path / "y.pth")) == ["conv.weight"]

    def test_a_prefix_goes_only_where_all_names_have_it(self, tmp_path: Path) -> None:
        value = torch.rand(1)
        for names, expected in (
            (["module.model.backbone.a", "module.model.backbone.b"], ["a", "b"]),
            (["module.encoder.a", "module.decoder.a"], ["encoder.a", "decoder.a"]),
            (["encoder.a", "encoders.b"], ["encoder.a", "encoders.b"]),
        ):
            torch.save(dict.fromkeys(names, value), tmp_path / "x.pth")
            assert list(read(tmp_path / "x.pth")) == expected

    def test_program_objects_are_not_run(self, tmp_path: Path) -> None:
        mark = tmp_path / "was_run"
        torch.save({"state_dict": {"a": torch.ones(1)}, "trap": _Trap(mark)}, tmp_path / "x.pth")
        assert "never loaded" in refusal(read, tmp_path / "x.pth")
        assert not mark.exists()

    @pytest.mark.parametrize("name", ["x.safetensors", "x.pth"])
    @pytest.mark.parametrize("content", [b"", b"no weights", b"\x80\x02junk", b"PK\x03\x04" + bytes(40), bytes(64)])
    def test_damaged_files(self, name: str, content: bytes, tmp_path: Path) -> None:
        (tmp_path / name).write_bytes(content)
        assert str(tmp_path / name) in refusal(read, tmp_path / name)

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(rest=st.binary(max_size=80), start=st.sampled_from([b"", b"\x80\x02", b"\x80\x02}q\x00", b"PK\x03\x04"]))
    def test_any_bytes(self, rest: bytes, start: bytes, tmp_path: Path) -> None:
        (tmp_path / "x.bin").write_bytes(start + rest)
        refusal(read, tmp_path / "x.bin")

    def test_a_file_cut_short(self, tmp_path: Path) -> None:
        for name in ("x.safetensors", "x.pth"):
            state = {"a": torch.rand(50, 50)}
            save_file(state, tmp_path / name) if name[2] == "s" else torch.save(state, tmp_path / name)
            whole = (tmp_path / name).read_bytes()
            (tmp_path / name).write_bytes(whole[: len(whole) // 2])
            refusal(read, tmp_path / name)

    @pytest.mark.parametrize("content", [{}, {"epoch": 3}, [torch.ones(1)], torch.ones(2), 5])
    def test_no_tensors_by_name(self, content: Any, tmp_path: Path) -> None:
        torch.save(content, tmp_path / "x.pth")
        assert "holds no tensors" in refusal(read, tmp_path / "x.pth")

    def test_no_file(self, tmp_path: Path) -> None:
        assert "no such file" in refusal(read, tmp_path / "x.pth")
        assert "no such file" in refusal(read, tmp_path)


class _Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


class TestNames:
    @settings(max_examples=20)
    @given(st.lists(st.sampled_from(PREFIXES), max_size=3), st.booleans())
    def test_prefixes_in_any_order_with_other_things_beside(self, chain: list[str], beside: bool) -> None:
        old, new = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
        state = {"".join(chain) + name: value for name, value in old.state_dict().items()}
        if beside:
            state["decoder.weight"] = torch.rand(7)
        report = load_into(new, state, origin="x")
        assert same(copy_of(old), copy_of(new))
        assert report.unexpected == (("decoder.weight",) if beside else ())

    def test_names_that_the_network_has_and_the_file_lacks(self) -> None:
        old = nn.Linear(3, 4)
        new = nn.ModuleDict({"backbone": nn.Linear(3, 4)})
        assert load_into(new, old.state_dict(), origin="x").loaded == ("backbone.weight", "backbone.bias")
        assert torch.equal(new["backbone"].weight, old.weight)

    def test_parts_by_number_as_in_radimagenet(self) -> None:
        """Its ResNet is a Sequential of the parts of torchvision's; timm's has the same parts in the same order."""
        theirs = torchvision.models.resnet18(weights=None).eval()
        numbered = nn.Sequential(*list(theirs.children())[:9])
        state = {f"backbone.{name}": value for name, value in numbered.state_dict().items()}
        ours = network("resnet18", num_classes=0)
        report = load_into(ours, state, origin="RadImageNet")
        image = torch.rand(1, 3, 64, 64)
        torch.testing.assert_close(ours(image), numbered(image).flatten(1))
        assert report.missing == report.unexpected == () and report.share == 1

    def test_another_projects_names_go_through_timm(self) -> None:
        """ConvNeXt as its authors name it."""
        old, new = network("test_convnext"), network("test_convnext", num_classes=0)
        renamings = (
            (r"^stem\.", "downsample_layers.0."), (r"stages\.(\d)\.blocks", r"stages.\1"), (r"conv_dw", "dwconv"),
            (r"stages\.(\d)\.downsample", r"downsample_layers.\1"), (r"mlp\.fc", "pwconv"), (r"head\.norm", "norm"),
            (r"head\.fc", "head"),
        )  # fmt: skip
        state = {}
        for name, value in old.state_dict().items():
            for pattern, words in renamings:
                name = re.sub(pattern, words, name)
            state[name] = value
        report = load_into(new, {f"module.{name}": value for name, value in state.items()}, origin="authors")
        assert report.missing == () and set(report.unexpected) == {"module.head.weight", "module.head.bias"}
        image = torch.rand(1, 3, 64, 64)
        assert torch.equal(new(image), old.forward_head(old.forward_features(image), pre_logits=True))


class TestFit:
    def test_another_head_is_left_as_it_is(self, resnet: nn.Module) -> None:
        new = network(num_classes=2)
        before = copy_of(new)
        report = load_into(new, copy_of(resnet), origin="x")
        assert report.missing == report.unexpected == ("fc.weight", "fc.bias")
        assert torch.equal(new.state_dict()["fc.weight"], before["fc.weight"])
        assert "not in it: fc.weight, fc.bias; unused: fc.weight, fc.bias" in report.sentence()

    def test_half_precision_becomes_the_networks(self, resnet: nn.Module) -> None:
        new = network()
        load_into(new, {name: value.half() for name, value in copy_of(resnet).items()}, origin="x")
        assert new.state_dict()["conv1.0.weight"].dtype == torch.float32
        torch.testing.assert_close(new.state_dict()["fc.bias"], resnet.state_dict()["fc.bias"], atol=1e-3, rtol=1e-3)

    def test_positions_of_a_transformer_at_another_size(self) -> None:
        old, new = network("test_vit"), network("test_vit", img_size=96)
        report = load_into(new, copy_of(old), origin="x")
        assert report.reshaped == ("pos_embed",) and report.missing == report.unexpected == ()

    def test_another_architecture_is_refused_and_nothing_changed(self, resnet: nn.Module) -> None:
        new = network("test_vit")
        before = copy_of(new)
        text = refusal(load_into, new, copy_of(resnet), origin="resnet")
        assert text.startswith("resnet: fits only 0% of the network's parameters (not ")
        assert "another architecture" in text and "--pretrained no" in text
        assert same(copy_of(new), before)

    def test_half_is_enough_and_less_is_not(self) -> None:
        new = nn.Sequential(nn.Linear(4, 5, bias=False), nn.Linear(5, 4, bias=False), nn.Linear(4, 1, bias=False))
        half = {"0.weight": torch.rand(5, 4), "2.weight": torch.rand(1, 4)}
        assert load_into(new, half, origin="x").share == 24 / 44
        text = refusal(load_into, new, {"0.weight": torch.rand(5, 4)}, origin="x")
        assert "fits only 45% of the network's parameters (not 1.weight, 2.weight)" in text

    @pytest.mark.parametrize("state", [{}, {"x": torch.rand(3)}])
    def test_nothing_that_fits(self, state: dict[str, Tensor]) -> None:
        assert "fits only 0%" in refusal(load_into, nn.Linear(2, 2), state, origin="x")

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_values_that_are_not_finite(self, value: float, resnet: nn.Module) -> None:
        state = copy_of(resnet)
        state["fc.bias"][3] = value
        new = network()
        before = copy_of(new)
        assert "x: fc.bias holds values that are not finite" in refusal(load_into, new, state, origin="x")
        assert same(copy_of(new), before)


class TestChannels:
    @pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_vit"])
    def test_a_grey_image_gives_what_its_three_copies_gave(self, name: str) -> None:
        old, new = network(name), network(name, in_chans=1)
        report = load_into(new, copy_of(old), origin="x", adapt_channels=True)
        grey = torch.rand(2, 1, *old.pretrained_cfg["input_size"][1:])  # type: ignore[index,call-overload]
        torch.testing.assert_close(new(grey), old(grey.expand(-1, 3, -1, -1)), atol=1e-4, rtol=1e-4)
        assert len(report.reshaped) == 1 and report.missing == ()

    @pytest.mark.parametrize("channels", [1, 2, 4, 5])
    def test_it_is_timms_rule(self, channels: int) -> None:
        old, new = nn.Conv2d(3, 8, 3, bias=False), nn.Conv2d(channels, 8, 3, bias=False)
        load_into(new, old.state_dict(), origin="x", adapt_channels=True)
        torch.testing.assert_close(new.weight, timm.models.adapt_input_conv(channels, old.weight))

    @given(st.integers(1, 7), st.integers(1, 7))
    def test_the_sum_over_equal_channels_stays_where_they_divide(self, before: int, after: int) -> None:
        old, new = nn.Conv2d(before, 2, 1), nn.Conv2d(after, 2, 1)
        load_into(new, old.state_dict(), origin="x", adapt_channels=True)
        if after % before == 0 or after == 1:
            torch.testing.assert_close(new.weight.sum(1), old.weight.sum(1))

    def test_not_asked_for_it_is_refused(self, resnet: nn.Module) -> None:
        new = network(in_chans=1)
        before = copy_of(new)
        text = refusal(load_into, new, copy_of(resnet), origin="x")
        assert "takes 3 channels, the network 1" in text and "adapt_channels" in text
        assert same(copy_of(new), before)

    def test_only_the_first_convolution_is_adapted(self) -> None:
        old = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3))
        new = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(1, 4, 3))
        report = load_into(new, old.state_dict(), origin="x", adapt_channels=True)
        assert report.missing == report.unexpected == ("1.weight",)
