from __future__ import annotations

import io as streams
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tumorscope import io
from tumorscope.errors import ScanError


def _save(path: Path, array: NDArray, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(array) if mode is None else Image.fromarray(array).convert(mode)
    image.save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.webp"])
def test_lossless_grey_is_read_exactly(tmp_path: Path, ramp: NDArray, name: str) -> None:
    scan = io.read(_save(tmp_path / name, ramp, lossless=True))
    assert scan.axes == "YX" and scan.spacing is None and scan.affine is None and not scan.source.sides_known
    assert np.array_equal(scan.pixels, ramp)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "CMYK", "LA", "1"])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.tif", "a.webp"])
def test_every_mode_of_a_grey_scan_is_one_plane_of_the_same_grey(
    tmp_path: Path, ramp: NDArray, mode: str, name: str
) -> None:
    array = np.where(ramp > 90, 255, 0).astype(np.uint8) if mode == "1" else ramp
    image = Image.fromarray(array).convert(mode)
    try:
        image.save(tmp_path / name)
    except (OSError, KeyError):
        pytest.skip("the format has no such mode")
    scan = io.read(tmp_path / name)
    assert scan.axes == "YX" and scan.shape == ramp.shape
    exact = name not in ("a.jpg", "a.webp")
    assert np.abs(scan.pixels - array).max() <= (1 if exact else 40)
    assert np.abs(scan.pixels - array).mean() < (0.5 if exact else 8)


def test_sixteen_bits_survive_in_grey_and_colour(tmp_path: Path, ramp: NDArray) -> None:
    import cv2

    deep = ramp.astype(np.uint16) * 251 + 3
    scan = io.read(_save(tmp_path / "g.png", deep))
    assert scan.source.bits == 16 and np.array_equal(scan.pixels, deep)
    for channels in (3, 4):
        stacked = np.repeat(deep[..., None], channels, axis=2)
        if channels == 4:
            stacked[..., 3] = 65535
        cv2.imwrite(str(tmp_path / "c.png"), stacked)
        scan = io.read(tmp_path / "c.png")
        assert scan.axes == "YX" and np.array_equal(scan.pixels, deep)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif"])
def test_exif_rotation_is_applied_and_undone_for_the_mask(
    tmp_path: Path, ramp: NDArray, orientation: int, name: str
) -> None:
    image = Image.fromarray(ramp)
    exif = Image.Exif()
    exif[0x0112] = orientation
    if name == "a.tif":
        import tifffile

        tifffile.imwrite(tmp_path / name, ramp, extratags=[(274, 3, 1, orientation, True)])
    else:
        image.save(tmp_path / name, exif=exif, **({"lossless": True} if name == "a.webp" else {}))
    scan = io.read(tmp_path / name)
    image.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    assert scan.shape == expected.shape
    assert np.abs(scan.pixels - expected).max() <= (40 if name == "a.jpg" else 0)
    assert any("turned upright" in note for note in scan.source.notes) == (orientation != 1)
    mask = scan.pixels > 120
    io.write_mask(tmp_path / "m.png", mask, scan)
    with Image.open(tmp_path / "m.png") as written:
        assert written.size == image.size  # as the file stores it
        assert np.array_equal(np.asarray(written) == 255, scan.grid.to_file(mask))
        assert set(np.unique(np.asarray(written))) <= {0, 255}


def test_a_damaged_exif_block_does_not_hide_the_pixels(tmp_path: Path, ramp: NDArray) -> None:
    Image.fromarray(ramp).save(tmp_path / "a.png", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert np.array_equal(io.read(tmp_path / "a.png").pixels, ramp)


def test_alpha_is_laid_over_black(tmp_path: Path) -> None:
    array = np.zeros((4, 6, 4), np.uint8)
    array[..., :3] = 200
    array[:, 3:, 3] = 255
    array[:, 2, 3] = 51
    scan = io.read(_save(tmp_path / "a.png", array))
    assert scan.pixels[0].tolist() == pytest.approx([0, 0, 40, 200, 200, 200])
    assert "transparent parts were laid over black" in scan.source.notes
    array[..., 3] = 0
    scan = io.read(_save(tmp_path / "b.png", array))
    assert scan.pixels.min() == 200 and "alpha channel is zero" in scan.source.notes[0]


def test_palette_with_a_transparent_entry(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), mode=None).convert("P")
    image.putpalette([10, 10, 10, 100, 100, 100, 250, 250, 250])
    image.info["transparency"] = 2
    image.save(tmp_path / "p.png", transparency=2)
    assert io.read(tmp_path / "p.png").pixels.tolist() == [[10, 100, 0]]


def test_cmyk_of_adobe_is_not_inverted(tmp_path: Path) -> None:
    grey = np.tile(np.linspace(0, 255, 64, dtype=np.uint8), (64, 1))
    Image.fromarray(grey).convert("CMYK").save(tmp_path / "c.jpg", quality=95)
    assert np.corrcoef(io.read(tmp_path / "c.jpg").pixels.ravel(), grey.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("shape", [(1, 1), (1, 17), (17, 1), (2, 3)])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.bmp", "a.webp"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_tiny_images(tmp_path: Path, shape: tuple[int, int], name: str, mode: str) -> None:
    array = np.arange(shape[0] * shape[1], dtype=np.uint8).reshape(shape)
    scan = io.read(_save(tmp_path / name, array, mode))
    assert scan.axes == "YX" and scan.shape == shape


@pytest.mark.parametrize("value", [0, 255])
def test_all_black_and_all_white(tmp_path: Path, value: int) -> None:
    scan = io.read(_save(tmp_path / "a.jpg", np.full((16, 16), value, np.uint8), "RGB"))
    assert scan.axes == "YX" and (scan.pixels == value).all()


@pytest.mark.parametrize("name", ["a.jpg", "p.jpg", "a.png", "a.bmp", "a.webp", "a.tif"])
def test_a_file_cut_anywhere_is_an_error_or_whole(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(1)
    array = rng.integers(0, 255, (48, 40), dtype=np.uint8)
    path = _save(tmp_path / name, array, **({"progressive": True} if name == "p.jpg" else {}))
    whole, content = io.read(path).pixels, path.read_bytes()
    failures = 0
    for size in np.linspace(0, len(content) - 1, 60).astype(int):
        path.write_bytes(content[:size])
        try:
            assert np.array_equal(io.read(path).pixels, whole), f"half an image from {size} bytes"
        except ScanError as error:
            failures += 1
            assert str(error).startswith(str(path)) and "\n" not in str(error)
    assert failures >= 57


def _bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(1000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_a_pixel_bomb_is_refused_from_its_header(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(_bomb(60_000, 60_000))
    with pytest.raises(ScanError, match="60000x60000x1 is 3,600,000,000 values, above the limit"):
        io.read(path)


def test_our_limit_counts_and_not_the_one_of_pillow(
    tmp_path: Path, ramp: NDArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # would refuse, or warn
    for name in ("a.png", "a.jpg", "a.bmp", "a.tif"):
        assert io.read(_save(tmp_path / name, ramp)).shape == ramp.shape
        with pytest.raises(ScanError, match="above the limit of 1,199"):
            io.read(tmp_path / name, max_pixels=ramp.size - 1)


@pytest.mark.parametrize("options", [{"lossless": True}, {}, {"lossless": True, "exact": True}])
def test_webp_size_is_read_before_decoding(tmp_path: Path, options: dict) -> None:
    from tumorscope.io.raster import _webp_size

    for mode in ("RGB", "RGBA"):
        stream = streams.BytesIO()
        Image.new(mode, (321, 123), (9, 9, 9, 77)[: len(mode)]).save(stream, "WEBP", **options)
        assert _webp_size(stream) == (123, 321)


def test_an_animation_gives_its_first_frame(tmp_path: Path, ramp: NDArray) -> None:
    frames = [Image.fromarray(ramp), Image.fromarray(255 - ramp)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    scan = io.read(tmp_path / "a.png")
    assert np.array_equal(scan.pixels, ramp)
    assert "animation of 2 frames" in scan.source.notes[0]


def test_channel_picks_a_stored_channel(tmp_path: Path, ramp: NDArray) -> None:
    rgb = np.stack([ramp, 255 - ramp, np.roll(ramp, 9, 0)], axis=-1)
    path = _save(tmp_path / "a.png", rgb)
    for index in range(3):
        scan = io.read(path, channel=index)
        assert scan.axes == "YX" and np.array_equal(scan.pixels, rgb[..., index])
    scan = io.read(path)
    assert scan.axes == "CYX" and np.array_equal(scan.pixels, np.moveaxis(rgb, -1, 0))
    assert np.array_equal(scan.channel(1).pixels, rgb[..., 1])
    for wrong in (3, -1):
        with pytest.raises(ScanError, match=f"no channel {wrong}; it has 3"):
            io.read(path, channel=wrong)
    with pytest.raises(ScanError, match="no channel 1; it has 1"):
        io.read(_save(tmp_path / "g.png", ramp), channel=1)
