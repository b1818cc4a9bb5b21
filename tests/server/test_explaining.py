"""Grad-CAM of a model that came from a training run; needs torch."""

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the train extra")

API = "/api/v1"
RECIPE = """
name = "tiny"
task = "classify"
model = { backbone = "custom-cnn", pretrained = "no", channels = 1, width = 0.1 }
input = { size = 48 }
phases = [{ epochs = 1 }]
data = { validation = 0.3, test = 0.3, rounds = 20 }
machine = { precision = "fp32", workers = 0 }
"""


@pytest.fixture(scope="module")
def runs(phantom_folder, tmp_path_factory):
    from tumorscope.training import recipe as recipes
    from tumorscope.training.classifier_run import train

    folder = tmp_path_factory.mktemp("runs")
    train(recipes.parse(RECIPE, "tiny.toml"), [phantom_folder], folder / "first")
    return folder


def test_a_run_is_offered_and_explained(runs, serving, upload, picture, volume):
    files = {"s.png": picture(), "v.nii.gz": volume}
    with serving(runs=runs) as client:
        offered = {one["name"]: one for one in client.get(f"{API}/models").json()}
        assert offered["first"]["explainable"] and not offered["tiny"]["explainable"]
        for case in upload(client, files)["created"]:
            found = client.post(f"{API}/cases/{case['id']}/predictions", json={"model": "first"}).json()
            assert found["model"] == "first" and found["explainable"]
            answer = client.get(f"{API}/predictions/{found['id']}/explanation.png")
            assert answer.status_code == 200, answer.text
            shown = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
            height, width = case["shape"][-2:]
            assert shown.shape[0] / shown.shape[1] == pytest.approx(height / width, rel=0.02)
            if "Z" in case["axes"]:
                first = client.get(f"{API}/predictions/{found['id']}/explanation.png?index=0")
                assert first.status_code == 200 and first.content != answer.content
                beyond = client.get(f"{API}/predictions/{found['id']}/explanation.png?index=99")
                assert beyond.status_code == 422


def test_without_torch_the_remedy_is_named(runs, serving, upload, monkeypatch):
    from tumorscope.server import explaining

    with serving(runs=runs) as client:
        case = upload(client)["created"][0]["id"]
        found = client.post(f"{API}/cases/{case}/predictions", json={"model": "first"}).json()
        monkeypatch.setattr(explaining, "find_spec", lambda name: None)
        answer = client.get(f"{API}/predictions/{found['id']}/explanation.png")
        assert answer.status_code == 409 and "pip install" in answer.json()["error"]


def test_a_folder_that_is_no_run_is_offered_but_not_explained(bundle, serving, upload, tmp_path):
    place = tmp_path / "runs" / "bare"
    place.mkdir(parents=True)
    (place / "model.onnx").write_bytes(bundle.read_bytes())
    with serving(runs=tmp_path / "runs") as client:
        case = upload(client)["created"][0]["id"]
        found = client.post(f"{API}/cases/{case}/predictions", json={"model": "bare"}).json()
        answer = client.get(f"{API}/predictions/{found['id']}/explanation.png")
        assert answer.status_code == 409 and str(tmp_path) not in answer.text
