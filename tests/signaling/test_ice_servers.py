"""ICE servers from the environment: none unasked, half of them never, credentials renewed in time."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

import rtclab
from http_tools import answering
from rtclab.errors import IceServerError
from rtclab.signaling.ice_servers import (
    LIFETIME_S,
    RENEW_BEFORE_S,
    EnvironmentServers,
    _http,
    from_environment,
    shared_secret_credentials,
)

TURN = {"TURN_URL": "turn:turn.example.org"}
CLOUDFLARE = {"CLOUDFLARE_TURN_KEY_ID": "key", "CLOUDFLARE_TURN_KEY_API_TOKEN": "token"}
TWILIO = {"TWILIO_ACCOUNT_SID": "AC1", "TWILIO_AUTH_TOKEN": "auth"}
METERED = {"METERED_DOMAIN": "lab.metered.live", "METERED_SECRET_KEY": "s&cret"}
GIVEN = {"urls": "turn:given.example.net", "username": "u", "credential": "c"}


class Provider:
    """Answers requests with what it has, and notes them; its clock stands until it is set."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[urllib.request.Request] = []
        self.now = 1_000_000.0

    def __call__(self, request: urllib.request.Request) -> Any:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def servers(self, environ: dict[str, str]) -> EnvironmentServers:
        return EnvironmentServers(environ, lambda: self.now, self)


def test_an_environment_that_says_nothing_gives_nothing() -> None:
    nobody = Provider(AssertionError("nothing shall be asked"))
    assert nobody.servers({"PATH": "/bin", "TURN_URL": " "})() == []
    assert repr(nobody.servers({})) == "<ICE servers: none>"
    assert nobody.requests == []


def test_fixed_servers_of_the_environment() -> None:
    servers = from_environment(
        {"STUN_URL": "stun:a, stun:b", **TURN, "TURN_USERNAME": "lab", "TURN_PASSWORD": "learn"}
    )
    assert servers() == [
        {"urls": ["stun:a", "stun:b"]},
        {"urls": ["turn:turn.example.org"], "username": "lab", "credential": "learn"},
    ]
    assert repr(servers) == "<ICE servers: STUN, TURN>"


def test_a_shared_secret_gives_credentials_that_end() -> None:
    username, credential = shared_secret_credentials("north", 1_700_000_000, 600, "alice")
    assert username == "1700000600:alice"
    digest = hmac.new(b"north", b"1700000600:alice", hashlib.sha1).digest()
    assert base64.b64decode(credential) == digest

    coturn = Provider(AssertionError("nothing shall be asked"))
    servers = coturn.servers({**TURN, "TURN_SECRET": "north"})
    first = servers()[0]
    assert first["username"] == f"{int(coturn.now) + LIFETIME_S}:rtclab"
    coturn.now += LIFETIME_S - RENEW_BEFORE_S - 1
    assert servers()[0] == first
    coturn.now += 2
    assert servers()[0]["username"] == f"{int(coturn.now) + LIFETIME_S}:rtclab"


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        (TURN, "TURN_URL is set but TURN_USERNAME and TURN_PASSWORD, or TURN_SECRET is not"),
        ({**TURN, "TURN_USERNAME": "lab"}, "TURN_PASSWORD"),
        ({"TURN_SECRET": "north"}, "TURN_SECRET is set but TURN_URL is not"),
        ({**TURN, "TURN_USERNAME": "a", "TURN_PASSWORD": "b", "TURN_SECRET": "c"}, "both set"),
        ({"CLOUDFLARE_TURN_KEY_ID": "key"}, "CLOUDFLARE_TURN_KEY_API_TOKEN is not"),
        ({"TWILIO_AUTH_TOKEN": "auth"}, "TWILIO_ACCOUNT_SID is not"),
        ({"METERED_DOMAIN": "lab.metered.live"}, "METERED_SECRET_KEY is not"),
        ({"STUN_URL": "stun.example.org"}, "no URL of a STUN or TURN server"),
    ],
)
def test_what_is_half_set_is_an_error_at_once(environ: dict[str, str], says: str) -> None:
    with pytest.raises(IceServerError, match=says):
        from_environment(environ)


def test_cloudflare_is_asked_as_its_documentation_says() -> None:
    provider = Provider({"iceServers": [{"urls": ["stun:s"]}, {**GIVEN, "more": 1}]})
    assert provider.servers(CLOUDFLARE)() == [{"urls": ["stun:s"]}, {**GIVEN, "urls": [GIVEN["urls"]]}]
    (request,) = provider.requests
    assert request.full_url.endswith("/v1/turn/keys/key/credentials/generate-ice-servers")
    assert request.get_header("Authorization") == "Bearer token"
    assert json.loads(bytes(request.data)) == {"ttl": LIFETIME_S}  # type: ignore[arg-type]


def test_twilio_is_asked_as_its_documentation_says() -> None:
    provider = Provider({"ice_servers": [{"url": "stun:s", "urls": "stun:s"}, GIVEN], "ttl": "1"})
    assert [server["urls"] for server in provider.servers(TWILIO)()] == [["stun:s"], [GIVEN["urls"]]]
    (request,) = provider.requests
    assert request.full_url.endswith("/Accounts/AC1/Tokens.json")
    assert request.get_header("Authorization") == "Basic " + base64.b64encode(b"AC1:auth").decode()
    assert request.data == f"Ttl={LIFETIME_S}".encode()


def test_metered_makes_a_credential_that_ends_and_lists_its_servers() -> None:
    provider = Provider({"apiKey": "one-day"}, [GIVEN])
    assert [server["username"] for server in provider.servers(METERED)()] == ["u"]
    made, listed = provider.requests
    assert made.full_url == "https://lab.metered.live/api/v1/turn/credential?secretKey=s%26cret"
    assert json.loads(bytes(made.data))["expiryInSeconds"] == LIFETIME_S  # type: ignore[arg-type]
    assert listed.full_url == "https://lab.metered.live/api/v1/turn/credentials?apiKey=one-day"


def test_credentials_are_fetched_once_and_again_shortly_before_their_end() -> None:
    provider = Provider({"iceServers": [GIVEN]})
    servers = provider.servers(CLOUDFLARE)
    assert provider.requests == []
    assert servers() == servers() == servers()
    assert len(provider.requests) == 1
    provider.now += LIFETIME_S - RENEW_BEFORE_S + 1
    servers()
    assert len(provider.requests) == 2


def test_a_provider_that_fails_is_named_but_not_while_its_credentials_last() -> None:
    provider = Provider({"iceServers": [GIVEN]}, IceServerError("answered 500"))
    servers = provider.servers(CLOUDFLARE)
    kept = servers()
    provider.now += LIFETIME_S - 1
    assert servers() == kept
    provider.now += 2
    with pytest.raises(IceServerError, match="Cloudflare: answered 500"):
        servers()


@pytest.mark.parametrize("answer", [{}, "no", 7, {"iceServers": "no"}, {"iceServers": [{"urls": "x"}]}])
def test_an_answer_without_servers_is_an_error(answer: Any) -> None:
    with pytest.raises(IceServerError, match="Cloudflare: "):
        Provider(answer).servers(CLOUDFLARE)()


class _Refusing(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        if "nothing" in self.path:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>")
        else:
            self.send_error(401)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def refusing() -> Iterator[str]:
    with answering(_Refusing) as address:
        yield address


def test_http_failures_are_told_without_the_secrets_in_the_address(refusing: str) -> None:
    for path, says in (
        ("?key=s3cret", "answered 401 Unauthorized; look at"),
        ("nothing?key=s3cret", "no usable"),
    ):
        request = urllib.request.Request(f"http://{refusing}/{path}", b"{}")
        with pytest.raises(IceServerError, match=says) as failed:
            _http(request)
        assert refusing in str(failed.value)
        assert "s3cret" not in str(failed.value)
    with pytest.raises(IceServerError, match=r"127\.0\.0\.1:9 gave no usable answer"):
        _http(urllib.request.Request("http://127.0.0.1:9/?key=s3cret", b"{}"))


class _CutOff(BaseHTTPRequestHandler):
    """Gives a whole answer once, and then the beginning of one."""

    answer = json.dumps({"iceServers": [GIVEN]}).encode()
    answered = 0

    def do_POST(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer if not _CutOff.answered else self.answer[:9])
        _CutOff.answered += 1

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class _Garbled(_Refusing):
    def do_POST(self) -> None:
        self.wfile.write(b"no HTTP at all\r\n\r\n")


def test_an_answer_that_is_cut_off_is_a_failure_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_CutOff, "answered", 0)
    now = 1_000_000.0
    with answering(_CutOff) as address:

        def http(request: urllib.request.Request) -> Any:
            return _http(urllib.request.Request(f"http://{address}/?key=s3cret", b"{}"))

        servers = EnvironmentServers(CLOUDFLARE, lambda: now, http)
        kept = servers()
        now += LIFETIME_S - 1
        assert servers() == kept
        now += 2
        with pytest.raises(IceServerError, match=f"{address} gave no usable answer: IncompleteRead"):
            servers()
    assert _CutOff.answered == 3


def test_what_is_no_http_is_told_without_the_secrets_in_the_address() -> None:
    with answering(_Garbled) as address, pytest.raises(IceServerError, match="no usable answer") as failed:
        _http(urllib.request.Request(f"http://{address}/?key=s3cret", b"{}"))
    assert "s3cret" not in str(failed.value)
    with pytest.raises(IceServerError, match="no usable answer") as failed:
        _http(urllib.request.Request("http://127.0.0.1:9/a blank?key=s3cret", b"{}"))
    assert "s3cret" not in str(failed.value)


def test_it_is_part_of_the_package() -> None:
    assert rtclab.ice_servers.from_environment({})() == []
