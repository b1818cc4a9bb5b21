"""Who may ask what: names, origins, tokens, headers, sizes; and what never leaves or enters."""

import logging
import re

import pytest

from tumorscope.server.settings import Settings, SettingsError

API = "/api/v1"
TOKEN = "a-token-of-20-letters"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "scans.example.org"])
def test_other_machines_are_not_served_without_a_token(host):
    with pytest.raises(SettingsError, match="token"):
        Settings.load(environment={}, host=host)
    assert Settings.load(environment={}, host=host, token=TOKEN).host == host


@pytest.mark.parametrize("token", ["short", "", "ümlaut-ümlaut-ümlaut", "line\nline-line-line-line"])
def test_a_weak_token_is_refused(token):
    with pytest.raises(SettingsError, match="token"):
        Settings.load(environment={}, token=token)


def test_settings_come_from_file_then_environment_then_options(tmp_path):
    file = tmp_path / "serve.toml"
    file.write_text("port = 1\nqueue = 2\nworkers = 3\n")
    environment = {"TUMORSCOPE_SERVE_QUEUE": "20", "TUMORSCOPE_SERVE_WORKERS": "30", "OTHER": "x"}
    settings = Settings.load(file, environment=environment, workers=4)
    assert (settings.port, settings.queue, settings.workers) == (1, 20, 4)
    with pytest.raises(SettingsError, match="did you mean 'queue'"):
        Settings.load(environment={"TUMORSCOPE_SERVE_QUEU": "1"})
    with pytest.raises(SettingsError, match=r"setting port.*--help"):
        Settings.load(environment={"TUMORSCOPE_SERVE_PORT": "high"})
    (tmp_path / "token").write_text(TOKEN + "\n")
    assert Settings.load(environment={}, token_file=tmp_path / "token").secret == TOKEN
    assert TOKEN not in repr(Settings.load(environment={}, token=TOKEN))
    with pytest.raises(SettingsError, match="cannot be read"):
        Settings.load(environment={}, token_file=tmp_path / "none")
    file.write_text("port = ")
    with pytest.raises(SettingsError, match="TOML"):
        Settings.load(file, environment={})


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200), ("localhost:1234", 200), ("LOCALHOST", 200), ("[::1]:80", 200), ("evil.example", 421),
        ("127.0.0.1.evil.example", 421), ("", 421), ("localhost@evil.example", 421),
    ],
)  # fmt: skip
def test_the_server_answers_to_its_own_names_only(client, host, status):
    assert client.get(f"{API}/health", headers={"Host": host}).status_code == status


def test_a_proxys_name_can_be_allowed(serving):
    with serving(allowed_hosts=("scans.example.org",)) as client:
        assert client.get(f"{API}/health", headers={"Host": "scans.example.org:443"}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True), ({"Origin": "http://127.0.0.1"}, True), ({"Origin": "http://127.0.0.1:81"}, False),
        ({"Origin": "http://evil.example"}, False), ({"Origin": "null"}, False), ({"Origin": ""}, False),
        ({"Sec-Fetch-Site": "same-origin"}, True), ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False), ({"Sec-Fetch-Site": "same-site"}, False),
    ],
)  # fmt: skip
def test_pages_of_other_sites_can_neither_change_nor_read(client, case, headers, allowed):
    for method, path in (
        ("POST", f"/cases/{case}/annotations"), ("PUT", "/annotations/x"), ("DELETE", "/annotations/x"),
        ("GET", "/cases"), ("GET", f"/cases/{case}/thumbnail.png"),
    ):  # fmt: skip
        answer = client.request(method, API + path, headers=headers, json={} if method in ("POST", "PUT") else None)
        assert (answer.status_code != 403) == allowed, (method, path)
        assert "access-control-allow-origin" not in answer.headers


def test_no_route_answers_without_the_token(serving):
    with serving(token=TOKEN) as client:
        for path, methods in client.app.openapi()["paths"].items():
            for method in methods:
                answer = client.request(method.upper(), re.sub(r"\{.*?\}", "x", path))
                assert answer.status_code == 401 and answer.json()["code"] == "token", path
                assert answer.headers["www-authenticate"] == "Bearer"
        for path in ("/openapi.json", "/docs", "/"):
            assert client.get(path).status_code == 401, path
        for wrong in (
            f"Bearer {TOKEN}x",
            "Bearer",
            f"Basic {TOKEN}",
            TOKEN,
            "Bearer ümlaut".encode().decode("latin-1"),
        ):
            assert client.get(f"{API}/health", headers={"Authorization": wrong.encode("latin-1")}).status_code == 401
        assert client.get(f"{API}/health", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_signing_in_with_a_browser(serving):
    with serving(token=TOKEN) as client:
        page = client.get("/", headers={"Accept": "text/html"}, follow_redirects=False)
        assert (page.status_code, page.headers["location"]) == (303, "/login")
        assert client.get("/login").status_code == 200
        assert client.post("/login", data={"token": "wrong"}).status_code == 401
        assert client.get("/login?token=wrong").status_code == 401
        assert client.get(f"{API}/health").status_code == 401
        answer = client.post("/login", data={"token": TOKEN}, follow_redirects=False)
        cookie = answer.headers["set-cookie"]
        assert answer.status_code == 303 and TOKEN not in cookie
        assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower()
        assert client.get(f"{API}/health").status_code == 200
        client.cookies.clear()
        assert client.get(f"/login?token={TOKEN}").status_code == 200  # led on to the page by its cookie
        assert client.get(f"{API}/health").status_code == 200
        assert (
            client.post("/login", data={"token": TOKEN}, headers={"Origin": "http://evil.example"}).status_code == 403
        )


def test_every_answer_carries_the_policy(client, case):
    for path in ("/", "/docs", "/openapi.json", f"{API}/health", f"{API}/cases/{case}/thumbnail.png", "/none"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy and "object-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe-eval" not in policy.replace("wasm-unsafe-eval", "")
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert "cache-control" in headers
    assert client.get(f"{API}/cases", headers={"Host": "evil"}).headers["content-security-policy"]


def test_pages_name_no_foreign_host(serving):
    with serving(token=TOKEN) as client:
        pages = [client.get("/login").text]
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        pages.append(client.get("/docs").text)
        assert not any("<script" in text for text in pages)
        for text in (*pages, client.get("/").text):
            assert not re.search(r"""(src|href|action)=["']?(https?:)?//""", text)


def test_the_page_of_the_api_names_every_route(client):
    page = client.get("/docs").text
    for path in client.app.openapi()["paths"]:
        assert path in page


def test_uploads_and_bodies_have_limits(serving, picture):
    with serving(max_upload=20_000, max_body=2_000) as client:
        big = client.post(f"{API}/cases", files=[("files", ("a.png", bytes(30_000)))])
        assert big.status_code == 413 and big.json()["code"] == "too-large"

        def stream():
            yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
            for _ in range(40):
                yield bytes(1000)

        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        assert client.post(f"{API}/cases", content=stream(), headers=headers).status_code == 413
        assert list(client.workspace.incoming.iterdir()) == []
        body = '{"annotator": "' + "a" * 3000 + '"}'
        answer = client.post(f"{API}/cases/x/annotations", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 413
        assert client.get(f"{API}/cases", headers={"Content-Length": "-1"}).status_code == 413


def test_a_client_cannot_name_a_path(client, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    for path in (
        "/../secret.txt", "/..%2f..%2fsecret.txt", "/assets/../../store.sqlite", "/assets/%2e%2e/%2e%2e/secret.txt",
        "//etc/passwd", "/viewer/../../app.py", "/index.html/../../secret.txt", "/assets/\x00", f"/{secret}",
    ):  # fmt: skip
        answer = client.get(path.replace("\x00", "%00"))
        assert answer.status_code in (400, 404, 421) and "secret" not in answer.text.replace("secret.txt", "")


def test_what_is_logged_names_no_case_no_query_and_no_token(serving, upload, caplog):
    with caplog.at_level(logging.DEBUG), serving() as client:
        case = upload(client, {"DOE_JANE.png": b"no scan", "DOE_JANE_2.png": b"\x89PNG broken"})
        assert len(case["skipped"]) == 2
        client.get(f"{API}/cases?q=DOE_JANE")
        client.get("/login?token=DOE_JANE")
        client.get("/DOE_JANE")
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("tumorscope")]
    assert len(ours) >= 3 and not any("DOE_JANE" in line for line in ours)


def test_two_servers_do_not_share_a_workspace(client, settings):
    from tumorscope.errors import OutputError
    from tumorscope.server.workspace import Workspace

    with pytest.raises(OutputError, match="another server uses it"):
        Workspace(settings())


def test_a_built_viewer_is_served_and_nothing_beside_it(tmp_path, settings, discs):
    from fastapi import FastAPI
    from starlette.testclient import TestClient

    from tumorscope.server.routes.pages import add_viewer

    folder = tmp_path / "viewer"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html>viewer")
    (folder / "assets" / "main-1a2b.js").write_text("export {}")
    app = FastAPI()
    add_viewer(app, folder)
    with TestClient(app) as client:
        assert client.get("/").text == client.get("/index.html").text == "<!doctype html>viewer"
        script = client.get("/assets/main-1a2b.js")
        assert "javascript" in script.headers["content-type"] and "immutable" in script.headers["cache-control"]
        assert client.get("/assets/").status_code == client.get("/assets/other.js").status_code == 404


def test_without_a_viewer_the_page_says_how_to_build_it(tmp_path):
    from fastapi import FastAPI
    from starlette.testclient import TestClient

    from tumorscope.server.routes.pages import add_viewer

    app = FastAPI()
    add_viewer(app, tmp_path / "none")
    with TestClient(app) as client:
        assert "make web" in client.get("/").text
