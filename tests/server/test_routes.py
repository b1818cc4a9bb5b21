"""Every route does what the API page says: on a picture, on a volume, and on what is not there."""

import gzip
import io
import json
import threading

import cv2
import nibabel as nib
import numpy as np
import pytest

from tumorscope.annotation import rle
from tumorscope.inference.postprocess import measure

API = "/api/v1"


def decoded(answer):
    assert answer.status_code == 200, answer.text
    return cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)


def volume_of(answer):
    """(D, H, W) voxels and the image, of a NIfTI answer."""
    assert answer.status_code == 200, answer.text
    image = nib.Nifti1Image.from_bytes(gzip.decompress(answer.content))
    return np.asarray(image.dataobj).transpose(2, 1, 0), image


def test_health(client):
    facts = client.get(f"{API}/health").json()
    assert (facts["status"], facts["schema"]) == ("ok", "0001")
    assert facts["queue"] == {"running": 0, "waiting": 0, "limit": 16}


def test_models_lists_bundles_and_engines_with_remedies(client):
    found = {one["name"]: one for one in client.get(f"{API}/models").json()}
    assert found["tiny"]["default"] and found["tiny"]["kind"] == "bundle" and found["tiny"]["available"]
    assert found["scout"]["kind"] == "bundle" and not found["scout"]["default"]
    assert found["click"]["kind"] == "engine" and found["click"]["default"]
    assert found["sam-vit-huge"]["available"] or "run:" in found["sam-vit-huge"]["reason"]


def test_a_case_is_stored_listed_and_deleted(client, upload, picture):
    answer = upload(client, {"b.png": picture(), "a.png": picture(seed=3), "notes.txt": b"no scan"})
    assert [one["name"] for one in answer["created"]] == ["b", "a"]
    assert [one["name"] for one in answer["skipped"]] == ["notes.txt"]
    assert "not a scan" in answer["skipped"][0]["error"]
    case = answer["created"][0]
    assert (case["shape"], case["axes"], case["unit"], case["review"]) == ([96, 80], "YX", "px", "open")
    assert [one["name"] for one in client.get(f"{API}/cases?sort=name&order=asc").json()["items"]] == ["a", "b"]
    whole = client.get(f"{API}/cases/{case['id']}").json()
    assert whole["prediction"] is None and whole["annotations"] == []
    blobs = list(client.workspace.folder.glob("blobs/*/*"))
    assert client.delete(f"{API}/cases/{case['id']}").status_code == 204
    assert client.get(f"{API}/cases/{case['id']}").status_code == 404
    assert len(list(client.workspace.folder.glob("blobs/*/*"))) == len(blobs) - 2


def test_cases_that_share_a_blob_keep_it_when_one_goes(client, upload, picture):
    first, second = (upload(client, {"x.png": picture()})["created"][0]["id"] for _ in range(2))
    client.delete(f"{API}/cases/{first}")
    assert client.get(f"{API}/cases/{second}/thumbnail.png").status_code == 200
    assert client.get(f"{API}/cases/{second}/image.nii.gz").status_code == 200


def test_the_list_is_filtered_sorted_and_counted(client, upload, picture):
    files = {f"scan{n}.png": picture(blob=(40, 30, 9) if n % 2 else None, seed=n) for n in range(5)}
    ids = [one["id"] for one in upload(client, files)["created"]]
    for one in ids[:4]:
        client.post(f"{API}/cases/{one}/predictions")
    client.post(f"{API}/cases/{ids[0]}/annotations", json={"annotator": "a", "decision": "accepted"})

    def names(query):
        return [one["name"] for one in client.get(f"{API}/cases?{query}").json()["items"]]

    assert names("q=SCAN3") == ["scan3"]
    assert names("q=%25") == [] and names("q=_") == []  # no wildcards
    assert sorted(names("decision=tumor")) == ["scan1", "scan3"]
    assert sorted(names("lesions=some")) == ["scan1", "scan3"]
    assert sorted(names("lesions=none")) == ["scan0", "scan2"]
    assert names("review=accepted") == ["scan0"]
    assert len(names("review=accepted,open")) == 5
    assert set(names("sort=probability")[:2]) == {"scan1", "scan3"}
    assert names("sort=probability")[-1] == names("sort=probability&order=asc")[-1] == "scan4"  # unknown comes last
    assert names("sort=name&order=asc&limit=2&offset=1") == ["scan1", "scan2"]
    answer = client.get(f"{API}/cases?review=open&limit=1").json()
    assert answer["total"] == 4 and answer["counts"]["review"] == {
        "open": 4, "accepted": 1, "corrected": 0, "rejected": 0,
    }  # fmt: skip


def test_image_and_thumbnail(client, case, tiny):
    thumbnail = decoded(client.get(f"{API}/cases/{case}/thumbnail.png"))
    assert thumbnail.shape == (96, 80)
    voxels, image = volume_of(client.get(f"{API}/cases/{case}/image.nii.gz"))
    np.testing.assert_array_equal(voxels[0], tiny.head(blob=(40, 30, 9)))
    assert voxels.dtype == np.float32 and np.array_equal(image.affine, np.eye(4))
    assert bytes(image.header["descrip"]).strip(b"\0") == b""
    enhanced, _ = volume_of(client.get(f"{API}/cases/{case}/image.nii.gz?variant=musica"))
    assert enhanced.shape == voxels.shape and not np.array_equal(enhanced, voxels)
    assert client.get(f"{API}/cases/{case}/image.nii.gz?variant=other").status_code == 422


def test_an_image_is_not_sent_twice(client, case):
    first = client.get(f"{API}/cases/{case}/image.nii.gz")
    assert "private" in first.headers["cache-control"]
    again = client.get(f"{API}/cases/{case}/image.nii.gz", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_prediction_of_a_picture(client, case, tiny):
    answer = client.post(f"{API}/cases/{case}/predictions")
    assert answer.status_code == 201
    found = answer.json()
    assert (found["decision"], found["model"], found["gate"]["passed"]) == ("tumor", "tiny", True)
    mask = rle.decode(found["mask"])
    assert mask[40, 30] and found["measurements"] == vars(measure(mask))
    assert client.get(f"{API}/cases/{case}/predictions").json() == [found]
    shown = client.get(f"{API}/cases/{case}").json()
    assert shown["prediction"] == found and shown["lesions"] == 1 and shown["probability"] == found["probability"]
    png = decoded(client.get(f"{API}/predictions/{found['id']}/mask.png"))
    np.testing.assert_array_equal(png, mask * np.uint8(255))
    probability, _ = volume_of(client.get(f"{API}/predictions/{found['id']}/probability.nii.gz"))
    uncertainty, _ = volume_of(client.get(f"{API}/predictions/{found['id']}/uncertainty.nii.gz"))
    assert probability[0][mask].min() > 0.3 and probability[0, 0, 0] == 0
    assert uncertainty.min() >= 0 and 0 < uncertainty.max() <= 1
    stored, _ = volume_of(client.get(f"{API}/predictions/{found['id']}/mask.nii.gz"))
    np.testing.assert_array_equal(stored[0] > 0, mask)


def test_prediction_of_a_volume_lies_where_its_file_does(client, upload, volume, tmp_path):
    case = upload(client, {"v.nii.gz": volume})["created"][0]
    assert case["axes"] == "ZYX" and case["unit"] == "mm"
    found = client.post(f"{API}/cases/{case['id']}/predictions").json()
    mask = rle.decode_any(found["mask"])
    assert mask.shape == tuple(case["shape"]) and mask.any() and found["measurements"]["volume_mm3"] > 0
    original = nib.Nifti1Image.from_bytes(gzip.decompress(volume))
    _, stored = volume_of(client.get(f"{API}/predictions/{found['id']}/mask.nii.gz"))
    assert stored.shape == original.shape
    np.testing.assert_allclose(stored.affine, original.affine, atol=1e-5)
    bright = np.asarray(original.dataobj)[np.asarray(stored.dataobj) > 0]
    assert np.mean(bright == 235) > 0.9
    voxels, image = volume_of(client.get(f"{API}/cases/{case['id']}/image.nii.gz"))
    place = np.argwhere(voxels == 235)[0]
    world = image.affine @ [*place[::-1], 1]
    back = np.rint(np.linalg.inv(original.affine) @ world)[:3].astype(int)
    assert np.asarray(original.dataobj)[tuple(back)] == 235
    assert client.get(f"{API}/predictions/{found['id']}/mask.png").status_code == 409


def test_a_scan_without_anything_to_see_is_refused_in_one_line(client, upload):
    flat = cv2.imencode(".png", np.full((64, 64), 7, np.uint8))[1].tobytes()
    case = upload(client, {"flat.png": flat})["created"][0]["id"]
    answer = client.post(f"{API}/cases/{case}/predictions")
    assert answer.status_code == 422 and "nothing to see" in answer.json()["error"]
    assert client.workspace.folder.name not in answer.text


def test_unknown_model_and_explanation_without_a_run(client, case):
    answer = client.post(f"{API}/cases/{case}/predictions", json={"model": "tinny"})
    assert answer.status_code == 409 and "did you mean 'tiny'" in answer.json()["error"]
    found = client.post(f"{API}/cases/{case}/predictions", json={"model": "tiny"}).json()
    answer = client.get(f"{API}/predictions/{found['id']}/explanation.png")
    assert answer.status_code == 409 and "--runs" in answer.json()["error"]


def test_candidates_embed_once_and_remember_the_answer(client, case, discs):
    def ask(**given):
        body = {"engine": "click", "axis": 0, "index": 0, "previous": None, "previous_token": None, **given}
        return client.post(f"{API}/cases/{case}/candidates", json=body)

    first = ask(prompts={"points": [{"y": 40, "x": 30, "positive": True}]})
    assert first.status_code == 200, first.text
    found = first.json()
    assert (found["engine"], found["embedded"], len(found["candidates"])) == ("discs", False, 3)
    best = found["candidates"][0]
    assert rle.decode(best["mask"])[40, 30] and best["quality"] == 0.9
    second = ask(prompts={"points": [{"y": 10, "x": 10, "positive": True}]}, previous_token=best["token"]).json()
    mask = rle.decode(second["candidates"][0]["mask"])
    assert second["embedded"] and discs.embedded == 1 and mask[40, 30] and mask[10, 10]
    by_mask = ask(prompts={"points": [{"y": 10, "x": 10}]}, previous=best["mask"], previous_token="gone").json()
    assert by_mask["candidates"][0]["mask"] == second["candidates"][0]["mask"]
    assert ask(prompts={"points": [{"y": 1, "x": 1}]}, previous_token="gone").json()["code"] == "forgotten"


def test_an_answer_of_another_version_is_not_taken_as_the_one_before(client, case, discs, monkeypatch):
    asked = {"axis": 0, "index": 0, "prompts": {"points": [{"y": 40, "x": 30}]}, "previous": None}
    first = client.post(f"{API}/cases/{case}/candidates", json={**asked, "engine": "click", "previous_token": None})
    token = first.json()["candidates"][0]["token"]
    monkeypatch.setattr(discs, "version", "another")
    again = client.post(f"{API}/cases/{case}/candidates", json={**asked, "engine": "click", "previous_token": token})
    assert again.json()["code"] == "forgotten"


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"prompts": {}}, 422),
        ({"prompts": {"points": [{"y": 400, "x": 3}]}}, 422),
        ({"prompts": {"points": [{"y": "a", "x": 3}]}}, 422),
        ({"prompts": {"points": [{"y": 1, "x": 1, "positive": False}]}}, 422),
        ({"prompts": {"points": [{"y": 1, "x": 1}]}, "index": 1}, 422),
        ({"prompts": {"points": [{"y": 1, "x": 1}]}, "axis": 1}, 422),
        ({"prompts": {"points": [{"y": 1, "x": 1}]}, "engine": "clack"}, 422),
        ({"prompts": {"points": [{"y": 1, "x": 1}]}, "previous": {"size": [2, 2], "counts": [4]}}, 422),
        ({"prompts": {"points": [{"y": 1, "x": 1}]}, "previous": {"size": [99999, 99999], "counts": [4]}}, 422),
    ],
)
def test_prompts_that_mean_nothing(client, case, given, status):
    answer = client.post(f"{API}/cases/{case}/candidates", json=given)
    assert answer.status_code == status and set(answer.json()) == {"error", "code"}


def test_an_engine_that_cannot_be_had_says_what_to_install(client, case, monkeypatch):
    from tumorscope.annotation import engine
    from tumorscope.errors import MissingExtra

    def absent(checkpoint):
        raise MissingExtra("SAM", "torch", "train")

    monkeypatch.setitem(engine.ENGINES, "sam-vit-base", absent)
    body = {"engine": "sam-vit-base", "prompts": {"points": [{"y": 1, "x": 1}]}}
    answer = client.post(f"{API}/cases/{case}/candidates", json=body)
    assert answer.status_code == 409 and "pip install" in answer.json()["error"]


def test_a_slice_across_each_axis_of_a_volume(client, upload, volume):
    case = upload(client, {"v.nii.gz": volume})["created"][0]
    for axis in range(3):
        body = {"axis": axis, "index": 2, "prompts": {"points": [{"y": 2, "x": 2}]}}
        found = client.post(f"{API}/cases/{case['id']}/candidates", json=body).json()
        wanted = [side for n, side in enumerate(case["shape"]) if n != axis]
        assert found["candidates"][0]["mask"]["size"] == wanted


def test_annotation_is_saved_changed_exported_and_deleted(client, case, lesion):
    mask = np.zeros((96, 80), bool)
    mask[30:50, 20:44] = True
    mask[33, 25] = False
    saved = {"annotator": "ada", "decision": "corrected", "note": "sure", "lesions": [lesion(mask)]}
    answer = client.post(f"{API}/cases/{case}/annotations", json=saved)
    assert answer.status_code == 201, answer.text
    record = answer.json()
    assert record["revision"] == 1 and record["scan"]["shape"] == [96, 80] and record["scan"]["name"] == "scan"
    listed = client.get(f"{API}/cases/{case}").json()
    assert (listed["review"], listed["annotation_id"], listed["lesions"]) == ("corrected", record["id"], 1)
    png = decoded(client.get(f"{API}/annotations/{record['id']}/export?format=png"))
    np.testing.assert_array_equal(png, mask * np.uint8(255))
    stored, _ = volume_of(client.get(f"{API}/annotations/{record['id']}/export?format=nifti"))
    np.testing.assert_array_equal(stored[0] > 0, mask)
    assert client.get(f"{API}/annotations/{record['id']}/export?format=json").json() == record
    with np.load(io.BytesIO(client.get(f"{API}/annotations/{record['id']}/export?format=npz").content)) as arrays:
        np.testing.assert_array_equal(arrays["mask"] > 0, mask)
    changed = {**saved, "decision": "rejected", "lesions": [], "revision": 1}
    answer = client.put(f"{API}/annotations/{record['id']}", json=changed)
    assert answer.status_code == 200 and answer.json()["revision"] == 2
    assert answer.json()["created"] == record["created"]
    stale = client.put(f"{API}/annotations/{record['id']}", json=changed)
    assert stale.status_code == 409 and stale.json()["code"] == "revision"
    assert client.get(f"{API}/cases/{case}/annotations").json() == [answer.json()]
    assert client.get(f"{API}/cases/{case}").json()["review"] == "rejected"
    assert client.delete(f"{API}/annotations/{record['id']}").status_code == 204
    assert client.get(f"{API}/cases/{case}").json()["review"] == "open"


@pytest.mark.parametrize(
    "change",
    [
        {"mask": {"size": [4, 4], "counts": [16]}},
        {"mask": {"size": [96, 80], "counts": [1, 2]}},
        {"mask": {"size": [96, 80], "counts": [7680], "path": "/etc/passwd"}},
        {"source": "magic"},
        {"name": "\x00"},
        {"edits": [{"kind": "brush", "time": "yesterday", "pixels": 1}]},
        {"unknown": 1},
    ],
)
def test_annotations_that_make_no_sense_are_refused(client, case, lesion, change):
    body = {"annotator": "a", "decision": "open", "lesions": [{**lesion(np.zeros((96, 80), bool)), **change}]}
    answer = client.post(f"{API}/cases/{case}/annotations", json=body)
    assert answer.status_code == 422 and client.get(f"{API}/cases/{case}/annotations").json() == []


def test_text_that_cannot_be_said_again_is_refused(client, case, lesion):
    body = {"lesions": [lesion(np.zeros((96, 80), bool))]}
    body["lesions"][0]["edits"][0]["detail"] = {"x": "HERE"}
    for broken in ('"\\ud800"', "NaN", "1e999"):
        text = json.dumps(body).replace('"HERE"', broken)
        answer = client.post(
            f"{API}/cases/{case}/annotations", content=text, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 422, broken


def test_of_saves_at_the_same_time_one_stands(client, case):
    record = client.post(f"{API}/cases/{case}/annotations", json={"annotator": "a"}).json()
    answers = []
    start = threading.Barrier(8)

    def save(n):
        start.wait()
        body = {"annotator": f"a{n}", "decision": "open", "revision": 1}
        answers.append(client.put(f"{API}/annotations/{record['id']}", json=body).status_code)

    threads = [threading.Thread(target=save, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200] + [409] * 7


def test_a_batch_does_every_case_once_and_tells_of_failures(client, upload, picture, until):
    files = {f"s{n}.png": picture(seed=n) for n in range(4)}
    files["flat.png"] = cv2.imencode(".png", np.full((64, 64), 7, np.uint8))[1].tobytes()
    ids = {one["name"]: one["id"] for one in upload(client, files)["created"]}
    client.post(f"{API}/cases/{ids['s0']}/predictions")
    answer = client.post(f"{API}/jobs", json={"kind": "predict", "cases": None})
    assert answer.status_code == 202 and answer.json()["total"] == 4
    job = until(lambda: (one := client.get(f"{API}/jobs/{answer.json()['id']}").json())["finished"] and one)
    assert (job["state"], job["done"], job["failed"]) == ("done", 3, 1)
    assert job["errors"] == [{"case": ids["flat"], "error": job["errors"][0]["error"]}]
    assert "nothing to see" in job["errors"][0]["error"]
    for name, one in ids.items():
        assert len(client.get(f"{API}/cases/{one}/predictions").json()) == (name != "flat")
    assert client.get(f"{API}/jobs").json()[0] == job
    assert client.delete(f"{API}/jobs/{job['id']}").status_code == 409


def test_a_batch_can_be_cancelled_and_outlives_deleted_cases(client, upload, picture, until, monkeypatch):
    from tumorscope.server import predicting

    held, compute = threading.Event(), predicting.compute

    def slow(*given):
        held.wait(20)
        return compute(*given)

    monkeypatch.setattr(predicting, "compute", slow)
    ids = [one["id"] for one in upload(client, {f"s{n}.png": picture(seed=n) for n in range(6)})["created"]]
    job = client.post(f"{API}/jobs", json={"cases": ids}).json()
    until(lambda: client.get(f"{API}/jobs/{job['id']}").json()["state"] == "running")
    client.delete(f"{API}/cases/{ids[-1]}")
    cancelled = client.delete(f"{API}/jobs/{job['id']}").json()
    assert cancelled["state"] == "cancelled" and cancelled["finished"]
    held.set()
    second = client.post(f"{API}/jobs", json={"cases": ids[:2]}).json()
    until(lambda: client.get(f"{API}/jobs/{second['id']}").json()["state"] == "done")
    assert client.get(f"{API}/jobs/{job['id']}").json()["done"] == 0
    assert [len(client.get(f"{API}/cases/{one}/predictions").json()) for one in ids[:3]] == [1, 1, 0]
    assert client.post(f"{API}/jobs", json={"cases": ["none"]}).status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/cases/x"), ("DELETE", "/cases/x"), ("GET", "/cases/x/thumbnail.png"),
        ("GET", "/cases/x/image.nii.gz"), ("POST", "/cases/x/predictions"), ("GET", "/cases/x/predictions"),
        ("GET", "/predictions/x/mask.png"), ("GET", "/predictions/x/mask.nii.gz"),
        ("GET", "/predictions/x/probability.nii.gz"), ("GET", "/predictions/x/uncertainty.nii.gz"),
        ("GET", "/predictions/x/explanation.png"), ("GET", "/cases/x/annotations"), ("GET", "/annotations/x"),
        ("DELETE", "/annotations/x"), ("GET", "/annotations/x/export"), ("GET", "/jobs/x"), ("DELETE", "/jobs/x"),
        ("GET", "/nothing"),
    ],
)  # fmt: skip
def test_what_is_not_there(client, method, path):
    answer = client.request(method, API + path)
    assert answer.status_code == 404 and set(answer.json()) == {"error", "code"}


def test_a_method_that_a_route_has_not(client):
    assert client.put(f"{API}/health").json()["code"] == "method"


def test_too_many_are_told_when_to_come_again(serving, upload, discs, until):
    with serving(workers=1, queue=1) as client:
        case = upload(client)["created"][0]["id"]
        discs.slow = threading.Event()
        body = {"prompts": {"points": [{"y": 1, "x": 1}]}}
        answers = []
        threads = [
            threading.Thread(
                target=lambda: answers.append(client.post(f"{API}/cases/{case}/candidates", json=body).status_code)
            )
            for _ in range(2)
        ]
        for n, thread in enumerate(threads):
            thread.start()
            until(lambda n=n: sum(list(client.workspace.pool.facts().values())[:2]) == n + 1)
        refused = client.post(f"{API}/cases/{case}/candidates", json=body)
        assert refused.status_code == 429 and int(refused.headers["retry-after"]) >= 1
        assert client.get(f"{API}/health").json()["queue"] == {"running": 1, "waiting": 1, "limit": 1}
        discs.slow.set()
        for thread in threads:
            thread.join()
        assert answers == [200, 200]
