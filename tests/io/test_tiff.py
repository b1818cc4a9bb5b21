from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from tumorscope import io
from tumorscope.errors import ScanError


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int16", "uint32", "float32", "float64", "float16"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_values_are_read_as_stored(tmp_path: Path, ramp: NDArray, kind: str, compression: str | None) -> None:
    array = (ramp.astype(float) - (50 if kind in ("int16", "float32") else 0)).astype(kind)
    tifffile.imwrite(tmp_path / "a.tif", array, compression=compression)
    scan = io.read(tmp_path / "a.tif")
    assert scan.axes == "YX" and scan.source.bits == array.dtype.itemsize * 8
    assert np.array_equal(scan.pixels, array.astype(np.float32))


def test_resolution_tags_are_no_millimetres(tmp_path: Path, ramp: NDArray) -> None:
    tifffile.imwrite(tmp_path / "a.tif", ramp, resolution=(300, 300), resolutionunit="INCH")
    assert io.read(tmp_path / "a.tif").spacing is None


@pytest.mark.parametrize("pages", [2, 3, 4, 9])
def test_pages_are_slices_however_few(tmp_path: Path, ramp: NDArray, pages: int) -> None:
    volume = np.stack([np.roll(ramp, i, 0) for i in range(pages)])
    tifffile.imwrite(tmp_path / "a.tif", volume, photometric="minisblack")
    scan = io.read(tmp_path / "a.tif")
    assert scan.axes == "ZYX" and scan.spacing is None and scan.plane is None
    assert np.array_equal(scan.pixels, volume)


def test_channels_by_the_metadata_of_imagej_and_ome(tmp_path: Path, ramp: NDArray) -> None:
    stack = np.stack([ramp, 255 - ramp])
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": "CYX"})
    tifffile.imwrite(tmp_path / "a.ome.tif", stack, metadata={"axes": "CYX"}, photometric="minisblack")
    for name in ("a.tif", "a.ome.tif"):
        scan = io.read(tmp_path / name)
        assert scan.axes == "CYX" and np.array_equal(scan.pixels, stack)
        assert "--channel 0 to 1" in scan.source.notes[0]
        assert np.array_equal(io.read(tmp_path / name, channel=1).pixels, 255 - ramp)
    volume = np.stack([stack] * 5)
    tifffile.imwrite(tmp_path / "v.tif", volume, imagej=True, metadata={"axes": "ZCYX"})
    scan = io.read(tmp_path / "v.tif")
    assert scan.axes == "CZYX" and scan.pixels.shape == (2, 5, *ramp.shape)
    assert np.array_equal(io.read(tmp_path / "v.tif", channel=1).pixels, volume[:, 1])


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_colour_and_alpha(tmp_path: Path, ramp: NDArray, planar: str) -> None:
    def write(channels: list[NDArray], **options: object) -> Path:
        array = np.stack(channels, axis=-1 if planar == "contig" else 0)
        tifffile.imwrite(tmp_path / "c.tif", array, photometric="rgb", planarconfig=planar, **options)
        return tmp_path / "c.tif"

    scan = io.read(write([ramp, ramp, ramp]))
    assert scan.axes == "YX" and np.array_equal(scan.pixels, ramp)
    scan = io.read(write([ramp, 255 - ramp, ramp // 2]))
    assert scan.axes == "CYX" and np.array_equal(scan.pixels[1], 255 - ramp)
    alpha = np.where(ramp > 100, 255, 0).astype(np.uint8)
    scan = io.read(write([ramp, ramp, ramp, alpha], extrasamples=["unassalpha"]))
    assert scan.axes == "YX" and np.array_equal(scan.pixels, np.where(alpha, ramp, 0))


def test_coloured_pages_that_look_grey_are_a_grey_volume(tmp_path: Path, ramp: NDArray) -> None:
    volume = np.stack([np.repeat(np.roll(ramp, i, 0)[..., None], 3, -1) for i in range(4)])
    tifffile.imwrite(tmp_path / "a.tif", volume, photometric="rgb")
    scan = io.read(tmp_path / "a.tif")
    assert scan.axes == "ZYX" and np.array_equal(scan.pixels, volume[..., 0])
    volume[..., 1] = 255 - volume[..., 1]
    tifffile.imwrite(tmp_path / "a.tif", volume, photometric="rgb")
    scan = io.read(tmp_path / "a.tif")
    assert scan.axes == "CZYX" and np.array_equal(scan.pixels, np.moveaxis(volume, -1, 0))


def test_white_is_zero_is_turned_round(tmp_path: Path, ramp: NDArray) -> None:
    tifffile.imwrite(tmp_path / "a.tif", ramp, photometric="miniswhite")
    assert np.array_equal(io.read(tmp_path / "a.tif").pixels, 255 - ramp)
    tifffile.imwrite(tmp_path / "b.tif", ramp > 100, photometric="miniswhite")
    assert np.array_equal(io.read(tmp_path / "b.tif").pixels, np.where(ramp > 100, 0, 255))
    tifffile.imwrite(tmp_path / "c.tif", ramp.astype(np.float32), photometric="miniswhite")
    assert np.allclose(io.read(tmp_path / "c.tif").pixels, float(ramp.max()) + float(ramp.min()) - ramp)


def test_palette(tmp_path: Path, ramp: NDArray) -> None:
    inverted = np.tile((255 - np.arange(256)).astype(np.uint16) * 257, (3, 1))
    tifffile.imwrite(tmp_path / "a.tif", ramp, photometric="palette", colormap=inverted)
    assert np.array_equal(io.read(tmp_path / "a.tif").pixels, 255 - ramp)


def test_nan_and_infinity(tmp_path: Path, ramp: NDArray) -> None:
    array = ramp.astype(np.float32)
    array[0, :3] = np.nan, np.inf, -np.inf
    tifffile.imwrite(tmp_path / "a.tif", array)
    scan = io.read(tmp_path / "a.tif")
    assert scan.pixels[0, :3].tolist() == [0, 0, 0] and "3 values" in scan.source.notes[0]
    tifffile.imwrite(tmp_path / "b.tif", np.full((4, 4), np.nan, np.float32))
    with pytest.raises(ScanError, match="every value is NaN"):
        io.read(tmp_path / "b.tif")


def test_complex_and_other_colour_spaces_are_refused(tmp_path: Path, ramp: NDArray) -> None:
    tifffile.imwrite(tmp_path / "a.tif", ramp.astype(np.complex64))
    with pytest.raises(ScanError, match="complex; save the magnitude"):
        io.read(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", np.stack([ramp] * 3, -1), photometric="cielab")
    with pytest.raises(ScanError, match=r"colour space .* not supported; save it as RGB"):
        io.read(tmp_path / "b.tif")


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"byteorder": ">"}, {"compression": "zlib"}])
def test_a_stack_cut_between_its_pages_is_not_half_a_volume(tmp_path: Path, ramp: NDArray, options: dict) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, **{k: v for k, v in options.items() if k != "compression"}) as writer:
        for index in range(6):
            writer.write(np.roll(ramp, index, 0), compression=options.get("compression"), contiguous=False)
    whole, content, failures = io.read(path).pixels, path.read_bytes(), 0
    for size in np.linspace(20, len(content) - 20, 40).astype(int):
        path.write_bytes(content[:size])
        try:
            assert np.array_equal(io.read(path).pixels, whole), f"a part of the volume from {size} bytes"
        except ScanError:
            failures += 1
    assert failures >= 30  # what stands behind the last page's data may be missing


def test_pixels_cut_off_are_counted(tmp_path: Path, ramp: NDArray) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, ramp)
    content = path.read_bytes()
    path.write_bytes(content[:-30])
    with pytest.raises(ScanError, match=rf"cut short \({len(content) - 30:,} of {len(content):,} bytes\)"):
        io.read(path)


def test_directories_in_a_circle_end(tmp_path: Path, ramp: NDArray) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, ramp, metadata=None)
    content = bytearray(path.read_bytes())
    start = int.from_bytes(content[4:8], "little")
    count = int.from_bytes(content[start : start + 2], "little")
    end = start + 2 + 12 * count
    content[end : end + 4] = content[4:8]
    path.write_bytes(content)
    with pytest.raises(ScanError, match="damaged after 1 pages"):
        io.read(path)


def test_further_images_of_other_sizes_are_noted(tmp_path: Path, ramp: NDArray) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(ramp)
        writer.write(ramp[::2, ::2])
    scan = io.read(tmp_path / "a.tif")
    assert np.array_equal(scan.pixels, ramp) and "1 further image" in scan.source.notes[0]


def test_the_limit_counts_pages(tmp_path: Path, ramp: NDArray) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.stack([ramp] * 5), compression="zlib")
    with pytest.raises(ScanError, match="above the limit"):
        io.read(tmp_path / "a.tif", max_pixels=ramp.size * 5 - 1)


def test_a_mask_of_a_page_volume_goes_back_page_by_page(tmp_path: Path, ramp: NDArray) -> None:
    import nibabel as nib

    volume = np.stack([np.roll(ramp, i, 0) for i in range(5)])
    tifffile.imwrite(tmp_path / "a.tif", volume)
    scan = io.read(tmp_path / "a.tif")
    io.write_mask(tmp_path / "m.nii.gz", scan.pixels > 100, scan)
    written = nib.load(tmp_path / "m.nii.gz")
    assert np.array_equal(np.asarray(written.dataobj).transpose(2, 1, 0), volume > 100)
