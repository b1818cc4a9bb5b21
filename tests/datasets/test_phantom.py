from __future__ import annotations

import time
from dataclasses import fields
from itertools import product

import cv2
import nibabel
import numpy as np
import polars as pl
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorscope import io
from tumorscope.datasets import manifest, phantom
from tumorscope.datasets.phantom import make, make_volume
from tumorscope.datasets.phantom_anatomy import Canvas, Tissue
from tumorscope.datasets.phantom_lesions import LESIONS
from tumorscope.datasets.phantom_scanner import CONTRASTS, PLANES
from tumorscope.datasets.phantom_shapes import Points, Waves, ellipsoid, tube, union
from tumorscope.errors import DataError, OutputError

SICK = (Tissue.OEDEMA, Tissue.TUMOR, Tissue.RIM, Tissue.NECROSIS)
seeds = st.integers(0, 2**31)
planes = st.sampled_from(PLANES)
contrasts = st.sampled_from(CONTRASTS)


def around(scan: phantom.Phantom, width: int = 9) -> np.ndarray:
    """Pixels of the brain next to the lesion."""
    grown = cv2.dilate(scan.mask.astype(np.uint8), np.ones((width, width), np.uint8)).astype(bool)
    return grown & ~scan.mask & scan.brain


def share(scan: phantom.Phantom, tissue: Tissue) -> float:
    return float((scan.tissues == tissue).sum() / scan.brain.sum())


class TestSeed:
    @pytest.mark.parametrize("lesion", [None, "glioma"])
    def test_same_seed_same_bytes(self, lesion):
        first, second = (make(11, "coronal", "t2", 96, lesion) for _ in range(2))
        assert first.params == second.params
        for name in (field.name for field in fields(first)):
            np.testing.assert_array_equal(getattr(first, name), getattr(second, name))

    def test_another_seed_another_head(self):
        assert not np.array_equal(make(1, size=64, offset=20).head, make(2, size=64, offset=20).head)

    @given(seeds, planes)
    @settings(deadline=None, max_examples=10)
    def test_one_seed_is_one_head_in_every_contrast(self, seed, plane):
        tissues = [make(seed, plane, contrast, 64).tissues for contrast in CONTRASTS]
        for other in tissues[1:]:
            np.testing.assert_array_equal(other, tissues[0])

    def test_planes_show_one_head(self):
        # the line where an axial and a coronal slice meet, noise, shading and tilt apart: the same width of head
        for seed in range(6):
            axial = make(seed, "axial", size=128, offset=15.0).head
            coronal = make(seed, "coronal", size=128, offset=0.0).head
            wide, high = axial.any(axis=0).sum(), coronal[:64].any(axis=0).sum()
            assert abs(int(wide) - int(high)) <= 0.12 * wide


class TestHealthy:
    @given(seeds, planes, contrasts)
    @settings(deadline=None, max_examples=25)
    def test_has_no_lesion(self, seed, plane, contrast):
        scan = make(seed, plane, contrast, 64)
        assert scan.label == 0
        assert not scan.mask.any()
        assert not np.isin(scan.tissues, SICK).any()

    @given(seeds, planes)
    @settings(deadline=None, max_examples=25)
    def test_brain_lies_in_the_head_and_the_head_in_the_picture(self, seed, plane):
        scan = make(seed, plane, size=96)
        assert not (scan.brain & ~scan.head).any()
        assert 0.1 < scan.head.mean() < 0.75
        assert 0.25 < scan.brain.sum() / scan.head.sum() < 0.95
        assert not scan.head[0].any()
        assert not scan.head[:, [0, -1]].any()

    def test_a_mid_brain_slice_holds_all_tissues_in_plausible_shares(self):
        shares = {tissue: [] for tissue in Tissue}
        for seed in range(12):
            scan = make(seed, "axial", "t1", 128, offset=10.0)
            for tissue in Tissue:
                shares[tissue].append(share(scan, tissue))
        assert 0.2 < np.mean(shares[Tissue.GREY]) < 0.5
        assert 0.25 < np.mean(shares[Tissue.WHITE]) < 0.65
        assert 0.05 < np.mean(shares[Tissue.CSF]) < 0.3
        assert min(shares[Tissue.DEEP]) > 0.005

    @pytest.mark.parametrize(
        ("contrast", "rising"),
        [
            ("t1", (Tissue.CSF, Tissue.GREY, Tissue.WHITE, Tissue.FAT)),
            ("t1ce", (Tissue.CSF, Tissue.GREY, Tissue.WHITE, Tissue.VESSEL)),
            ("t2", (Tissue.BONE, Tissue.WHITE, Tissue.GREY, Tissue.CSF)),
            ("flair", (Tissue.CSF, Tissue.WHITE, Tissue.GREY, Tissue.FAT)),
            ("pd", (Tissue.BONE, Tissue.WHITE, Tissue.GREY)),
        ],
    )
    def test_contrasts_order_the_tissues_as_mri_does(self, contrast, rising):
        scan = make(4, "axial", contrast, offset=12.0, noise=0.005, bias=0.0)
        brightness = []
        for tissue in rising:
            core = cv2.erode((scan.tissues == tissue).astype(np.uint8), np.ones((2, 2), np.uint8)).astype(bool)
            brightness.append(np.median(scan.image[core]))
        assert brightness == sorted(brightness)
        assert len(set(brightness)) == len(brightness)

    def test_eyes_in_low_axial_slices_only(self):
        low, high = (make(3, "axial", "t2", offset=offset) for offset in (-27.0, 30.0))
        assert (low.tissues == Tissue.EYE).sum() > 200
        assert not (high.tissues == Tissue.EYE).any()
        rows = np.flatnonzero((low.tissues == Tissue.EYE).any(axis=1))
        assert rows.max() < low.image.shape[0] / 2  # the face looks up

    def test_ventricles_brighten_from_flair_to_t2(self):
        for seed in range(4):
            flair, t2 = (make(seed, "axial", contrast, offset=14.0) for contrast in ("flair", "t2"))
            fluid = (t2.tissues == Tissue.CSF) & (flair.tissues == Tissue.CSF)
            assert t2.image[fluid].mean() > 3 * flair.image[fluid].mean()


class TestLesion:
    @given(seeds, planes, contrasts, st.sampled_from(LESIONS))
    @settings(deadline=None, max_examples=80)
    def test_lies_in_the_skull_and_agrees_with_the_label(self, seed, plane, contrast, lesion):
        scan = make(seed, plane, contrast, 96, lesion)
        assert scan.label == 1
        assert scan.mask.any()
        assert not (scan.mask & ~scan.brain).any()
        assert scan.mask.sum() < 0.4 * scan.brain.sum()

    @pytest.mark.parametrize(("lesion", "plane"), list(product(LESIONS, PLANES)))
    def test_can_be_seen(self, lesion, plane):
        for seed in range(8):
            contrast = CONTRASTS[seed % len(CONTRASTS)]
            scan = make(seed, plane, contrast, 128, lesion)
            near = scan.image[around(scan)].astype(float) / 255
            parts = [scan.mask & (scan.tissues == tissue) for tissue in SICK]
            gaps = [np.median(np.abs(scan.image[part].mean() / 255 - near)) for part in parts if part.sum() >= 10]
            assert max(gaps) > 1.4 * scan.params["noise"], (seed, contrast)

    @pytest.mark.parametrize("contrast", CONTRASTS)
    def test_mask_takes_in_the_oedema_where_it_cannot_be_told_apart(self, contrast):
        scan = make(8, "axial", contrast, lesion="glioma", offset=25.0)
        oedema = scan.tissues == Tissue.OEDEMA
        assert oedema.sum() > 100
        inside = (scan.mask & oedema).sum() / oedema.sum()
        assert inside > 0.7 if contrast in ("t2", "flair", "pd") else inside < 0.1

    def test_meningioma_sits_on_the_dura(self):
        for seed, plane in product(range(6), PLANES):
            scan = make(seed, plane, "t1ce", 128, "meningioma")
            gap = cv2.distanceTransform(scan.brain.astype(np.uint8), cv2.DIST_L2, 5)[scan.mask].min()
            assert gap * scan.params["pixel_mm"] < 4.0

    def test_meningioma_is_bright_and_even_after_contrast(self):
        for seed in range(6):
            scan = make(seed, "axial", "t1ce", 128, "meningioma", noise=0.01, bias=0.0)
            inside = scan.image[cv2.erode(scan.mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)]
            grey = scan.image[scan.tissues == Tissue.GREY]
            assert np.median(inside) > 1.5 * np.median(grey)
            assert inside.std() < 0.1 * inside.mean()

    def test_glioma_has_a_bright_rim_around_a_dark_core(self):
        enhancing = 0
        for seed in range(8, 18):
            scan = make(seed, "axial", "t1ce", 128, "glioma", noise=0.01)
            rim, core, dull = (scan.tissues == tissue for tissue in (Tissue.RIM, Tissue.NECROSIS, Tissue.TUMOR))
            assert rim.any() != dull.any()  # a low-grade glioma does not enhance
            enhancing += int(rim.any())
            if core.sum() > 60:
                assert np.median(scan.image[rim]) > 2 * np.median(scan.image[core])
                assert scan.mask[core].all()
        assert 4 <= enhancing < 10

    def test_metastases_are_small_and_often_several(self):
        counts, areas = [], []
        for seed in range(16):
            scan = make(seed, "axial", "t1ce", 128, "metastasis")
            number, _, stats, _ = cv2.connectedComponentsWithStats(scan.mask.astype(np.uint8))
            counts.append(number - 1)
            areas += (stats[1:, cv2.CC_STAT_AREA] * scan.params["pixel_mm"] ** 2).tolist()
        assert min(counts) == 1
        assert max(counts) >= 3
        assert np.median(areas) < np.pi * 9**2  # a round spot of the largest radius; two that touch count as one

    def test_pituitary_tumour_is_midline_and_low(self):
        for seed in range(6):
            scan = make(seed, "coronal", "t1ce", lesion="pituitary")
            rows, columns = np.nonzero(scan.mask)
            head = np.flatnonzero(scan.brain[rows.min()])
            brain_rows = np.flatnonzero(scan.brain.any(axis=1))
            assert abs(columns.mean() - head.mean()) < 0.15 * np.ptp(head)
            assert rows.mean() > np.quantile(brain_rows, 0.6)

    def test_radius_is_kept(self):
        for wanted in (8.0, 14.0):
            areas = [
                make(seed, "axial", "t1ce", 128, "glioma", radius=wanted, offset=30.0).mask.sum() for seed in range(8)
            ]
            found = np.sqrt(np.mean(areas) * (236 / 128) ** 2 / np.pi)
            assert found == pytest.approx(wanted, rel=0.25)

    def test_pushes_its_surroundings_aside_and_leaves_the_skull(self):
        healthy, sick = (make(6, "axial", "t1", lesion=lesion, offset=25.0) for lesion in (None, "glioma"))
        np.testing.assert_array_equal(healthy.head, sick.head)
        np.testing.assert_array_equal(healthy.brain, sick.brain)
        near = around(sick, 15)
        assert (healthy.tissues[near] != sick.tissues[near]).mean() > 0.1


class TestScanner:
    def test_noise_is_rician(self):
        # without signal, Rician noise is a Rayleigh distribution: mean sigma * sqrt(pi / 2)
        scan = make(5, noise=0.03, bits=16, offset=20.0)
        corner = scan.image[:25, :25] / 4095 * 1.05
        assert corner.mean() == pytest.approx(0.03 * np.sqrt(np.pi / 2), rel=0.05)
        assert corner.std() == pytest.approx(0.03 * np.sqrt(2 - np.pi / 2), rel=0.08)

    def test_bias_shades(self):
        even, shaded = (make(5, bias=bias, noise=0.0, bits=16, offset=20.0) for bias in (0.0, 0.15))
        ratio = shaded.image[even.brain] / np.maximum(even.image[even.brain], 1.0)
        assert np.ptp(np.quantile(ratio, [0.02, 0.98])) > 0.05
        np.testing.assert_array_equal(even.tissues, shaded.tissues)

    def test_bit_depths_show_the_same(self):
        eight, sixteen = make(5, bits=8), make(5, bits=16)
        assert (eight.image.dtype, sixteen.image.dtype) == (np.uint8, np.uint16)
        assert sixteen.image.max() <= 4095
        assert np.abs(eight.image / 255 - sixteen.image / 4095).max() < 0.0021

    @pytest.mark.parametrize("size", [16, 33, 127])
    def test_any_size(self, size):
        scan = make(2, "sagittal", "flair", size, "glioma")
        for array in (scan.image, scan.mask, scan.tissues, scan.brain, scan.head):
            assert array.shape == (size, size)
        assert scan.params["pixel_mm"] == pytest.approx(236 / size)

    def test_a_slice_takes_some_milliseconds(self):
        spent = []
        for seed in range(6):
            start = time.process_time()
            make(seed, lesion="glioma")
            spent.append(time.process_time() - start)
        assert min(spent) < 0.2  # some 0.03 s on a free core; a guard against a step that loops over pixels


class TestVolume:
    def test_is_deterministic_and_shaped_as_asked(self):
        first, second = (make_volume(3, (10, 40, 50), (12.0, 5.0, 4.0)) for _ in range(2))
        assert first.image.shape == first.mask.shape == (10, 40, 50)
        assert first.spacing == (12.0, 5.0, 4.0)
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_array_equal(first.mask, second.mask)

    def test_affine_puts_the_head_around_the_origin_with_its_own_spacing(self):
        volume = make_volume(3, (16, 60, 50), (9.0, 3.5, 4.0))
        np.testing.assert_allclose(np.linalg.norm(volume.affine[:3, :3], axis=0), volume.spacing)
        # slices go up, rows to the back, columns to the left
        assert volume.affine[2, 0] > 0
        assert volume.affine[1, 1] < 0
        assert volume.affine[0, 2] < 0
        head = np.argwhere(volume.image > 800).mean(axis=0)
        assert np.abs((volume.affine @ [*head, 1])[:3]).max() < 20

    @pytest.mark.parametrize("lesion", LESIONS)
    def test_lesion_spans_slices_and_ends(self, lesion):
        volume = make_volume(2, (32, 64, 64), (4.5, 3.3, 3.3), lesion=lesion)
        touched = np.flatnonzero(volume.mask.any(axis=(1, 2)))
        assert 1 <= touched.size < 24
        assert not volume.mask[0].any()
        assert not volume.mask[-1].any()

    def test_healthy_has_an_empty_mask(self):
        assert not make_volume(2, (6, 32, 32), (20.0, 7.0, 7.0), lesion=None).mask.any()


class TestDemo:
    @pytest.fixture(scope="class")
    @staticmethod
    def demo(tmp_path_factory):
        return phantom.write_demo(tmp_path_factory.mktemp("demo") / "new folder")

    def test_every_file_is_read_as_what_it_is(self, demo):
        assert {io.sniff(path) for path in demo} == {"png", "jpeg", "tiff", "dicom", "nifti"}
        scans = [io.read(path) for path in demo]
        assert [scan.is_volume for scan in scans] == [False] * 8 + [True]
        assert {scan.source.bits for scan in scans} >= {8, 16}
        assert sum("healthy" in path.name for path in demo) == 4
        for scan in scans:
            assert np.isfinite(scan.pixels).all()
            assert scan.pixels.std() > 0

    def test_names_tell_the_truth(self, demo):
        for name, plane, contrast, lesion, seed, offset, _ in phantom._DEMO:
            scan = make(seed, plane, contrast, 128, lesion, offset=offset)
            assert name.split(".")[0] == f"{plane}_{contrast}_{lesion or 'healthy'}"
            assert scan.label == (lesion is not None)
            assert scan.mask.sum() * scan.params["pixel_mm"] ** 2 > (100 if lesion else -1)

    def test_dicom_holds_the_pixels_and_nobody(self, demo):
        path = next(path for path in demo if path.suffix == ".dcm")
        data = pydicom.dcmread(path)
        assert str(data.PatientName) == data.PatientID == "PHANTOM"
        assert "PatientBirthDate" not in data
        assert "InstitutionName" not in data
        scan = make(4, "axial", "t1ce", offset=20.0, bits=16)
        np.testing.assert_array_equal(io.read(path).pixels, scan.image)
        assert io.read(path).spacing == pytest.approx((236 / 256, 236 / 256), rel=1e-5)

    def test_volume_lies_on_its_affine(self, demo):
        volume = make_volume(phantom._DEMO_VOLUME[1])
        stored = nibabel.load(demo[-1])
        assert nibabel.aff2axcodes(stored.affine) == ("L", "P", "S")
        scan = io.read(demo[-1])
        np.testing.assert_array_equal(scan.pixels, volume.image)
        assert scan.spacing == pytest.approx(volume.spacing)
        np.testing.assert_allclose(scan.affine, volume.affine, atol=1e-4)

    def test_is_the_same_bytes_again(self, demo, tmp_path):
        for first, second in zip(demo, phantom.write_demo(tmp_path), strict=True):
            assert first.read_bytes() == second.read_bytes(), first.name

    def test_a_file_in_the_way_is_named(self, tmp_path):
        (tmp_path / phantom._DEMO[0][0]).mkdir()
        with pytest.raises(OutputError, match=phantom._DEMO[0][0]):
            phantom.write_demo(tmp_path)


class TestDataset:
    def test_becomes_a_manifest(self, tmp_path):
        table = manifest.build(phantom.write_dataset(tmp_path, 6, seed=2, size=48))
        assert table.height == 6
        assert sorted(table["label"]) == [0, 0, 0, 1, 1, 1]
        assert set(table["mask_source"]) == {"phantom"}
        assert table["patient"].n_unique() == 6
        assert table.filter(pl.col("label") == 1)["tumor_type"].null_count() == 0
        for row in table.iter_rows(named=True):
            mask = io.read(row["mask_path"]).pixels
            assert set(np.unique(mask)) <= {0, 255}
            assert mask.any() == bool(row["label"])
            assert mask.shape == io.read(row["path"]).shape == (48, 48)

    def test_class_folders_without_masks(self, tmp_path):
        table = manifest.build(phantom.write_dataset(tmp_path, 5, masks=False, size=48))
        assert sorted(table["label"]) == [0, 0, 0, 1, 1]
        assert table["mask_path"].null_count() == 5

    def test_same_seed_same_bytes_and_another_shares_no_head(self, tmp_path):
        folders = [phantom.write_dataset(tmp_path / str(k), 4, seed, size=48) for k, seed in enumerate((1, 1, 2))]
        one, same, other = (
            {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*.*"))} for folder in folders
        )
        assert one == same
        assert not {p.name for p in one if p.suffix == ".png"} & {p.name for p in other if p.suffix == ".png"}


class TestInput:
    @pytest.mark.parametrize(
        ("arguments", "finding"),
        [
            ({"plane": "axail"}, "did you mean 'axial'"),
            ({"contrast": "t1c"}, "unknown contrast"),
            ({"lesion": "gliom"}, "did you mean 'glioma'"),
            ({"size": 8}, "16 or more"),
            ({"bits": 12}, "8 or 16"),
        ],
    )
    def test_wrong_argument_is_named(self, arguments, finding):
        with pytest.raises(DataError, match=finding):
            make(0, **arguments)

    def test_wrong_volume_is_named(self):
        with pytest.raises(DataError, match="positive"):
            make_volume(0, shape=(0, 10, 10))
        with pytest.raises(DataError, match="lesion"):
            make_volume(0, lesion="tumor")

    def test_empty_data_set_is_named(self, tmp_path):
        with pytest.raises(DataError, match="1 or more"):
            phantom.write_dataset(tmp_path, 0)


def line(*x: float) -> Points:
    axis = np.array([x], np.float32)
    return Points(axis, axis * 0, axis * 0)


class TestShapes:
    def test_sphere_distances_are_exact(self):
        np.testing.assert_allclose(ellipsoid(line(0, 3, 5, 7), (0, 0, 0), (5, 5, 5)), [[-5, -2, 0, 2]], atol=1e-5)

    def test_ellipsoid_is_zero_on_its_surface(self):
        np.testing.assert_allclose(ellipsoid(line(2, 6), (4, 0, 0), (2, 3, 9)), [[0, 0]], atol=1e-5)

    def test_tube_widens_along_its_path(self):
        distance = tube(line(0, 10), [(0, 4, 0, 1), (10, 4, 0, 3)])
        np.testing.assert_allclose(distance, [[3, 1]], atol=1e-5)

    def test_what_a_slice_does_not_meet_costs_no_array(self):
        assert ellipsoid(line(0, 1), (0, 90, 0), (5, 5, 5)).ndim == 0
        assert tube(line(0, 1), [(0, 90, 0, 1), (0, 99, 0, 1)]).ndim == 0

    @given(st.floats(-20, 20), st.floats(-20, 20), st.floats(0.5, 10))
    @settings(deadline=None, max_examples=60)
    def test_union_is_the_smaller_one_but_for_the_seam(self, first, second, smooth):
        joined = float(union(np.float32(first), np.float32(second), smooth))
        assert min(first, second) - smooth / 4 - 1e-4 <= joined <= min(first, second) + 1e-4

    def test_windows_hide_nothing_near_a_shape(self):
        rows, columns = np.meshgrid(np.arange(-60, 60, 1.0), np.arange(-60, 60, 1.0), indexing="ij")
        rows, columns = rows.astype(np.float32), columns.astype(np.float32)
        turned = Points(0.8 * rows - 0.6 * columns, 0.6 * rows + 0.8 * columns, rows * 0 + 2)
        near = ellipsoid(turned, (10, -20, 0), (6, 9, 7))
        full = ellipsoid(turned, (10, -20, 0), (6, 9, 7), reach=1e4)
        np.testing.assert_allclose(near[full < 4], full[full < 4])

    def test_waves_have_unit_variance_and_sampling_them_sparsely_changes_little(self):
        rows, columns = np.meshgrid(np.arange(240.0), np.arange(240.0), indexing="ij")
        x, y, z = rows.astype(np.float32), columns.astype(np.float32), np.zeros((240, 240), np.float32)
        waves = Waves(np.random.default_rng(0), 30.0, 30)
        sparse = waves(x, y, z)
        assert sparse.std() == pytest.approx(1, abs=0.25)
        exact = np.array([waves(x[:2, k : k + 2], y[:2, k : k + 2], z[:2, :2])[1, 1] for k in range(20, 200)])
        assert np.abs(exact - sparse[1, 21:201]).max() < 0.25

    def test_paint_blends_over_one_pixel(self):
        canvas = Canvas((1, 5), {Tissue.AIR: 0.0, Tissue.FAT: 1.0}, pixel=2.0)
        canvas.paint(np.array([[-3, -0.5, 0, 0.5, 3]], np.float32), Tissue.FAT)
        np.testing.assert_allclose(canvas.image, [[1, 0.75, 0.5, 0.25, 0]])
        assert canvas.tissues.tolist() == [[Tissue.FAT, Tissue.FAT, 0, 0, 0]]
