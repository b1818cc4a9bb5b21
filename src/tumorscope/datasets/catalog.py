"""Public collections as data: how each is recognised, what its labels and masks are, and what to beware of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tumorscope.errors import DataError, look_up

#: A collection is recognised when at least this share of the scan files bear its names: a user may have
#: added or renamed a few.
SHARE = 0.95

GroupRule = Literal["patient", "duplicates", "blocks"]


@dataclass(frozen=True)
class Layout:
    """One public collection.

    Parameters
    ----------
    name, title, url : str
        Short name, full name, where it is published.
    pattern : str
        Regular expression for the path of a scan or mask below the root, ``/`` between the parts; folders
        in front are allowed. Named groups fill the row: ``patient case date sequence slice type``; a match
        of ``mask`` marks a mask file.
    labels_have : set of str
        Words that ``labels.csv`` must hold in ``tumor_type`` (all of its words are among them); empty: no need.
    sizes : set of (width, height)
        Sizes that the first scan must have; empty: any.
    label_names : tuple of str
        Names of the label's values, by number.
    label : int or None
        Label of a scan that no folder, file name, table or mask labels.
    tumor_type : str or None
        Type of all its tumours, where there is but one.
    mask_source : str or None
        Who drew the masks.
    licence : str
        As its publisher states it.
    group_rule : "patient", "duplicates" or "blocks"
        What must stay on one side of a split. ``blocks``: no patient ids, but numbered by patient, so that
        runs of numbers stay together (`splits.blocks`).
    caveat : str
        What a number measured on this collection does not mean.
    types : mapping of str to str
        Words of the group ``type`` in the pattern, and the tumour type that each means (``"none"`` for none).
    channels : mapping of str to int
        Sequences in one file, by channel.
    sequence : str or None
        The sequence that the masks were drawn on, or the only one.
    plane : str or None
        Plane of all slices, where there is but one.
    """

    name: str
    title: str
    url: str
    pattern: str
    licence: str
    group_rule: GroupRule
    caveat: str
    labels_have: frozenset[str] = frozenset()
    sizes: frozenset[tuple[int, int]] = frozenset()
    label_names: tuple[str, ...] = ("no_tumor", "tumor")
    label: int | None = None
    tumor_type: str | None = None
    mask_source: str | None = None
    types: Mapping[str, str] = field(default_factory=dict)
    channels: Mapping[str, int] = field(default_factory=dict)
    sequence: str | None = None
    plane: str | None = None

    def match(self, relative: str) -> re.Match[str] | None:
        """The match of a path below the root, or None."""
        return re.fullmatch(rf"(?:.+/)?{self.pattern}", relative)


NICKPARVAR_TYPES = {"no": "none", "gl": "glioma", "me": "meningioma", "pi": "pituitary"}
RASTER = r"(?i:jpe?g|png|tiff?|bmp|webp)"

LAYOUTS: tuple[Layout, ...] = (
    Layout(
        name="navoneel",
        title="Brain MRI Images for Brain Tumor Detection (Kaggle, N. Chakrabarty)",
        url="https://www.kaggle.com/datasets/navoneel/brain-mri-images-for-brain-tumor-detection",
        pattern=rf"(?:yes/Y\d+|no/(?:\d+ ?no|No? ?\d+|no(?: \d+)?))\.{RASTER}",
        licence="not stated clearly",
        group_rule="duplicates",
        caveat="253 files are about 210 distinct scans; file size and format alone tell the classes apart in part, "
        "and every 'yes' image stands again in Br35H",
    ),
    Layout(
        name="br35h",
        title="Br35H :: Brain Tumor Detection 2020 (Kaggle, A. Hamada)",
        url="https://www.kaggle.com/datasets/ahmedhamada0/brain-tumor-detection",
        pattern=rf"(?:yes/y\d+|no/no\d+)\.{RASTER}",
        licence="not stated clearly",
        group_rule="duplicates",
        caveat="1,500 'no' images are some hundreds of distinct scans; it contains navoneel's 'yes' images and is "
        "itself contained in Nickparvar's set: no external test for either",
    ),
    Layout(
        name="nickparvar",
        title="Brain Tumor MRI Dataset (Kaggle, M. Nickparvar)",
        url="https://www.kaggle.com/datasets/masoudnickparvar/brain-tumor-mri-dataset",
        pattern=rf"T[er]-(?:aug-)?(?P<type>no|gl|me|pi)(?:Tr)?_\d+\.{RASTER}",
        licence="CC0 as published",
        group_rule="duplicates",
        caveat="mixes Br35H, most of Cheng and web images; its Training and Testing folders share near-copies, and the "
        "classes come from different collections",
        types=NICKPARVAR_TYPES,
    ),
    Layout(
        name="cheng",
        title="Brain tumor dataset (figshare 1512427, J. Cheng)",
        url="https://figshare.com/articles/dataset/brain_tumor_dataset/1512427",
        pattern=rf"(?:images|(?P<mask>masks))/\d{{1,4}}\.{RASTER}",
        labels_have=frozenset({"glioma", "meningioma", "pituitary"}),
        sizes=frozenset({(256, 256), (512, 512)}),
        licence="CC BY 4.0",
        group_rule="blocks",
        caveat="no scan without a tumour, and no patient ids in this form: neighbours in number are slices of one "
        "patient; Nickparvar's set holds many of them, some mirrored",
        label=1,
        mask_source="human",
        sequence="t1ce",
    ),
    Layout(
        name="lgg",
        title="LGG segmentation: TCGA lower-grade glioma with FLAIR masks (M. Buda)",
        url="https://www.kaggle.com/datasets/mateuszbuda/lgg-mri-segmentation",
        pattern=r"(?P<patient>TCGA_\w{2}_\w{4}_\d{8})/(?P=patient)_(?P<slice>\d+)(?P<mask>_mask)?\.(?:png|tiff?)",
        licence="CC BY-NC-SA 4.0",
        group_rule="patient",
        caveat="not for weights that are passed on (non-commercial, share-alike); a missing sequence was replaced "
        "by FLAIR; slices without a mask belong to patients with a tumour",
        tumor_type="glioma",
        mask_source="human",
        channels={"t1": 0, "flair": 1, "t1ce": 2},
        sequence="flair",
        plane="axial",
    ),
    Layout(
        name="brats",
        title="BraTS: multimodal brain tumor segmentation",
        url="https://www.synapse.org/brats",
        pattern=r"(?P<case>(?P<patient>BraTS(?:-[A-Za-z]+-\d+|\w*?_?\d+))(?:-\d{3})?)"
        r"[_-](?P<sequence>t1ce|t1gd|t1c|t1n|t1|t2w|t2f|t2|flair|(?P<mask>seg))\.nii(?:\.gz)?",
        licence="differs by year; see the release",
        group_rule="patient",
        caveat="every case has a tumour; skull-stripped and brought to one template, unlike scans from a clinic",
        label=1,
        tumor_type="glioma",
        mask_source="human",
        plane="axial",
    ),
    Layout(
        name="progression",
        title="Brain-Tumor-Progression (TCIA), converted to NIfTI",
        url="https://www.cancerimagingarchive.net/collection/brain-tumor-progression/",
        pattern=r"(?P<patient>\d+)/(?P<date>Pre|Post)_(?:Scan_T1|(?P<mask>Mask))\.nii(?:\.gz)?",
        licence="CC BY 3.0",
        group_rule="patient",
        caveat="few patients, two dates each, after treatment; the header's spacing was reset to 1 mm",
        tumor_type="glioblastoma",
        mask_source="human",
        sequence="t1ce",
        plane="axial",
    ),
)

#: Layouts without a name of their own, as the error for an unknown folder lists them.
GENERAL = (
    "yes/ and no/",
    "class folders (glioma/ meningioma/ pituitary/ notumor/), also below Training/ and Testing/",
    "images/ and masks/ with equal stems",
    "NAME.png beside NAME_mask.png",
    "PATIENT/PATIENT_N.png",
    "CASE_t1.nii.gz ... CASE_seg.nii.gz",
    "DICOM folders",
    "images beside a labels.csv (id,tumor_type)",
)


def get(name: str) -> Layout:
    """The layout of that name.

    Raises
    ------
    DataError
        If there is none; it names the nearest.

    Examples
    --------
    >>> get("lgg").channels["flair"]
    1
    """
    return {layout.name: layout for layout in LAYOUTS}[look_up(name, [x.name for x in LAYOUTS], "layout", DataError)]


def recognise(paths: Sequence[str], types: Iterable[str] = (), size: tuple[int, int] | None = None) -> Layout | None:
    """The known collection whose names these paths bear, or None.

    Parameters
    ----------
    paths : sequence of str
        Paths of scans and masks below the root, ``/`` between the parts.
    types : iterable of str
        The words under ``tumor_type`` in the folder's labels.csv.
    size : (width, height) or None
        Of one scan.

    Examples
    --------
    >>> recognise(["yes/Y1.jpg", "no/12 no.jpg"]).name
    'navoneel'
    >>> recognise(["yes/a.jpg", "no/b.jpg"]) is None
    True
    """
    words = set(types)
    for layout in LAYOUTS:
        if layout.labels_have and not (words and words <= layout.labels_have):
            continue
        if layout.sizes and size is not None and size not in layout.sizes:
            continue
        hits = sum(layout.match(path) is not None for path in paths)
        if paths and hits >= SHARE * len(paths):
            return layout
    return None
