"""Whatever is sent to a route, no answer is an internal error, and every error has the one form."""

import os

import pytest

schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis of the dev extra")

from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

API = "/api/v1"
CHECKED = 8  # requests to each route; `slow` sends more
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much]
ROUTES = (
    "GET /health", "GET /models", "GET /cases", "POST /cases", "GET /cases/{case_id}", "DELETE /cases/{case_id}",
    "GET /cases/{case_id}/thumbnail.png", "GET /cases/{case_id}/image.nii.gz", "POST /cases/{case_id}/predictions",
    "GET /cases/{case_id}/predictions", "GET /predictions/{prediction_id}/probability.nii.gz",
    "GET /predictions/{prediction_id}/uncertainty.nii.gz", "GET /predictions/{prediction_id}/mask.nii.gz",
    "GET /predictions/{prediction_id}/mask.png", "GET /predictions/{prediction_id}/explanation.png",
    "POST /cases/{case_id}/candidates", "POST /cases/{case_id}/annotations", "PUT /annotations/{annotation_id}",
    "GET /annotations/{annotation_id}", "GET /cases/{case_id}/annotations", "DELETE /annotations/{annotation_id}",
    "GET /annotations/{annotation_id}/export", "GET /export", "POST /import", "GET /agreement", "POST /jobs",
    "GET /jobs", "GET /jobs/{job_id}", "DELETE /jobs/{job_id}",
)  # fmt: skip


def test_the_list_of_routes_is_whole(client):
    paths = client.app.openapi()["paths"]
    found = {f"{method.upper()} {path.removeprefix(API)}" for path, methods in paths.items() for method in methods}
    assert found == set(ROUTES)


def running(app):
    """An app that is started already, which schemathesis would start once more, under a name that it goes by."""

    async def serve(scope, receive, send):
        if scope["type"] != "lifespan":
            headers = [(key, value) for key, value in scope["headers"] if key != b"host"]
            await app({**scope, "headers": [*headers, (b"host", b"127.0.0.1")]}, receive, send)
            return
        for event in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{event}"
            await send({"type": f"lifespan.{event}.complete"})

    return serve


def explore(client, upload, picture, route, requests):
    """Requests to one route, to ids that are there and to ones that are not."""
    method, _, path = route.partition(" ")
    operation = schemathesis.openapi.from_asgi("/openapi.json", running(client.app))[API + path][method]
    ids = {}

    def there():
        """Ids of a case with all that can belong to it, made anew once deleted."""
        if not ids or client.get(f"{API}/cases/{ids['case_id']}").status_code != 200:
            ids["case_id"] = upload(client)["created"][0]["id"]
            ids["prediction_id"] = client.post(f"{API}/cases/{ids['case_id']}/predictions").json()["id"]
            saved = client.post(f"{API}/cases/{ids['case_id']}/annotations", json={"decision": "accepted"})
            ids["annotation_id"] = saved.json()["id"]
            ids["job_id"] = client.post(f"{API}/jobs", json={"cases": []}).json()["id"]
        return ids

    @settings(
        max_examples=requests, deadline=None, database=None, derandomize=bool(os.environ.get("CI")),
        suppress_health_check=QUIET, phases=[Phase.generate],
    )  # fmt: skip
    @given(case=operation.as_strategy(), real=st.booleans())
    def send(case, real):
        if real and case.path_parameters:
            case.path_parameters = {name: there()[name] for name in case.path_parameters}
        answer = case.call(base_url="http://127.0.0.1")
        assert answer.status_code < 500, (answer.status_code, answer.text)
        if answer.status_code >= 400:
            assert set(answer.json()) == {"error", "code"} and "\n" not in answer.json()["error"]

    send()


@pytest.mark.parametrize("route", ROUTES)
def test_no_request_breaks_a_route(client, upload, picture, route):
    explore(client, upload, picture, route, CHECKED)


@pytest.mark.slow
@pytest.mark.parametrize("route", ROUTES)
def test_many_requests_break_no_route(client, upload, picture, route):
    explore(client, upload, picture, route, 400)
