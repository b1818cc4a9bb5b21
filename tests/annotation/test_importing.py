"""Masks from elsewhere: what is taken, what is refused and why, and that nothing outside the folder is read."""

import json

import numpy as np
import pytest
from PIL import Image

from tumorscope import io
from tumorscope.annotation import importing, rle
from tumorscope.annotation.coco import mask_of
from tumorscope.annotation.export import Annotated, export_folder
from tumorscope.annotation.records import Annotation, Lesion, ScanFacts
from tumorscope.datasets import manifest, phantom
from tumorscope.errors import DataError

HEAD = phantom.make(1, size=64, lesion="glioma")


def folder(place, mask, image=HEAD.image):
    """A bare folder with one scan and its mask."""
    io.write_image(place / "images" / "a.png", image)
    if mask is not None:
        io.write_image(place / "masks" / "a.png", np.asarray(mask, np.uint8))
    return place


def first(place, **more):
    return next(iter(importing.read(place, "me", **more)))


def row(place, **more):
    """A manifest of one row beside a bare folder."""
    lines = {"id": "a", "path": "images/a.png", "mask_path": "masks/a.png", **more}
    (place / "manifest.csv").write_text(f"{','.join(lines)}\n{','.join(str(value) for value in lines.values())}\n")
    return place


@pytest.mark.parametrize("high", [1, 255, 90])
def test_whatever_the_file_calls_marked_is_the_same_mask(high, tmp_path):
    found = first(folder(tmp_path, HEAD.mask * high))
    assert np.array_equal(found.annotation.mask(), HEAD.mask)
    assert (found.annotation.annotator, found.annotation.decision) == ("me", "accepted")
    assert found.annotation.lesions[0].edits[0].kind == "import"


def test_grey_rims_follow_the_rule_of_the_data_sets_and_are_noted(tmp_path):
    rims = np.asarray(Image.fromarray(HEAD.mask.astype(np.uint8) * 255).resize((32, 32), Image.Resampling.BILINEAR))
    rims = np.asarray(Image.fromarray(rims).resize((64, 64), Image.Resampling.BILINEAR))
    found = first(folder(tmp_path, rims))
    assert np.array_equal(found.annotation.mask(), rims > rims.max() / 2)
    assert "rims" in found.annotation.note


def classes():
    drawn = np.zeros((64, 64), np.uint8)
    drawn[20:30, 20:30], drawn[35:45, 35:45] = 1, 2
    return drawn


@pytest.mark.parametrize(
    ("mask", "word"),
    [
        (np.full((64, 64), 255), "every pixel"),
        (~HEAD.head * 255, "background"),
        (HEAD.mask[:32] * 255, "64"),
        (classes(), "values"),
    ],
)
def test_a_mask_that_cannot_be_meant_is_refused_with_its_reason(mask, word, tmp_path):
    found = first(row(folder(tmp_path, mask)))
    assert isinstance(found, importing.Skipped)
    assert word in found.error
    assert str(tmp_path) not in found.error


@pytest.mark.parametrize(("label", "mask", "word"), [(1, HEAD.mask * 0, "empty"), (0, HEAD.mask * 255, "label is 0")])
def test_a_mask_that_contradicts_its_label_is_refused(label, mask, word, tmp_path):
    found = first(row(folder(tmp_path, mask), label=label))
    assert isinstance(found, importing.Skipped)
    assert word in found.error


def test_a_black_mask_is_a_healthy_scan(tmp_path):
    found = first(folder(tmp_path, HEAD.mask * 0))
    assert (found.annotation.label, found.annotation.lesions) == (0, ())


def test_a_scan_without_a_mask_is_healthy_only_where_its_label_says_so(tmp_path):
    place = folder(tmp_path, None)
    assert "neither a mask nor label 0" in first(row(place, mask_path="")).error
    assert first(row(place, mask_path="", label=0)).annotation.label == 0


def test_each_region_is_a_lesion_and_a_crowd_of_them_is_one(tmp_path):
    two = np.zeros((64, 64), np.uint8)
    two[20:26, 20:26], two[40:44, 30:36] = 255, 255
    found = first(folder(tmp_path / "two", two))
    assert [lesion.area for lesion in found.annotation.lesions] == [36, 24]
    crowd = np.zeros((64, 64), np.uint8)
    crowd[16:48:2, 16:48:2] = 255
    (lesion,) = first(folder(tmp_path / "crowd", crowd)).annotation.lesions
    assert lesion.area == 256


@pytest.mark.parametrize("made", ["human", "sam2", "phantom", ""])
def test_the_maker_in_the_manifest_is_kept(made, tmp_path):
    found = first(row(folder(tmp_path, HEAD.mask * 255), mask_source=made))
    assert found.annotation.mask_source == (made if made in ("human", "sam2") else None)
    export_folder([Annotated(found.scan, found.annotation, {"mask_source": made or None})], tmp_path / "out")
    assert manifest.read(tmp_path / "out" / "manifest.csv")["mask_source"].to_list() == [made or None]


@pytest.mark.parametrize("column", ["path", "mask_path"])
@pytest.mark.parametrize("there", [True, False])
def test_no_manifest_leads_out_of_the_folder_nor_tells_what_lies_there(column, there, tmp_path):
    place = folder(tmp_path / "in", HEAD.mask * 255)
    if there:
        io.write_image(tmp_path / "secret.png", HEAD.image)
    for path in ("../secret.png", str(tmp_path / "secret.png")):
        found = first(row(place, **{column: path}))
        assert found.error == "secret.png: there is no such file in the folder; put it there"
    if there and column == "path":
        assert first(row(place, path="../secret.png"), confined=False).annotation.label == 1


def test_no_link_leads_out_of_the_folder(tmp_path):
    io.write_image(tmp_path / "secret.png", HEAD.mask.astype(np.uint8) * 255)
    place = folder(tmp_path / "in", None)
    (place / "masks").mkdir()
    (place / "masks" / "a.png").symlink_to(tmp_path / "secret.png")
    assert "no such file" in first(row(place)).error
    (place / "manifest.csv").unlink()
    assert "no such file" in first(place).error


def exported(place):
    scan = io.read(folder(place / "in", None) / "images" / "a.png")
    lesion = Lesion(mask=rle.encode(HEAD.mask), source="click")
    record = Annotation(case_id="c", scan=ScanFacts.of(scan), lesions=(lesion,), decision="accepted")
    export_folder([Annotated(scan, record)], place / "out")
    return place / "out"


def test_a_mask_that_was_changed_beside_its_record_is_refused(tmp_path):
    place = exported(tmp_path)
    io.write_image(place / "masks" / "a.png", np.roll(HEAD.mask, 1, axis=0).astype(np.uint8) * 255)
    assert "out of date" in first(place).error


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 2}', "[" * 100_000])
def test_a_damaged_record_is_named(content, tmp_path):
    place = exported(tmp_path)
    (place / "annotations" / "a.json").write_text(content)
    found = first(place)
    assert isinstance(found, importing.Skipped)
    assert "\n" not in found.error


def test_a_folder_around_the_folder_is_passed_over(tmp_path):
    exported(tmp_path / "deep" / "er")
    (tmp_path / "deep" / "er" / "out").rename(tmp_path / "deep" / "out")
    for path in sorted((tmp_path / "deep" / "er").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (tmp_path / "deep" / "er").rmdir()
    assert first(tmp_path).annotation.label == 1


def test_a_missing_and_an_empty_folder_are_named(tmp_path):
    for place in (tmp_path / "none", tmp_path):
        with pytest.raises(DataError, match=r"folder|scan"):
            first(place)


def coco(place, segmentation, **image):
    one = {"id": 7, "file_name": "images/a.png", "width": 64, "height": 64, **image}
    marked = [{"id": 1, "image_id": 7, "category_id": 3, "segmentation": segmentation}] if segmentation else []
    content = {"images": [one], "annotations": marked, "categories": [{"id": 3, "name": "glioma"}]}
    (place / "labels.json").write_text(json.dumps(content))
    return place


def test_coco_is_read_in_all_three_forms(tmp_path):
    runs = rle.encode(HEAD.mask)
    packed = {"size": runs["size"], "counts": rle.compress(runs["counts"])}
    for form in (runs, packed):
        found = first(coco(folder(tmp_path, None), form))
        assert np.array_equal(found.annotation.mask(), HEAD.mask)
        assert found.annotation.lesions[0].tumor_type == "glioma"
    square = first(coco(folder(tmp_path, None), [[10, 20, 15, 20, 15, 30, 10, 30], [40, 40, 44, 40, 44, 41, 40, 41]]))
    expected = np.zeros((64, 64), bool)
    expected[20:30, 10:15] = expected[40:41, 40:44] = True
    assert np.array_equal(square.annotation.mask(), expected)


def test_an_image_that_coco_says_nothing_of_stays_open(tmp_path):
    assert first(coco(folder(tmp_path, None), None)).annotation.decision == "open"


@pytest.mark.parametrize(
    ("segmentation", "image", "word"),
    [
        (rle.encode(HEAD.mask), {"width": 63}, "64x64"),
        (rle.encode(HEAD.mask[:32]), {}, "32x64"),
        ([[1, 2, 3, 4]], {}, "polygon"),
        ([[1, 2, 3, 4, 5, None]], {}, "polygon"),
        (rle.encode(HEAD.mask), {"file_name": "b.png"}, "no such image"),
        (rle.encode(HEAD.mask), {"file_name": "../../a.jpg"}, "no such image"),
    ],
)
def test_coco_that_does_not_fit_is_named(segmentation, image, word, tmp_path):
    try:
        found = first(coco(folder(tmp_path, None), segmentation, **image))
    except DataError as error:
        found = importing.Skipped("", str(error))
    assert word in found.error


def test_two_images_of_a_name_are_told_apart_by_their_folder_or_refused(tmp_path):
    place = folder(tmp_path, None)
    io.write_image(place / "more" / "a.png", HEAD.image)
    assert first(coco(place, rle.encode(HEAD.mask))).path == place / "images" / "a.png"
    assert "several" in first(coco(place, rle.encode(HEAD.mask), file_name="x/a.png")).error


def test_polygons_mark_pixels_whose_centre_they_hold():
    mask = mask_of([[0.6, 0.6, 2.4, 0.6, 2.4, 2.4, 0.6, 2.4]], (3, 3))
    assert mask.astype(int).tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
