from __future__ import annotations

import gzip
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tumorscope import io
from tumorscope.errors import ScanError

AXCODES = ["".join(codes) for order in permutations(("LR", "PA", "IS")) for codes in product(*order)]


def _affine(codes: str, steps: tuple[float, float, float] = (1.0, 1.5, 4.0)) -> NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, code in enumerate(codes):
        world = {"L": 0, "R": 0, "P": 1, "A": 1, "I": 2, "S": 2}[code]
        affine[world, axis] = steps[world] * (1 if code in "RAS" else -1)
    affine[:3, 3] = (10, -20, 30)
    return affine


@pytest.fixture
def body() -> NDArray[np.float32]:
    """Values 100 x + 10 y + z of the world, on a RAS+ grid: each voxel knows where it lies."""
    x, y, z = np.mgrid[0:6, 0:7, 0:8]
    return (100 * x + 10 * y + z).astype(np.float32)


@pytest.mark.parametrize("codes", AXCODES)
def test_all_48_orientations_are_one_scan_and_masks_go_back(
    tmp_path: Path, body: NDArray, make_nifti, codes: str
) -> None:
    reference = nib.Nifti1Image(body, _affine("RAS"))
    image = reference.as_reoriented(
        nib.orientations.ornt_transform(
            nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(tuple(codes))
        )
    )
    path = make_nifti("v.nii.gz", np.asarray(image.dataobj), image.affine)
    scan = io.read(path)
    expected = io.read(make_nifti("ras.nii", body, _affine("RAS")))
    assert scan.plane == "axial" and scan.source.sides_known and scan.spacing == (4.0, 1.5, 1.0)
    assert np.array_equal(scan.pixels, expected.pixels)  # the same picture whatever the storage
    assert np.allclose(scan.affine, expected.affine)
    # radiological: first column is the patient's right (large x), first row anterior (large y)
    assert scan.pixels[0, 0, 0] == 100 * 5 + 10 * 6
    mask = np.random.default_rng(0).random(scan.shape) > 0.5
    io.write_mask(tmp_path / "m.nii.gz", mask, scan)
    written, source = nib.load(tmp_path / "m.nii.gz"), nib.load(path)
    assert np.array_equal(written.affine, source.affine) and written.shape == source.shape
    assert np.array_equal(np.asarray(written.dataobj), scan.grid.to_file(mask))
    assert np.array_equal(io.read(tmp_path / "m.nii.gz").pixels > 0, mask)


@given(
    st.tuples(*[st.floats(-0.5, 0.5)] * 3),
    st.tuples(*[st.floats(0.5, 5)] * 3),
    st.sampled_from(AXCODES),
    st.integers(0, 2**31),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_oblique_a_marked_voxel_stays_where_it_is(tmp_path: Path, make_nifti, turns, steps, codes, seed) -> None:
    from scipy.spatial.transform import Rotation

    affine = _affine(codes, steps)
    affine[:3, :3] = Rotation.from_euler("xyz", turns).as_matrix() @ affine[:3, :3]
    array = np.random.default_rng(seed).permutation(4 * 5 * 6).reshape(4, 5, 6).astype(np.int16)
    path = make_nifti("o.nii", array, affine)
    scan = io.read(path)
    mask = scan.pixels == 77
    io.write_mask(tmp_path / "m.nii.gz", mask, scan)
    written = nib.load(tmp_path / "m.nii.gz")
    assert np.array_equal(written.affine, nib.load(path).affine)
    (file_index,), (scan_index,) = np.argwhere(array == 77), np.argwhere(mask)
    assert np.array_equal(np.argwhere(np.asarray(written.dataobj)), [file_index])
    assert np.allclose(scan.affine @ (*scan_index, 1), nib.load(path).affine @ (*file_index, 1), atol=1e-3)


@pytest.mark.parametrize("kind", ["u1", "i2", "u2", ">i2", "i4", "f4", "f8"])
def test_every_type_is_read_as_stored(make_nifti, body: NDArray, kind: str) -> None:
    image = (body % 200).astype(kind)
    scan = io.read(make_nifti("v.nii", image))
    assert np.array_equal(scan.grid.to_file(scan.pixels), image.astype(np.float32))


def test_slope_and_intercept(make_nifti, body: NDArray) -> None:
    scan = io.read(make_nifti("s.nii", body.astype(np.int16), scl_slope=2, scl_inter=-5))
    assert np.array_equal(scan.grid.to_file(scan.pixels), body * 2 - 5)


def test_the_wrong_units_are_brought_to_millimetres(make_nifti, body: NDArray) -> None:
    scan = io.read(make_nifti("u.nii", body, np.diag([1000.0, 1500, 4000, 1]), units="micron"))
    assert scan.spacing == pytest.approx((4, 1.5, 1))
    scan = io.read(make_nifti("m.nii", body, np.diag([0.001, 0.0015, 0.004, 1]), units="meter"))
    assert scan.spacing == pytest.approx((4, 1.5, 1))


def test_no_unit_means_millimetres_only_where_a_transform_is_given(make_nifti, body: NDArray) -> None:
    scan = io.read(make_nifti("a.nii", body, np.diag([1.0, 1, 4, 1]), units=None, xyzt_units=0))
    assert scan.spacing == (4, 1, 1) and "names no unit" in scan.source.notes[0]
    scan = io.read(
        make_nifti("b.nii", body, np.diag([1.0, 1, 4, 1]), units=None, xyzt_units=0, sform_code=0, qform_code=0)
    )
    assert scan.spacing is None and scan.affine is None and scan.plane is None and not scan.source.sides_known
    assert "left and right are unknown" in scan.source.notes[0]


def test_voxel_sizes_without_orientation(tmp_path: Path, make_nifti, body: NDArray) -> None:
    path = make_nifti("a.nii", body, np.diag([1.0, 1, 4, 1]), sform_code=0, qform_code=0)
    scan = io.read(path)
    assert scan.spacing == (4, 1, 1) and not scan.source.sides_known
    io.write_mask(tmp_path / "m.nii", scan.pixels > 300, scan)
    written = nib.load(tmp_path / "m.nii")
    assert np.array_equal(written.affine, nib.load(path).affine)
    assert int(written.header["sform_code"]) == int(written.header["qform_code"]) == 0
    assert np.array_equal(np.asarray(written.dataobj), body > 300)


def test_qform_serves_where_the_sform_is_useless(make_nifti, body: NDArray) -> None:
    zero = [0, 0, 0, 0]
    path = make_nifti("a.nii", body, _affine("LAS"), sform_code=2, qform_code=1, srow_x=zero, srow_y=zero, srow_z=zero)
    scan = io.read(path)
    assert scan.source.sides_known and scan.plane == "axial" and scan.pixels[0, 0, 0] == 60  # L: x stored backwards


def test_mask_header_holds_geometry_and_nothing_else(tmp_path: Path, make_nifti, body: NDArray) -> None:
    path = make_nifti("a.nii", body, _affine("LPI"), descrip=b"Nightingale^Florence", aux_file=b"SECRET")
    scan = io.read(path)
    io.write_mask(tmp_path / "m.nii", np.ones(scan.shape, bool), scan)
    content = (tmp_path / "m.nii").read_bytes()
    assert b"Nightingale" not in content and b"SECRET" not in content
    written = nib.load(tmp_path / "m.nii")
    assert written.get_data_dtype() == np.uint8 and np.asarray(written.dataobj).max() == 1


def test_mask_is_written_even_when_the_source_is_gone(tmp_path: Path, make_nifti, body: NDArray) -> None:
    path = make_nifti("a.nii", body, _affine("SPL"))
    expected = nib.load(path).affine
    scan = io.read(path)
    path.unlink()
    mask = scan.pixels > 300
    io.write_mask(tmp_path / "m.nii.gz", mask, scan)
    written = nib.load(tmp_path / "m.nii.gz")
    assert np.allclose(written.affine, expected, atol=1e-4)
    assert np.array_equal(np.asarray(written.dataobj), scan.grid.to_file(mask))


def test_nifti2_pair_and_two_dimensions(tmp_path: Path, body: NDArray) -> None:
    nib.save(nib.Nifti2Image(body, _affine("LPS")), tmp_path / "two.nii.gz")
    nib.save(nib.Nifti1Pair(body, _affine("LPS")), tmp_path / "pair.hdr")
    first, second = io.read(tmp_path / "two.nii.gz"), io.read(tmp_path / "pair.hdr")
    assert np.array_equal(first.pixels, second.pixels)
    for name in ("two.nii.gz", "pair.hdr"):
        scan = io.read(tmp_path / name)
        io.write_mask(tmp_path / "m.nii.gz", scan.pixels > 300, scan)
        written = nib.load(tmp_path / "m.nii.gz")
        assert np.array_equal(written.affine, nib.load(tmp_path / name).affine)
        assert np.array_equal(np.asarray(written.dataobj), body > 300)
    (tmp_path / "pair.img").unlink()
    with pytest.raises(ScanError, match=r"pair\.img is not beside it"):
        io.read(tmp_path / "pair.hdr")
    nib.save(nib.Nifti1Image(body[:, :, 0], np.eye(4)), tmp_path / "flat.nii")
    scan = io.read(tmp_path / "flat.nii")
    assert scan.axes == "ZYX" and scan.shape == (1, 7, 6)
    io.write_mask(tmp_path / "m.nii.gz", scan.pixels > 300, scan)
    assert np.array_equal(np.asarray(nib.load(tmp_path / "m.nii.gz").dataobj), body[:, :, 0] > 300)


def test_several_volumes_need_a_channel(tmp_path: Path, make_nifti, body: NDArray) -> None:
    stack = np.stack([body, body + 1, body + 2], axis=-1)
    path = make_nifti("four.nii.gz", stack, _affine("LAS"))
    with pytest.raises(ScanError, match=r"holds 3 volumes \(6x7x8x3\); choose one with --channel 0 to 2"):
        io.read(path)
    one = io.read(make_nifti("one.nii.gz", body, _affine("LAS")))
    for channel in range(3):
        scan = io.read(path, channel=channel)
        assert scan.axes == "ZYX" and np.array_equal(scan.pixels, one.pixels + channel)
    with pytest.raises(ScanError, match="no channel 3; it has 3"):
        io.read(path, channel=3)
    io.write_mask(tmp_path / "m.nii.gz", scan.pixels > 5, scan)
    assert nib.load(tmp_path / "m.nii.gz").shape == body.shape
    assert io.read(make_nifti("t.nii", body[..., None, None])).axes == "ZYX"


def test_nan_and_infinity_become_background(make_nifti, body: NDArray) -> None:
    broken = body.copy()
    broken[0], broken[1, 0, 0] = np.nan, np.inf
    scan = io.read(make_nifti("n.nii", broken))
    assert np.isfinite(scan.pixels).all() and "57 values (17.0 %) are NaN" in scan.source.notes[0]
    with pytest.raises(ScanError, match="every value is NaN"):
        io.read(make_nifti("m.nii", np.full((3, 3, 3), np.nan, np.float32)))


def test_complex_and_colour_are_refused(make_nifti) -> None:
    with pytest.raises(ScanError, match="complex; save the magnitude"):
        io.read(make_nifti("c.nii", np.zeros((3, 3, 3), np.complex64)))
    colours = np.zeros((3, 3, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    with pytest.raises(ScanError, match="no grey values"):
        io.read(make_nifti("rgb.nii", colours))


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
def test_cut_short(make_nifti, body: NDArray, name: str) -> None:
    path = make_nifti(name, body)
    content = path.read_bytes()
    for size in np.linspace(1, len(content) - 5, 25).astype(int):
        path.write_bytes(content[:size])
        with pytest.raises(ScanError):
            io.read(path)


def test_a_damaged_gzip_is_noticed_by_its_checksum(make_nifti, body: NDArray) -> None:
    path = make_nifti("v.nii", body)
    packed = bytearray(gzip.compress(path.read_bytes(), 0))
    packed[len(packed) // 2] ^= 1
    path.write_bytes(packed)
    with pytest.raises(ScanError, match=r"CRC|damaged"):
        io.read(path)


def test_a_volume_bomb_is_refused_from_its_header(make_nifti) -> None:
    small = np.zeros((2, 2, 2), np.uint8)
    with pytest.raises(ScanError, match=r"30000x30000x30000 is .* above the limit"):
        io.read(make_nifti("b.nii.gz", small, dim=[3, 30000, 30000, 30000, 1, 1, 1, 1]))
    with pytest.raises(ScanError, match="impossible size -3x2x2"):
        io.read(make_nifti("b.nii.gz", small, dim=[3, -3, 2, 2, 1, 1, 1, 1]))


def test_library_samples_read_or_give_one_line() -> None:
    samples = sorted((Path(nib.__file__).parent / "tests" / "data").glob("*.nii*"))
    assert len(samples) >= 5
    axes = {}
    for path in samples:
        try:
            axes[path.name] = io.read(path).axes
        except ScanError as error:
            axes[path.name] = str(error)
            assert "\n" not in str(error)
    assert axes["anatomical.nii"] == axes["standard.nii.gz"] == "ZYX"
    assert "--channel 0 to 1" in axes["example4d.nii.gz"]


def test_real_volumes(shared_data: Path, tmp_path: Path) -> None:
    scans = sorted((shared_data / "progression").glob("*/*_Scan_T1.nii.gz"))
    assert len(scans) == 8
    for path in scans[:3]:
        scan = io.read(path)
        assert scan.axes == "ZYX" and scan.shape == (24, 256, 256) and scan.plane == "axial"
        mask = io.read(path.with_name(path.name.replace("Scan_T1", "Mask")))
        assert mask.shape == scan.shape
        io.write_mask(tmp_path / "m.nii.gz", mask.pixels > 0, scan)
        written, truth = nib.load(tmp_path / "m.nii.gz"), nib.load(path.with_name(path.name.replace("Scan_T1", "Mask")))
        assert np.array_equal(np.asarray(written.dataobj) > 0, np.asarray(truth.dataobj) > 0)
        assert np.array_equal(written.affine, truth.affine)
