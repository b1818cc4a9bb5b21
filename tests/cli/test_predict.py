"""``tumorscope predict`` on good scans of every kind."""

import cv2
import nibabel
import numpy as np
import pydicom
import pytest


class TestOutput:
    def test_everything_that_the_contract_names(self, predict, good, tmp_path):
        answer, rows = predict(good)
        out = tmp_path / "out"
        assert answer.code == 0
        assert answer.err == ""
        assert [row["decision"] for row in rows] == ["tumor", "no_tumor"]
        found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
        assert found == {
            "predictions.csv", "report.html", "masks/a.png", "masks/b.png", "overlays/a.png", "overlays/b.png",
        }  # fmt: skip
        assert "1 no_tumor, 1 tumor" in answer.out
        page = (out / "report.html").read_text(encoding="utf-8")
        assert "not a medical device" in page
        assert "a.png" in page

    def test_parts_can_be_left_out(self, predict, good, tmp_path):
        predict(good, options=("--no-overlays", "--no-report", "--no-masks"))
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["predictions.csv"]

    def test_json_is_the_only_thing_on_stdout(self, predict, good, tmp_path):
        answer, _ = predict(good, options=("--json",))
        assert answer.json["scans"] == answer.json["ok"] == 2
        assert answer.json["decisions"] == {"tumor": 1, "no_tumor": 1}
        assert answer.json["predictions"] == str(tmp_path / "out" / "predictions.csv")

    def test_the_path_column_is_what_was_typed(self, predict, good, monkeypatch):
        monkeypatch.chdir(good)
        _, rows = predict("a.png", "./b.png")
        assert [row["path"] for row in rows] == ["a.png", "b.png"]

    def test_the_same_twice_gives_the_same(self, predict, good, tmp_path):
        _, one = predict(good, out=tmp_path / "one")
        _, two = predict(good, out=tmp_path / "two", options=("--workers", 2))
        for row in (*one, *two):
            row.pop("seconds")
        assert one == two
        for name in ("masks/a.png", "overlays/a.png"):
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()

    def test_results_are_replaced_only_when_asked(self, predict, good):
        predict(good)
        answer, rows = predict(good / "a.png")
        assert answer.code == 2
        assert "--overwrite" in answer.err
        assert len(answer.lines) == 1
        assert len(rows) == 2
        answer, rows = predict(good / "a.png", options=("--overwrite",))
        assert answer.code == 0
        assert len(rows) == 1

    def test_results_inside_the_input_are_no_input(self, predict, good):
        _, first = predict(good, out=good / "results")
        _, second = predict(good, out=good / "results", options=("--overwrite",))
        assert [row["id"] for row in first] == [row["id"] for row in second] == ["a", "b"]

    def test_a_long_batch_is_paged(self, predict, tiny, tmp_path):
        folder = tmp_path / "many"
        folder.mkdir()
        for number in range(60):
            cv2.imwrite(str(folder / f"{number:03}.png"), tiny.head((40, 36), seed=number))
        _, rows = predict(folder)
        assert len(rows) == 60
        assert {path.name for path in (tmp_path / "out").glob("*.html")} == {"report.html", "report-2.html"}


class TestInputs:
    def test_patterns_files_and_folders_together(self, predict, good, tiny, tmp_path):
        cv2.imwrite(str(tmp_path / "c.png"), tiny.head(seed=5))
        _, rows = predict(tmp_path / "c.png", good / "?.png")
        assert [row["id"] for row in rows] == ["c", "a", "b"]

    def test_a_manifest(self, predict, good):
        (good / "list.csv").write_text("path\nb.png\na.png\n")
        _, rows = predict(good / "list.csv")
        assert [row["id"] for row in rows] == ["b", "a"]

    def test_two_files_of_one_stem_are_both_kept(self, predict, tiny, tmp_path):
        for folder, seed in (("one", 1), ("two", 2)):
            (tmp_path / folder).mkdir()
            cv2.imwrite(str(tmp_path / folder / "scan.png"), tiny.head(seed=seed))
        _, rows = predict(tmp_path / "one", tmp_path / "two")
        assert [row["id"] for row in rows] == ["scan", "two_scan"]
        assert len(list((tmp_path / "out" / "masks").iterdir())) == 2

    def test_a_sequence_is_chosen_by_channel(self, predict, tiny, tmp_path):
        planes = [tiny.head(seed=1), tiny.head(blob=(40, 30, 9)), np.flipud(tiny.head(seed=2))]
        cv2.imwrite(str(tmp_path / "s.png"), np.stack(planes[::-1], axis=-1))
        answer, rows = predict(tmp_path / "s.png", out=tmp_path / "none")
        assert answer.code == 2
        assert "--channel" in rows[0]["error"]
        for channel, word in ((0, "no_tumor"), (1, "tumor")):
            _, rows = predict(tmp_path / "s.png", out=tmp_path / str(channel), options=("--channel", channel))
            assert rows[0]["decision"] == word

    def test_a_volume_comes_back_on_its_own_grid(self, predict, tiny, tmp_path):
        slices = [tiny.head(blob=(40, 30, 9) if 3 < z < 8 else None, seed=z) for z in range(12)]
        affine = np.array([[0, -0.8, 0, 30], [0.7, 0, 0, -20], [0, 0, 5, 7], [0, 0, 0, 1]], float)
        image = nibabel.Nifti1Image(np.stack(slices, axis=-1).astype(np.int16), affine)
        nibabel.save(image, tmp_path / "v.nii.gz")
        answer, rows = predict(tmp_path / "v.nii.gz")
        assert answer.code == 0
        assert rows[0]["decision"] == "tumor"
        mask = nibabel.load(tmp_path / "out" / "masks" / "v.nii.gz")
        np.testing.assert_allclose(mask.affine, image.affine)
        assert mask.shape == image.shape
        truth = np.stack(slices, axis=-1) > 200
        found = np.asarray(mask.dataobj) > 0
        assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.75
        voxel = abs(np.linalg.det(image.affine[:3, :3]))
        assert float(rows[0]["volume_mm3"]) == pytest.approx(found.sum() * voxel, rel=1e-3)
        assert (tmp_path / "out" / "overlays" / "v.png").exists()


class TestPatients:
    @pytest.fixture
    def series(self, tiny, tmp_path):
        """A DICOM series of a patient with a name."""
        folder = tmp_path / "series"
        folder.mkdir()
        for z in range(6):
            write_dicom(folder / f"{z}.dcm", tiny.head(blob=(40, 30, 9) if 1 < z < 5 else None, seed=z), z)
        return folder

    def test_no_identifier_enters_any_file(self, predict, series, tmp_path):
        answer, rows = predict(series)
        assert answer.code == 0
        assert len(rows) == 1
        assert rows[0]["id"] == "series"
        assert float(rows[0]["volume_mm3"]) > 0
        for path in (tmp_path / "out").rglob("*"):
            content = path.read_bytes() if path.is_file() else b""
            assert b"Dupont" not in content, path
            assert b"PID-4711" not in content, path
        assert "Dupont" not in answer.out + answer.err

    def test_they_are_there_when_asked_for(self, predict, series, tmp_path):
        predict(series, options=("--identifiers",))
        text = (tmp_path / "out" / "identifiers.csv").read_text(encoding="utf-8")
        assert "Dupont^Zoë" in text
        assert "PID-4711" in text
        assert text.splitlines()[1].startswith("series,")
        assert "Dupont" not in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


class TestRealScans:
    def test_a_dicom_series_and_a_nifti_volume(self, predict, shared_data, tmp_path):
        nifti = shared_data / "progression" / "01" / "Pre_Scan_T1.nii.gz"
        answer, rows = predict(shared_data / "remind_dicom" / "t1_post", nifti)
        assert answer.code == 0
        assert answer.err == ""
        assert [row["id"] for row in rows] == ["t1_post", "Pre_Scan_T1"]
        mask = nibabel.load(tmp_path / "out" / "masks" / "Pre_Scan_T1.nii.gz")
        scan = nibabel.load(nifti)
        assert mask.shape == scan.shape
        np.testing.assert_array_equal(mask.affine, scan.affine)
        assert nibabel.load(tmp_path / "out" / "masks" / "t1_post.nii.gz").shape[2] == 60


def write_dicom(path, pixels, z):
    """One slice of an MR series, 5 mm apart, with 0.5 mm pixels."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
    data = pydicom.dataset.Dataset()
    data.file_meta = meta
    data.SpecificCharacterSet = "ISO_IR 192"
    data.SOPClassUID = pydicom.uid.MRImageStorage
    data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = f"1.2.3.{z + 1}"
    data.SeriesInstanceUID, data.StudyInstanceUID = "1.2.3", "1.2"
    data.PatientName, data.PatientID, data.Modality = "Dupont^Zoë", "PID-4711", "MR"
    data.SeriesNumber, data.InstanceNumber = 3, z + 1
    data.ImageOrientationPatient, data.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 5.0 * z]
    data.PixelSpacing, data.SliceThickness = [0.5, 0.5], 5
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.PixelData = np.ascontiguousarray(pixels).tobytes()
    data.save_as(path, enforce_file_format=True)
