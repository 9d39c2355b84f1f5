"""Requests of other sites, other hosts and other people are refused before any route."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from unmask.serve.app import PAGE
from unmask.serve.guard import Access
from unmask.serve.run import Address, serve
from unmask.serve.workspace import list_entries


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8420", ""]
)
def test_another_host_is_refused(served, host):
    """DNS rebinding: the name of another site that points to this machine."""
    assert served().get("/api/images", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1:8420", "localhost:9000", "[::1]:8420", "LOCALHOST"])
def test_this_machine_is_let_in_also_through_a_tunnel(served, host):
    assert served().get("/api/images", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://127.0.0.1:1234", "http://localhost", "file://"],
)
def test_another_origin_is_refused(served, origin):
    client = served()
    for method, path in (("GET", "/api/images"), ("POST", "/api/train")):
        response = client.request(method, path, headers={"origin": origin})
        assert response.status_code == 403
        assert "access-control-allow-origin" not in response.headers


def test_the_own_origin_is_let_in(served):
    headers = {"origin": "http://127.0.0.1:8420"}
    assert served().get("/api/images", headers=headers).status_code == 200


def test_a_request_that_a_browser_calls_cross_site_is_refused(served):
    client = served()
    headers = {"sec-fetch-site": "cross-site"}
    assert client.get("/api/images", headers=headers).status_code == 403
    assert client.get("/", headers=headers).status_code == 200


def test_no_preflight_is_answered(served):
    headers = {"origin": "http://evil.example", "access-control-request-method": "PUT"}
    response = served().request("OPTIONS", "/api/images", headers=headers)
    assert response.status_code == 403
    assert "access-control-allow-origin" not in response.headers


def test_every_response_forbids_scripts_from_elsewhere(served):
    client = served()
    for path in ("/", "/api/images", "/page/main.js", "/api/image/none"):
        policy = client.get(path).headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy


@pytest.fixture
def remote(served):
    """A server that other machines can reach."""
    return replace(served(), access=Access("192.0.2.7", "secret-token"))


def test_beyond_this_machine_a_token_is_needed(remote):
    base = "http://192.0.2.7:8420"
    assert remote.get("/api/images", base=base).status_code == 401
    assert remote.get("/", base=base).status_code == 401
    wrong = {"authorization": "Bearer secret-toke"}
    assert remote.get("/api/images", base=base, headers=wrong).status_code == 401
    right = {"authorization": "Bearer secret-token"}
    assert remote.get("/api/images", base=base, headers=right).status_code == 200


def test_the_printed_address_leaves_the_token_in_a_cookie(remote):
    base = "http://192.0.2.7:8420"
    response = remote.get("/?token=secret-token", base=base)
    assert (response.status_code, response.headers["location"]) == (303, "/")
    cookie = response.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    kept = {"cookie": cookie.partition(";")[0]}
    assert remote.get("/api/images", base=base, headers=kept).status_code == 200
    assert remote.get("/?token=wrong", base=base).status_code == 401


def test_a_name_of_somebody_else_is_refused_even_with_the_token(remote):
    headers = {"host": "evil.example", "authorization": "Bearer secret-token"}
    assert remote.get("/api/images", headers=headers).status_code == 421


def test_another_address_than_this_machine_needs_a_token(tmp_path, monkeypatch):
    uvicorn = pytest.importorskip("uvicorn")
    bound: list[str] = []
    monkeypatch.setattr(
        uvicorn.Server, "run", lambda _, sockets: bound.append(sockets[0].getsockname()[0])
    )
    said: list[str] = []
    for address in (None, Address("0.0.0.0", 0)):
        serve(tmp_path, address=address or Address(port=0), say=said.append)
    assert bound == ["127.0.0.1", "0.0.0.0"]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", said[0])
    assert re.fullmatch(r"http://0\.0\.0\.0:\d+/\?token=[\w-]{32,}", said[1])


def test_a_public_demonstration_lets_everybody_in_but_no_other_site(served):
    demo = replace(served(demo=True), access=Access("0.0.0.0", None, public=True))
    headers = {"host": "somebody.hf.space"}
    assert demo.get("/api/images", headers=headers).status_code == 200
    headers["origin"] = "https://evil.example"
    assert demo.get("/api/images", headers=headers).status_code == 403


def test_a_public_demonstration_does_not_say_where_its_folder_is(served):
    """Neither in answers nor in errors; on one's own page the whole path helps."""
    for ndim, demo in ((2, True), (3, False)):
        client = served(ndim, demo=demo)
        root = client.site.workspace.root
        assert client.json("/api/images")["folder"] == (root.name if demo else str(root))
        (root / "a_damaged.png").write_bytes(b"no image")
        entries = {each.name: each.id for each in list_entries(client.site.workspace)}
        answer = client.get(f"/api/image/{entries['a_damaged']}")
        assert answer.status_code == 422
        assert "a_damaged.png" in answer.text
        assert (str(root) in answer.text) is not demo


def test_files_of_the_page_are_kept_until_they_change(served):
    client = served()
    start = client.get("/")
    assert start.headers["cache-control"] == "no-cache"
    addresses = set(re.findall(r'"(/page/[^"]+)"', start.text))
    assert {address.rpartition("/")[2] for address in addresses} == {
        path.name for path in PAGE.iterdir() if path.suffix in (".js", ".css")
    }
    for address in addresses:
        assert "immutable" in client.get(address).headers["cache-control"]
    other = client.get("/page/of-another-version/main.js")
    assert (other.status_code, other.headers["cache-control"]) == (200, "no-cache")
