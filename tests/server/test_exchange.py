"""Data sets out of the server and in again, and two annotators compared."""

import io
import json
import zipfile

import cv2
import numpy as np
import polars as pl
import pytest

from tumorscope.annotation import rle
from tumorscope.datasets import manifest

API = "/api/v1"


def mask_of(y, x, shape=(96, 80)):
    mask = np.zeros(shape, bool)
    mask[y : y + 12, x : x + 9] = True
    return mask


@pytest.fixture
def reviewed(client, upload, picture, volume, lesion):
    """Four cases: corrected, healthy, rejected, and a volume."""
    files = {"a.png": picture(), "b.png": picture(blob=None, seed=1), "c.png": picture(seed=2), "v.nii.gz": volume}
    cases = {one["name"]: one for one in upload(client, files)["created"]}
    ball = np.zeros(cases["v"]["shape"], bool)
    ball[2:4, 30:50, 20:40] = True
    for name, decision, masks in (
        ("a", "corrected", [mask_of(30, 20)]), ("b", "accepted", []), ("c", "rejected", []), ("v", "corrected", [ball]),
    ):  # fmt: skip
        body = {"annotator": "ada", "decision": decision, "lesions": [lesion(mask) for mask in masks]}
        assert client.post(f"{API}/cases/{cases[name]['id']}/annotations", json=body).status_code == 201
    return cases


def archive_of(answer):
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    return zipfile.ZipFile(io.BytesIO(answer.content))


def test_the_export_is_a_data_set_that_train_reads(client, reviewed, tmp_path):
    archive = archive_of(client.get(f"{API}/export"))
    archive.extractall(tmp_path / "set")
    table = manifest.read(tmp_path / "set" / "manifest.csv").sort("id")
    assert table.select("id", "label", "mask_source").rows() == [
        ("a", 1, "human"),
        ("b", 0, "human"),
        ("v", 1, "human"),
    ]
    mask = cv2.imread(str(tmp_path / "set" / "masks" / "a.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask, mask_of(30, 20) * np.uint8(255))
    assert {"coco.json", "arrays/a.npz", "annotations/a.json"} <= set(archive.namelist())
    names = set(archive_of(client.get(f"{API}/export?format=png")).namelist())
    assert "coco.json" not in names and not any(name.startswith("arrays") for name in names)
    assert list(client.workspace.incoming.iterdir()) == []


def test_what_to_export_can_be_chosen(client, reviewed):
    def ids(query):
        table = archive_of(client.get(f"{API}/export?format=png&{query}")).read("manifest.csv")
        return sorted(pl.read_csv(io.BytesIO(table))["id"].to_list())

    assert ids("review=accepted") == ["b"]
    assert ids("review=corrected,accepted") == ["a", "b", "v"]
    assert client.get(f"{API}/export?annotator=nobody").status_code == 422
    assert client.get(f"{API}/export?format=dicom").status_code == 422


def test_an_export_comes_back_bit_for_bit(client, serving, reviewed, tmp_path):
    content = client.get(f"{API}/export").content
    with serving(workspace=tmp_path / "other") as other:
        answer = other.post(f"{API}/import", files=[("files", ("x.zip", content))]).json()
        assert (answer["imported"], answer["skipped"]) == (3, [])
        cases = {one["name"]: one for one in other.get(f"{API}/cases").json()["items"]}
        assert {name: one["review"] for name, one in cases.items()} == {
            "a": "corrected", "b": "accepted", "v": "corrected",
        }  # fmt: skip
        for name, case in cases.items():
            here = client.get(f"{API}/cases/{reviewed[name]['id']}/annotations").json()[0]
            there = other.get(f"{API}/cases/{case['id']}/annotations").json()[0]
            assert there["lesions"] == here["lesions"] and there["annotator"] == "ada"
            images = [
                one.get(f"{API}/cases/{identifier}/image.nii.gz").content
                for one, identifier in ((client, reviewed[name]["id"]), (other, case["id"]))
            ]
            assert images[0] == images[1]
        again = other.post(f"{API}/import", files=[("files", ("x.zip", content))]).json()
        assert again["imported"] == 0 and len(again["skipped"]) == 3
    back = client.post(f"{API}/import", files=[("files", ("x.zip", content))]).json()
    assert back["imported"] == 0 and client.get(f"{API}/cases").json()["total"] == 4


def test_masks_beside_images_come_in(client, zipped, picture):
    mask = cv2.imencode(".png", mask_of(30, 20) * np.uint8(255))[1].tobytes()
    small = cv2.imencode(".png", np.full((4, 4), 255, np.uint8))[1].tobytes()
    files = {"images/a.png": picture(), "masks/a.png": mask, "images/b.png": picture(seed=1), "masks/b.png": small}
    answer = client.post(f"{API}/import", files=[("files", ("x.zip", zipped(files)))], data={"annotator": "bob"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["imported"] == 1 and len(answer.json()["skipped"]) >= 1
    case = client.get(f"{API}/cases").json()["items"][0]
    record = client.get(f"{API}/cases/{case['id']}/annotations").json()[0]
    assert record["annotator"] == "bob" and record["case_id"] == case["id"]
    np.testing.assert_array_equal(rle.decode(record["lesions"][0]["mask"]), mask_of(30, 20))


@pytest.mark.parametrize(
    "names", [["../../evil.png"], ["/etc/x.png"], ["images/a.png", "images/A.png"], ["readme.txt"]]
)
def test_archives_that_are_no_data_set(client, zipped, picture, names, tmp_path):
    answer = client.post(f"{API}/import", files=[("files", ("x.zip", zipped(dict.fromkeys(names, picture()))))])
    assert answer.status_code in (200, 422) and answer.json().get("imported", 0) == 0
    assert str(client.workspace.folder) not in answer.text
    assert not list(tmp_path.rglob("evil*")) and list(client.workspace.incoming.iterdir()) == []


def test_an_import_is_one_archive(client, picture):
    for files in ([], [("files", ("a.zip", b"x")), ("files", ("b.zip", b"x"))]):
        answer = client.post(f"{API}/import", files=files or None, data={"annotator": "a"})
        assert answer.status_code in (415, 422)
    answer = client.post(f"{API}/import", files=[("files", ("a.zip", picture()))])
    assert answer.status_code == 422 and str(client.workspace.folder) not in answer.text


def test_agreement_of_two_annotators(client, upload, picture, lesion):
    cases = [one["id"] for one in upload(client, {f"s{n}.png": picture(seed=n) for n in range(3)})["created"]]
    for case in cases:
        for who, shift in (("ada", 0), ("bob", 3)):
            body = {"annotator": who, "decision": "corrected", "lesions": [lesion(mask_of(30 + shift, 20))]}
            client.post(f"{API}/cases/{case}/annotations", json=body)
    found = client.get(f"{API}/agreement?a=ada&b=bob").json()
    assert found["cases"] == 3 and found["dice"]["value"] == pytest.approx(2 * 9 * 9 / (2 * 12 * 9))
    assert {row["case"] for row in found["rows"]} == set(cases) and "ada and bob" in found["sentence"]
    assert client.get(f"{API}/agreement?a=ada&b=eve").status_code == 422
    assert client.get(f"{API}/agreement?a=ada").status_code == 422
    assert json.dumps(found)
