from __future__ import annotations

from pathlib import Path

import pytest

from tumorscope.datasets import catalog, manifest
from tumorscope.datasets.schema import MASK_SOURCES, PLANES
from tumorscope.errors import DataError

TYPES = ("glioma", "meningioma", "pituitary")
PATHS: dict[str, list[str]] = {
    "navoneel": [
        "yes/Y1.jpg",
        "yes/Y255.JPG",
        "no/1 no.jpeg",
        "no/44no.jpg",
        "no/N11.jpg",
        "no/No16.jpg",
        "no/no 9.png",
    ],
    "br35h": ["yes/y0.jpg", "yes/y1499.jpg", "no/no0.jpg", "no/no1499.jpg"],
    "nickparvar": [
        "Training/glioma/Tr-gl_0010.jpg",
        "Testing/notumor/Te-noTr_0000.jpg",
        "Training/pituitary/Tr-pi_1.jpg",
    ],
    "cheng": ["images/0001.jpg", "images/3064.jpg", "masks/0001.png", "masks/3064.png"],
    "lgg": [
        "TCGA_CS_4941_19960909/TCGA_CS_4941_19960909_1.tif",
        "TCGA_CS_4941_19960909/TCGA_CS_4941_19960909_1_mask.tif",
    ],
    "brats": [
        "BraTS20_Training_001/BraTS20_Training_001_t1ce.nii",
        "BraTS2021_00000/BraTS2021_00000_seg.nii.gz",
        "BraTS-GLI-00000-001/BraTS-GLI-00000-001-t2f.nii.gz",
        "BraTS_001_flair.nii.gz",
    ],
    "progression": ["01/Pre_Scan_T1.nii.gz", "01/Post_Mask.nii.gz", "20/Pre_Mask.nii.gz"],
}


@pytest.mark.parametrize("name", [layout.name for layout in catalog.LAYOUTS])
def test_every_layout_is_recognised_by_its_names(name: str) -> None:
    found = catalog.recognise(PATHS[name], TYPES if name == "cheng" else ())
    assert found is catalog.get(name)


@pytest.mark.parametrize("name", [layout.name for layout in catalog.LAYOUTS])
def test_a_folder_around_it_changes_nothing(name: str) -> None:
    inside = [f"archive/data/{path}" for path in PATHS[name]]
    assert catalog.recognise(inside, TYPES if name == "cheng" else ()) is catalog.get(name)


@pytest.mark.parametrize("layout", catalog.LAYOUTS, ids=lambda layout: layout.name)
def test_every_layout_is_complete(layout: catalog.Layout) -> None:
    assert layout.licence and layout.caveat and layout.url.startswith("https://")
    assert layout.group_rule in ("patient", "duplicates", "blocks")
    assert layout.mask_source is None or layout.mask_source in MASK_SOURCES
    assert layout.plane is None or layout.plane in PLANES
    assert layout.sequence is None or not layout.channels or layout.sequence in layout.channels
    assert layout.label_names == ("no_tumor", "tumor")


def test_names_are_unique() -> None:
    assert len({layout.name for layout in catalog.LAYOUTS}) == len(catalog.LAYOUTS)


@pytest.mark.parametrize(
    "paths",
    [
        ["yes/1.png", "no/2.png"],
        ["images/0001.jpg", "masks/0001.png"],
        ["patient_1/a.png"],
        ["a/1.png", "b/2.png"],
        [],
    ],
)
def test_other_folders_are_no_known_collection(paths: list[str]) -> None:
    assert catalog.recognise(paths) is None


def test_numbered_pairs_are_cheng_only_with_its_types_and_sizes() -> None:
    assert catalog.recognise(PATHS["cheng"], ["glioma"], (256, 256)) is catalog.get("cheng")
    assert catalog.recognise(PATHS["cheng"], ["glioma", "abscess"], (256, 256)) is None
    assert catalog.recognise(PATHS["cheng"], ["glioma"], (300, 256)) is None


def test_a_few_files_of_ones_own_do_not_hide_a_collection() -> None:
    paths = [f"yes/Y{number}.jpg" for number in range(99)]
    assert catalog.recognise([*paths, "yes/mine.jpg"]) is catalog.get("navoneel")
    assert catalog.recognise([*paths[:9], "yes/mine.jpg"]) is None


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(DataError, match="did you mean 'navoneel'"):
        catalog.get("navonel")


@pytest.mark.parametrize(
    ("folder", "name", "rows", "labels"),
    [
        ("navoneel", "navoneel", 253, {0: 98, 1: 155}),
        ("cheng", "cheng", 2404, {1: 2404}),
        ("healthy", "nickparvar", 841, {0: 841}),
        ("tumor_unmasked", "nickparvar", 1000, {1: 1000}),
        ("lgg", "lgg", 441, {0: 294, 1: 147}),
        ("progression", "progression", 8, {1: 8}),
    ],
)
def test_real_folders(shared_data: Path, folder: str, name: str, rows: int, labels: dict[int, int]) -> None:
    found = manifest.survey(shared_data / folder)
    assert found.layout is catalog.get(name)
    assert found.table.height == rows
    assert dict(found.table["label"].value_counts().iter_rows()) == labels
    assert (
        found.table.select("id", "path", "label_name", "source", "width", "height", "sha256", "licence")
        .null_count()
        .sum_horizontal()[0]
        == 0
    )
    masks = found.table["mask_path"].null_count()
    assert masks == (0 if name in ("cheng", "lgg", "progression") else rows)
    assert found.table["mask_source"].null_count() == masks
