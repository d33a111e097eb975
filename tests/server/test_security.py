"""Who may call, and what browsers are told."""

import hashlib
from pathlib import Path

import httpx
import pytest

from server.sleeping import sleeping_server
from tetriserve.core.errors import ConfigurationError
from tetriserve.server.config import ServerConfig
from tetriserve.server.keys import KeyRing, read_keys

KEY = "a-key-of-sixteen-or-more"
BODY = {"prompt": "x", "size": "256x256", "num_inference_steps": 1}
PATH = "/v1/images/generations"


async def test_without_a_key_that_is_known_there_is_nothing_to_be_had() -> None:
    async with (
        sleeping_server(ServerConfig(api_keys={"ann": KEY})) as server,
        httpx.AsyncClient(base_url=server.url) as client,
    ):
        for headers in (
            {},
            {"authorization": "Bearer wrong"},
            {"authorization": KEY},
            {"authorization": f"Basic {KEY}"},
        ):
            response = await client.post(PATH, json=BODY, headers=headers)
            assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_api_key")
            assert response.headers["www-authenticate"] == "Bearer"
            assert (await client.get("/v1/models", headers=headers)).status_code == 401
        known = {"authorization": f"Bearer {KEY}"}
        answer = await client.post(PATH, json=BODY | {"response_format": "url"}, headers=known)
        assert answer.status_code == 200
        assert (await client.get("/health")).status_code == 200
        assert (await client.get(answer.json()["data"][0]["url"])).status_code == 200
        assert (await client.get("/v1/images/files/../jobs")).status_code == 401


async def test_a_key_is_asked_for_before_the_body_is_looked_at() -> None:
    async with (
        sleeping_server(ServerConfig(api_keys={"ann": KEY})) as server,
        httpx.AsyncClient(base_url=server.url) as client,
    ):
        assert (await client.post(PATH, content=b"{")).status_code == 401


def test_keys_come_from_a_file_and_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# for tests\nann:{KEY}\n{KEY}-2  # nobody in particular\n\n")
    path.chmod(0o600)
    keys = read_keys(path, {"TETRISERVE_API_KEYS": f"bob:{KEY}-3, {KEY}-4"})
    unnamed = [f"{KEY}-2", f"{KEY}-4"]
    names = [f"key-{hashlib.sha256(key.encode()).hexdigest()[:12]}" for key in unnamed]
    assert keys == {"ann": KEY, "bob": f"{KEY}-3"} | dict(zip(names, unnamed, strict=True))
    ring = KeyRing(keys)
    assert [ring.caller(key) for key in (KEY, f"{KEY}-3", "", "nonsense", "\udcff")] == ["ann", "bob", None, None, None]
    assert read_keys(None, {}) == {}


@pytest.mark.parametrize(
    ("content", "mode", "complaint"),
    [
        ("short", 0o600, "16"),
        (f"{KEY}\n{KEY}", 0o600, "twice"),
        ("# nothing", 0o600, "no key"),
        (KEY, 0o662, "chmod 600"),
        (f"anybody:{KEY}", 0o600, "without a key"),
    ],
)
def test_a_key_file_that_is_no_protection_is_refused(tmp_path: Path, content: str, mode: int, complaint: str) -> None:
    path = tmp_path / "keys"
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=complaint):
        read_keys(path, {})


async def test_browsers_are_told_to_be_careful_and_other_origins_nothing() -> None:
    async with sleeping_server() as server, httpx.AsyncClient(base_url=server.url) as client:
        response = await client.get("/v1/models", headers={"origin": "https://evil.example"})
        preflight = await client.options(
            PATH, headers={"origin": "https://e.example", "access-control-request-method": "POST"}
        )
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["x-frame-options"] == "DENY"
    assert response.headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
    assert "server" not in response.headers
    assert not any(name.startswith("access-control") for name in (*response.headers, *preflight.headers))


async def test_an_origin_that_is_allowed_may_call_and_no_other() -> None:
    config = ServerConfig(cors_origins=("https://ours.example",), api_keys={"ann": KEY})
    async with sleeping_server(config) as server, httpx.AsyncClient(base_url=server.url) as client:
        allowed, other = [
            await client.options(PATH, headers={"origin": origin, "access-control-request-method": "POST"})
            for origin in ("https://ours.example", "https://evil.example")
        ]
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, "https://ours.example")
    assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize(
    ("host", "keys", "expected"),
    [
        ("127.0.0.1", {}, False),
        ("::1", {}, False),
        ("localhost", {}, False),
        ("0.0.0.0", {}, True),
        ("::", {}, True),
        ("0.0.0.0", {"ann": KEY}, False),
    ],
)
def test_listening_openly_without_a_key_is_noticed(host: str, keys: dict[str, str], expected: bool) -> None:
    assert ServerConfig(api_keys=keys).is_open_at(host) is expected
