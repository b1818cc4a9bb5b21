"""Exports and their way back: the same masks bit for bit, on grids and in tables that other commands take."""

import io as streams
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from tumorscope import io
from tumorscope.annotation import importing, rle
from tumorscope.annotation.archive import unpack
from tumorscope.annotation.export import FORMATS, Annotated, export_folder, export_zip, one_file
from tumorscope.annotation.records import Annotation, Edit, Lesion, ScanFacts
from tumorscope.datasets import manifest, phantom
from tumorscope.datasets.truth import read_mask
from tumorscope.errors import DataError, OutputError, ScanError
from tumorscope.evaluation.mask_scores import evaluate_masks, pairs_of
from tumorscope.scan import Grid, Scan, Source

AT = "2026-03-01T10:00:00Z"


def annotated(scan, *masks, decision="accepted", source="click", **facts):
    lesions = tuple(
        Lesion(mask=rle.encode_any(mask), source=source, edits=(Edit(kind="engine", time=AT, pixels=int(mask.sum())),))
        for mask in masks
    )
    record = Annotation(case_id="c", scan=ScanFacts.of(scan), lesions=lesions, decision=decision, annotator="ann")
    return Annotated(scan, record, facts)


def drawing(seed=1, size=64):
    """A phantom with a lesion and its mask, as a scan without a file."""
    made = phantom.make(seed, size=size, lesion="glioma")
    return Scan.of(made.image, name=f"{seed}.png"), made.mask


def volume(spacing=(3.0, 1.0, 1.0)):
    made = phantom.make_volume(3, (12, 48, 40), spacing)
    grid = Grid(made.image.shape, (0, 1, 2), (False,) * 3, made.affine)
    source = Source(Path("v.nii.gz"), "dicom")
    scan = Scan(made.image.astype(np.float32), "ZYX", grid, source, made.spacing, made.affine, "axial")
    return scan, made.mask


def taken(folder, **more):
    found = list(importing.read(folder, "me", **more))
    wrong = [one for one in found if isinstance(one, importing.Skipped)]
    assert not wrong, wrong
    return {one.path.name.split(".")[0]: one for one in found}


def pairs(scan, annotation):
    """Values of a scan, each another, with the number of the lesion that they belong to: whatever way it is laid."""
    return sorted(zip(scan.pixels.ravel().tolist(), annotation.label_map().ravel().tolist(), strict=True))


shapes = array_shapes(min_dims=2, max_dims=3, max_side=6)
stacks = shapes.flatmap(lambda shape: st.lists(arrays(bool, shape), min_size=1, max_size=3))


@settings(max_examples=12)
@given(stacks, st.booleans())
def test_what_is_exported_comes_back_bit_for_bit(masks, zipped):
    pixels = np.arange(masks[0].size, dtype=np.float32).reshape(masks[0].shape)
    item = annotated(Scan.of(pixels, name="0.png"), *masks)
    with TemporaryDirectory() as place:
        if zipped:
            export_zip([item], Path(place, "out.zip"))
            unpack(Path(place, "out.zip"), Path(place, "out"))
        else:
            export_folder([item], Path(place, "out"))
        (back,) = taken(Path(place, "out")).values()
        Path(place, "out", "manifest.csv").unlink()
        Path(place, "out", "annotations", "0.json").unlink()
        (of_coco,) = taken(Path(place, "out")).values()
    assert pairs(back.scan, back.annotation) == pairs(item.scan, item.annotation)
    held = annotated(item.scan, *(mask for mask in masks if mask.any())).annotation
    assert pairs(of_coco.scan, of_coco.annotation) == pairs(item.scan, held)
    if pixels.ndim == 2:
        assert back.annotation == item.annotation


def test_lesions_that_are_only_together_the_same_upside_down_come_back_each_in_its_place(tmp_path):
    pixels = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    above = np.zeros((3, 4, 5), bool)
    above[:, :2] = True
    item = annotated(Scan.of(pixels, name="stack.tif"), above, ~above)
    export_folder([item], tmp_path / "out")
    (back,) = taken(tmp_path / "out").values()
    assert pairs(back.scan, back.annotation) == pairs(item.scan, item.annotation)


@pytest.mark.parametrize("make", [drawing, volume])
def test_masks_come_back_without_their_records(make, tmp_path):
    scan, mask = make()
    export_folder([annotated(scan, mask, patient="p7")], tmp_path / "out")
    for record in (tmp_path / "out" / "annotations").iterdir():
        record.unlink()
    (back,) = taken(tmp_path / "out").values()
    assert np.array_equal(back.annotation.mask(), mask)
    assert back.annotation.mask_source == "click"
    assert (back.annotation.annotator, back.annotation.decision, back.facts["patient"]) == ("me", "accepted", "p7")


def test_masks_come_back_from_bare_folders_and_from_coco_alone(tmp_path):
    scan, mask = drawing()
    export_folder([annotated(scan, mask)], tmp_path / "out")
    for name in ("manifest.csv", "annotations/1.json", "arrays/1.npz"):
        (tmp_path / "out" / name).unlink()
    (of_coco,) = taken(tmp_path / "out").values()
    (tmp_path / "out" / "coco.json").unlink()
    (of_files,) = taken(tmp_path / "out").values()
    for back in (of_coco, of_files):
        assert np.array_equal(back.annotation.mask(), mask)
        assert back.annotation.mask_source is None


def test_a_volume_comes_back_from_coco_alone(tmp_path):
    scan, mask = volume()
    first, second = mask.copy(), mask.copy()
    first[:, :, 20:], second[:, :, :20] = False, False
    second[0, 0, 1] = True  # on an earlier slice than the first
    export_folder([annotated(scan, first, second)], tmp_path / "out")
    for name in ("manifest.csv", "annotations/v.json"):
        (tmp_path / "out" / name).unlink()
    (back,) = taken(tmp_path / "out").values()
    for lesion, drawn in zip(back.annotation.lesions, (first, second), strict=True):
        assert np.array_equal(lesion.pixels, drawn)


def test_train_and_evaluate_read_the_manifest(tmp_path):
    scan, mask = drawing()
    healthy = Scan.of(phantom.make(2, size=64).image, name="2.png")
    items = [annotated(scan, mask, patient="p1", group="g1"), annotated(healthy, decision="corrected", group="g2")]
    done = export_folder(items, tmp_path / "out")
    table = manifest.load(tmp_path / "out")
    rows = {row["id"]: row for row in table.iter_rows(named=True)}
    assert [rows[own]["label"] for own in ("1", "2")] == [1, 0]
    assert [rows[own]["mask_source"] for own in ("1", "2")] == ["click", "human"]
    assert rows["1"]["patient"] == "p1"
    assert rows["1"]["group"] != rows["2"]["group"]
    for own, held in (("1", mask), ("2", mask & False)):
        assert np.array_equal(read_mask(rows[own], scan.shape), held)
    scores = evaluate_masks(pairs_of(table, {"1": mask, "2": mask}), workers=1)
    assert scores["dice"].to_list() == [1.0, 0.0]
    assert done.table["path"].to_list() == table["path"].to_list()


def test_known_groups_stay(tmp_path):
    scan, mask = drawing()
    other = Scan.of(phantom.make(9, size=64).image, name="9.png")
    items = [annotated(scan, mask, group="doe", split="test", fold=2), annotated(other, group="doe")]
    export_folder(items, tmp_path / "out")
    table = manifest.read(tmp_path / "out" / "manifest.csv")
    assert table.select("group", "split", "fold").rows() == [("doe", "test", 2), ("doe", None, None)]


def test_the_files_hold_what_they_should(tmp_path):
    scan, mask = drawing()
    scan = replace(scan, spacing=(0.9, 0.8))
    second = np.zeros_like(mask)
    second[2:4, 3:7] = True
    export_folder([annotated(scan, mask, second)], tmp_path)
    stored = np.asarray(Image.open(tmp_path / "masks" / "1.png"))
    assert np.array_equal(stored, np.where(mask | second, 255, 0))
    held = np.load(tmp_path / "arrays" / "1.npz")
    assert (held["image"].dtype, held["mask"].dtype, held["spacing"].tolist()) == (
        np.float32,
        np.uint8,
        [0.9, 0.8],
    )
    assert np.array_equal(held["image"], scan.pixels)
    assert np.array_equal(held["mask"] == 2, second)
    file = json.loads((tmp_path / "coco.json").read_text())
    assert file["images"] == [{"id": 1, "file_name": "images/1.png", "width": 64, "height": 64}]
    box = file["annotations"][1]
    assert (box["bbox"], box["area"], box["image_id"]) == ([3, 2, 4, 2], 8, 1)
    assert np.array_equal(rle.decode(box["segmentation"]), second)


def test_a_mask_lies_on_the_grid_and_affine_of_a_nifti_input(tmp_path):
    made = phantom.make_volume(3, (12, 48, 40), (3.0, 1.0, 1.2))
    image = nib.Nifti1Image(made.image.transpose(2, 1, 0), made.affine[:, [2, 1, 0, 3]])
    image.header["descrip"] = b"Jane Doe 1970"
    image.header.set_xyzt_units("mm")
    nib.save(image, tmp_path / "doe.nii.gz")
    image = nib.load(tmp_path / "doe.nii.gz")
    scan = io.read(tmp_path / "doe.nii.gz")
    mask = np.zeros(scan.shape, bool)
    mask[3:5, 10:20, 8:15] = True
    export_folder([annotated(scan, mask, id="case 1")], tmp_path / "out")
    for part in ("images", "masks"):
        written = nib.load(tmp_path / "out" / part / "case 1.nii.gz")
        assert written.shape == image.shape
        assert np.array_equal(written.affine, image.affine)
        assert b"Jane" not in written.header.binaryblock
    assert np.array_equal(nib.load(tmp_path / "out" / "images" / "case 1.nii.gz").get_fdata(), image.get_fdata())
    assert np.array_equal(io.read(tmp_path / "out" / "masks" / "case 1.nii.gz").pixels > 0, mask)


def test_a_record_follows_a_volume_whose_axes_are_laid_out_anew(tmp_path):
    """A sagittal DICOM series of cubes is read back from its NIfTI as axial slices."""
    affine = np.array([[1.0, 0, 0, -3], [0, 0, -1, 4], [0, -1, 0, 5], [0, 0, 0, 1]])
    pixels = np.random.default_rng(0).random((10, 9, 8)).astype(np.float32)
    scan = Scan(pixels, "ZYX", Grid(pixels.shape, (0, 1, 2), (False,) * 3, affine), Source(Path("s"), "dicom"),
                (1.0, 1.0, 1.0), affine, "sagittal")  # fmt: skip
    mask = pixels > 0.8
    export_folder([annotated(scan, mask)], tmp_path / "out")
    (back,) = taken(tmp_path / "out").values()
    assert back.scan.shape == (9, 8, 10)
    assert np.array_equal(back.annotation.mask(), back.scan.pixels > 0.8)
    assert back.annotation.scan.shape == back.scan.shape
    export_folder([Annotated(back.scan, back.annotation)], tmp_path / "again")


@pytest.mark.parametrize(
    ("pixels", "suffix"),
    [
        (np.arange(256).reshape(16, 16), ".png"),
        (np.arange(256).reshape(16, 16) * 200, ".png"),
        (np.arange(256).reshape(16, 16) - 50, ".tif"),
        (np.arange(256).reshape(16, 16) / 7, ".tif"),
        (np.arange(256).reshape(16, 16) * 1e5, ".tif"),
        (np.zeros((1, 1)), ".png"),
    ],
)
def test_a_scan_without_a_file_is_kept_without_loss(pixels, suffix, tmp_path):
    scan = Scan.of(pixels, name="x.dcm")
    export_folder([annotated(scan)], tmp_path)
    (image,) = (tmp_path / "images").iterdir()
    assert image.suffix == suffix
    assert np.array_equal(io.read(image).pixels, scan.pixels)


def test_a_raster_file_is_copied(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    scan = io.read(tmp_path / "a.png", channel=1)
    mask = np.zeros(scan.shape, bool)
    mask[2:5, 3:9] = True
    export_folder([annotated(scan, mask, channel=1)], tmp_path / "out")
    assert (tmp_path / "out" / "images" / "a.png").read_bytes() == (tmp_path / "a.png").read_bytes()
    (back,) = taken(tmp_path / "out").values()
    assert back.facts["channel"] == 1
    assert np.array_equal(back.scan.pixels, scan.pixels)


@pytest.mark.parametrize("orientation", [2, 5, 6])
def test_a_turned_file_is_laid_upright_for_readers_that_pass_over_its_tag(orientation, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    tag = Image.Exif()
    tag[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=tag, quality=90)
    scan = io.read(tmp_path / "a.jpg")
    mask = np.zeros(scan.shape, bool)
    mask[2:5, 3:9] = True
    export_folder([annotated(scan, mask)], tmp_path / "out")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "images" / "a.png")), scan.pixels)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "masks" / "a.png")) > 0, mask)
    (back,) = taken(tmp_path / "out").values()
    assert np.array_equal(back.annotation.mask(), mask)


def test_a_scan_that_was_changed_after_reading_is_written_as_it_was_annotated(tmp_path):
    io.write_image(tmp_path / "a.png", np.arange(200, dtype=np.uint8).reshape(10, 20))
    scan = io.read(tmp_path / "a.png")
    enhanced = replace(scan, pixels=scan.pixels + 1)
    export_folder([annotated(enhanced)], tmp_path / "out")
    (back,) = taken(tmp_path / "out").values()
    assert np.array_equal(back.scan.pixels, enhanced.pixels)


def test_a_channel_that_no_fact_names_is_written_for_itself(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "c.png")
    chosen = io.read(tmp_path / "c.png", channel=2)
    export_folder([annotated(chosen)], tmp_path / "out")
    assert np.array_equal(io.read(tmp_path / "out" / "images" / "c.png").pixels, pixels[..., 2])


def test_what_is_not_decided_is_left_out_with_a_note(tmp_path):
    scan, mask = drawing()
    items = [annotated(scan, mask), annotated(scan, mask, decision="open"), annotated(scan, mask, decision="rejected")]
    done = export_folder(items, tmp_path / "out")
    assert done.table.height == 1
    assert [word in line for word, line in zip(("open", "rejected"), done.left_out, strict=True)] == [True, True]
    with pytest.raises(DataError, match="no accepted"):
        export_folder(items[1:], tmp_path / "none")
    with pytest.raises(DataError, match="no accepted"):
        export_zip([], streams.BytesIO())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_several_channels_are_left_out_and_leave_no_file(tmp_path):
    scan, mask = drawing()
    coloured = Scan(np.stack([scan.pixels] * 2), "CYX", scan.grid, Source(Path("two.png"), "array"))
    done = export_folder([annotated(scan, mask), annotated(coloured)], tmp_path / "out")
    assert "channels" in done.left_out[0]
    assert not list((tmp_path / "out").rglob("two*"))


def test_names_are_fit_for_files_and_unlike(tmp_path):
    scan, mask = drawing()
    names = ["a", "A", "a", "../../etc/passwd", "b/c", ".hidden", "x" * 500, "Zoë é", "n\nl"]
    done = export_folder([annotated(scan, mask, id=name) for name in names], tmp_path / "out")
    ids = done.table["id"].to_list()
    assert ids[:3] == ["a", "A-2", "a-3"]
    assert ids[7] == "Zoë é"
    assert len({own.casefold() for own in ids}) == len(names)
    for path in (tmp_path / "out").rglob("*"):
        assert path.resolve().is_relative_to(tmp_path / "out")
        assert len(path.name.encode()) <= 255
    assert len(taken(tmp_path / "out")) == len(names)


def test_a_failure_leaves_nothing_and_a_full_folder_is_kept(tmp_path):
    scan, mask = drawing()

    def breaking():
        yield annotated(scan, mask)
        raise KeyboardInterrupt

    for write, target in ((export_folder, "out"), (export_zip, "out.zip")):
        with pytest.raises(KeyboardInterrupt):
            write(breaking(), tmp_path / target)
        assert not list(tmp_path.iterdir())
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "mine.txt").write_text("x")
    with pytest.raises(OutputError, match="holds something"):
        export_folder([annotated(scan, mask)], tmp_path / "kept")
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["mine.txt"]


def test_parts_may_be_left_out_and_unknown_ones_are_named(tmp_path):
    scan, mask = drawing()
    export_folder([annotated(scan, mask)], tmp_path / "out", parts=["coco"])
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["annotations", "coco.json", "images", "manifest.csv", "masks"]
    with pytest.raises(DataError, match="did you mean 'coco'"):
        export_folder([annotated(scan, mask)], tmp_path / "other", parts=["cocoa"])
    with pytest.raises(DataError, match="column of a manifest"):
        annotated(scan, mask, patients="x")
    with pytest.raises(DataError, match="64x64"):
        Annotated(Scan.of(np.zeros((3, 3))), annotated(scan, mask).annotation)


def test_a_zip_is_the_same_bytes_again(tmp_path):
    items = [annotated(*drawing()), annotated(*volume())]
    made = []
    for _ in range(2):
        stream = streams.BytesIO()
        export_zip(items, stream)
        made.append(stream.getvalue())
    assert made[0] == made[1]
    with zipfile.ZipFile(streams.BytesIO(made[0])) as archive:
        assert archive.testzip() is None
        assert "masks/v.nii.gz" in archive.namelist()


@pytest.mark.parametrize("form", FORMATS)
def test_one_annotation_as_one_file(form, tmp_path):
    scan, mask = volume() if form == "nifti" else drawing()
    item = annotated(scan, mask, decision="open")
    name, content = one_file(item, form)
    path = tmp_path / name
    path.write_bytes(content)
    if form in ("png", "nifti"):
        assert np.array_equal(io.read(path).pixels > 0, mask)
    elif form == "npz":
        assert np.array_equal(np.load(path)["mask"] > 0, mask)
    elif form == "json":
        assert Annotation.from_dict(json.loads(content)) == item.annotation
    else:
        assert json.loads(content)["annotations"][0]["area"] == mask.sum()


def test_a_volume_is_no_png_and_an_unknown_form_is_named():
    with pytest.raises(ScanError, match="PNG"):
        one_file(annotated(*volume()), "png")
    with pytest.raises(DataError, match="form"):
        one_file(annotated(*drawing()), "gif")
