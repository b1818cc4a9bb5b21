"""Uploads: names that are no paths, archives that are bombs, DICOM whose identifiers stay outside."""

import gzip
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

API = "/api/v1"
PERSON = {
    "PatientName": "Doe^Jane", "PatientID": "ZQ-4711", "PatientBirthDate": "19510203", "InstitutionName": "Wayside",
    "ReferringPhysicianName": "House^Gregory", "AccessionNumber": "ACC-9981", "StudyDate": "20210405",
    "StudyDescription": "Head of Jane", "SeriesDescription": "Jane T1", "OtherPatientIDs": "OLD-77",
    "PatientAddress": "Elm Street 5", "DeviceSerialNumber": "SN-31337", "ImageComments": "seen by Dr House",
}  # fmt: skip


def slices(tiny, count=5, series=None, person=None):
    """The bytes of DICOM slices full of identifiers."""
    series = series or generate_uid()
    found = {}
    for n in range(count):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
        for key, value in (PERSON | (person or {})).items():
            setattr(data, key, value)
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = "1.2.3.4711", series, "1.2.3.9"
        data.Modality, data.SeriesNumber, data.InstanceNumber = "MR", 3, n + 1
        data.add_new(0x00091001, "LO", "private Jane")
        pixels = tiny.head(blob=(40, 30, 9) if n in (1, 2, 3) else None, seed=n).astype(np.uint16)
        data.Rows, data.Columns = pixels.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
        data.ImagePositionPatient = [10, 20, 3.0 * n]
        data.ImageOrientationPatient, data.PixelSpacing, data.SliceThickness = [1, 0, 0, 0, 1, 0], [0.9, 0.8], 3
        data.PixelData = pixels.tobytes()
        stream = io.BytesIO()
        pydicom.dcmwrite(stream, data, enforce_file_format=True)
        found[f"Doe_Jane/ZQ-4711/{n}.dcm"] = stream.getvalue()
    return found


def words(dicom):
    """Every identifier in the made-up files, in several spellings."""
    uids = {str(pydicom.dcmread(io.BytesIO(one)).SeriesInstanceUID) for one in dicom.values()}
    return {"Doe", "Jane", "House", "1.2.3.4711", "private", *PERSON.values(), *uids} - {"3"}


def test_identifiers_of_dicom_enter_nothing(client, upload, tiny, caplog):
    files = slices(tiny)
    answer = upload(client, files)
    assert len(answer["created"]) == 1, answer
    case = answer["created"][0]
    assert case["axes"] == "ZYX" and case["spacing"] == [3.0, 0.9, 0.8] and case["modality"] == "MR"
    assert case["name"].startswith("series-") and case["patient"].startswith("patient-")
    found = client.post(f"{API}/cases/{case['id']}/predictions").json()
    body = {"annotator": "a", "decision": "corrected", "lesions": [lesion_of(found)]}
    saved = client.post(f"{API}/cases/{case['id']}/annotations", json=body).json()
    seen = [answer, client.get(f"{API}/cases/{case['id']}").json(), saved]
    texts = [json.dumps(one).encode() for one in seen]
    for path in (
        f"/cases/{case['id']}/image.nii.gz", f"/predictions/{found['id']}/mask.nii.gz",
        f"/predictions/{found['id']}/probability.nii.gz", f"/annotations/{saved['id']}/export?format=nifti",
        f"/annotations/{saved['id']}/export?format=json", f"/annotations/{saved['id']}/export?format=coco",
    ):  # fmt: skip
        texts.append(plain(client.get(API + path).content))
    archive = zipfile.ZipFile(io.BytesIO(client.get(f"{API}/export").content))
    texts += [name.encode() + plain(archive.read(name)) for name in archive.namelist()]
    client.workspace.store.engine.dispose()
    texts += [file.read_bytes() for file in client.workspace.folder.rglob("*") if file.is_file()]
    texts += [record.getMessage().encode() for record in caplog.records]
    for text in texts:
        for word in words(files):
            assert word.encode() not in text, word


def test_pseudonyms_join_what_belongs_together_and_differ_between_workspaces(client, serving, upload, tiny, tmp_path):
    first, second = upload(client, slices(tiny, 2)), upload(client, slices(tiny, 2))
    other = upload(client, slices(tiny, 2, person={"PatientID": "XX-1"}))
    patients = [one["created"][0]["patient"] for one in (first, second, other)]
    assert patients[0] == patients[1] != patients[2]
    with serving(workspace=tmp_path / "other") as elsewhere:
        assert upload(elsewhere, slices(tiny, 2))["created"][0]["patient"] != patients[0]


def test_series_are_told_apart_wherever_their_files_lie(client, upload, tiny, zipped):
    a, b = slices(tiny, 3, "1.2.3.5"), slices(tiny, 2, "1.2.3.6")
    mixed = {f"x/{n}": one for n, one in enumerate((*a.values(), *b.values()))}
    shapes = sorted(one["shape"] for one in upload(client, {"all.zip": zipped(mixed)})["created"])
    assert shapes == [[2, 96, 80], [3, 96, 80]]


def test_a_folder_of_real_dicom(client, upload, shared_data):
    files = {path.name: path.read_bytes() for path in sorted((shared_data / "remind_dicom" / "t1_post").glob("*.dcm"))}
    segmentation = shared_data / "remind_dicom" / "tumor_seg.dcm"
    answer = upload(client, {**files, segmentation.name: segmentation.read_bytes()})
    assert [one["shape"][0] for one in answer["created"]] == [60]
    assert [one["name"] for one in answer["skipped"]] == ["tumor_seg.dcm"]


@pytest.mark.parametrize(
    "name", ["../../evil.png", "/etc/passwd", "..\\..\\evil.png", "a\x00b.png", "C:\\x.png", ".", "..", "a" * 500]
)
def test_names_are_shown_and_touch_nothing(client, upload, picture, zipped, name, tmp_path):
    before = set(Path(tmp_path).rglob("*evil*"))
    for files in ({name: picture()}, {"z.zip": zipped({name.replace("\x00", "_"): picture()})}):
        for one in upload(client, files)["created"]:
            assert "/" not in one["name"] and "\\" not in one["name"] and 0 < len(one["name"]) <= 180
    assert set(Path(tmp_path).rglob("*evil*")) == before and not Path(tmp_path.parent, "evil.png").exists()
    assert list(client.workspace.incoming.iterdir()) == []


def test_a_zip_is_taken_apart(client, upload, picture, zipped):
    inner = zipped({"x.png": picture()})
    files = {
        "a/1.png": picture(), "a/.hidden.png": picture(), "__MACOSX/a/._1.png": b"x", "b/2.png": picture(seed=2),
        "inner.zip": inner, "readme.txt": b"hello",
    }  # fmt: skip
    answer = upload(client, {"scans.zip": zipped(files)})
    assert [one["name"] for one in answer["created"]] == ["1", "2"]
    reasons = {one["name"]: one["error"] for one in answer["skipped"]}
    assert set(reasons) == {"inner.zip", "readme.txt"} and "ZIP inside a ZIP" in reasons["inner.zip"]


def test_bombs_are_refused(serving, zipped, picture):
    with serving(max_unpacked=40 * 2**20, max_members=20, max_ratio=200) as client:

        def send(content):
            return client.post(f"{API}/cases", files=[("files", ("b.zip", content))])

        ratio = send(zipped({"zeros.png": bytes(30 * 2**20)}))
        assert ratio.status_code == 413 and ratio.json()["code"] == "bomb"
        total = send(zipped({f"{n}.png": bytes(15 * 2**20) for n in range(4)}))
        assert total.status_code == 413 and total.json()["code"] == "bomb"
        many = send(zipped({f"{n}.png": b"x" for n in range(30)}))
        assert many.status_code == 413 and many.json()["code"] == "too-many"
        lying = bytearray(zipped({"zeros.png": bytes(30 * 2**20)}))
        lying[22:26] = (5).to_bytes(4, "little")
        assert send(bytes(lying)).status_code in (413, 422)
        assert client.get(f"{API}/cases").json()["total"] == 0
        assert list(client.workspace.incoming.iterdir()) == []
        files = [("files", (f"{n}.png", b"x")) for n in range(30)]
        assert client.post(f"{API}/cases", files=files).status_code == 413


@pytest.mark.parametrize("content", [b"PK\x03\x04", b"PK\x03\x04" + bytes(200), b"PK\x05\x06" + bytes(18)])
def test_broken_archives_give_one_line(client, content):
    answer = client.post(f"{API}/cases", files=[("files", ("b.zip", content))])
    assert answer.status_code in (201, 422) and "Traceback" not in answer.text


def test_an_image_that_claims_to_be_huge_is_skipped(serving, upload):
    import struct
    import zlib

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    png = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10**6)))
        + chunk(b"IEND", b"")
    )
    nifti = bytearray(gzip.decompress(gzip.compress(bytes(352))))
    nifti[0:4], nifti[344:348] = (348).to_bytes(4, "little"), b"n+1\0"
    nifti[40:56] = struct.pack("<8h", 3, 30000, 30000, 30000, 1, 1, 1, 1)
    nifti[70:74], nifti[108:112] = struct.pack("<hh", 16, 32), struct.pack("<f", 352)
    with serving() as client:
        skipped = upload(client, {"huge.png": png, "huge.nii": bytes(nifti)})["skipped"]
        assert [one["name"] for one in skipped] == ["huge.png", "huge.nii"]
        assert not any("incoming" in one["error"] for one in skipped)


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("multipart/form-data", b"", 415),
        ("multipart/form-data; boundary=x", b"", 400),
        ("multipart/form-data; boundary=x", b"nonsense", 400),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="files"\r\n\r\nab', 400),
        ("multipart/form-data; boundary=x", b"--x--\r\n", 422),
        ("multipart/form-data; boundary=x", b'--x\r\nA: ' + b"a" * 99999, 400),
    ],
)  # fmt: skip
def test_forms_that_are_none(client, kind, body, status):
    answer = client.post(f"{API}/cases", content=body, headers={"Content-Type": kind})
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error", "code"} and list(client.workspace.incoming.iterdir()) == []


def test_files_that_hold_several_sequences_need_a_choice(client, upload):
    import cv2

    planes = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    content = cv2.imencode(".png", planes)[1].tobytes()
    refused = upload(client, {"three.png": content})
    assert refused["created"] == [] and "form field channel" in refused["skipped"][0]["error"]
    assert len(upload(client, {"three.png": content}, channel="1")["created"]) == 1
    for wrong in ("-1", "x", "9" * 30):
        answer = client.post(f"{API}/cases", files=[("files", ("t.png", content))], data={"channel": wrong})
        assert answer.status_code == 422


def lesion_of(found):
    moment = "2026-01-01T10:00:00Z"
    return {"mask": found["mask"], "source": "model", "model_prediction": found["id"], "started": moment,
            "finished": moment}  # fmt: skip


def plain(content):
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


def test_masks_of_a_dicom_series_come_back_onto_it(client, upload, tiny):
    case = upload(client, slices(tiny))["created"][0]
    found = client.post(f"{API}/cases/{case['id']}/predictions").json()
    body = {"annotator": "a", "decision": "corrected", "lesions": [lesion_of(found)]}
    saved = client.post(f"{API}/cases/{case['id']}/annotations", json=body).json()
    archive = client.get(f"{API}/export").content
    client.delete(f"{API}/annotations/{saved['id']}")
    answer = client.post(f"{API}/import", files=[("files", ("x.zip", archive))]).json()
    assert answer == {"imported": 1, "skipped": []} and client.get(f"{API}/cases").json()["total"] == 1
    (back,) = client.get(f"{API}/cases/{case['id']}/annotations").json()
    assert back["lesions"] == saved["lesions"] and back["scan"] == saved["scan"]
