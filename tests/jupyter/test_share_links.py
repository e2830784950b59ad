"""Share links through the Jupyter server: who is let in without a login, and what is given away (nothing)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

import rtclab
from http_tools import wait_until
from jupyter_tools import AUTHORIZED, BASE, TOKEN, JupyterServer, Socket, refusal
from rtclab.jupyter.share import FILES
from rtclab.share import Share
from rtclab.widgets import bundle

NOBODY: dict[str, str] = {}


@pytest.fixture
def share(room: rtclab.Room, monkeypatch: pytest.MonkeyPatch) -> Share:
    """A viewer's link into a room whose kernel has heard of no page yet."""
    monkeypatch.setattr(room._listing._uplink, "_origin", None)
    return room.share()


def token_of(share: Share) -> str:
    return share.url.partition("#token=")[2]


def signaling(room: rtclab.Room, token: str) -> str:
    return f"rtclab/share/{room.id}/signaling?token={token}"


def test_the_link_leads_through_the_server_and_holds_no_token_of_its(
    jupyter: JupyterServer, room: rtclab.Room, share: Share
) -> None:
    base = f"http://localhost:{jupyter.port}{BASE}"
    assert share.url == f"{base}rtclab/share/{room.id}/#token={token_of(share)}"
    for text in (share.url, repr(share), share._repr_html_()):
        assert TOKEN not in text


def test_the_link_begins_as_the_page_of_the_notebook_does(
    jupyter: JupyterServer, room: rtclab.Room, share: Share
) -> None:
    """What people have in their address bar, behind proxies, is what a phone needs."""
    origin = f"http://127.0.0.1:{jupyter.port}"
    Socket(jupyter, f"{room.server_path}/signaling", {**AUTHORIZED, "Origin": origin}).close()
    assert share.url.startswith(f"{origin}{BASE}rtclab/share/")
    another = f"http://localhost:{jupyter.port}"
    visitor = {"Origin": another, "Host": f"localhost:{jupyter.port}"}
    Socket(jupyter, signaling(room, token_of(share)), visitor).close()
    assert share.url.startswith(origin), "visitors do not say where the server is"


def test_the_page_that_shows_a_link_says_how_the_server_is_reached(room: rtclab.Room, share: Share) -> None:
    data, _ = share._repr_mimebundle_()
    assert set(data) == {"text/plain", "text/html", "application/vnd.jupyter.widget-view+json"}
    card = share._card
    assert card is not None
    assert "only from this machine" in card.html
    for nonsense in (
        None,
        "x",
        {"origin": 1},
        {"origin": "vscode-webview://x"},
        {"origin": 'https://a/b"><i>'},
    ):
        card._told(card, nonsense, [])
        assert share.url.startswith("http://localhost:")
    card._told(card, {"origin": "https://hub.example.org"}, [])
    assert share.url.startswith(f"https://hub.example.org{BASE}rtclab/share/{room.id}/#token=")
    assert f'href="{share.url}"' in card.html
    assert "only from this machine" not in card.html
    share.revoke()
    assert "has ended" in card.html


def test_a_public_url_of_the_hub_is_taken(
    room: rtclab.Room, share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTERHUB_PUBLIC_URL", "https://hub.example.org/user/ada/")
    assert share.url.startswith(f"https://hub.example.org/user/ada/rtclab/share/{room.id}/#")


def test_the_page_comes_without_a_login_and_with_a_policy(jupyter: JupyterServer, room: rtclab.Room) -> None:
    assert set(FILES) == set(bundle.PAGE_FILES)
    for name, kind in bundle.PAGE_FILES.items():
        reply = jupyter.ask("GET", f"rtclab/share/{room.id}/{name}", headers=NOBODY)
        assert reply.status == 200
        assert reply.headers.get_all("Content-Type") == [f"{kind}; charset=utf-8"]
        assert "default-src 'self'" in reply.headers["Content-Security-Policy"]
        assert reply.headers["Referrer-Policy"] == "no-referrer"
        assert reply.body == bundle.page_file(name)
        assert TOKEN not in reply.body
        with_login = jupyter.ask("GET", f"rtclab/share/{room.id}/{name}")
        assert with_login.body == reply.body, "the same for everybody"
    assert jupyter.ask("POST", f"rtclab/share/{room.id}/", "x", NOBODY).status in (403, 405)


def test_a_room_that_is_not_there_is_said_to_a_person(jupyter: JupyterServer, room: rtclab.Room) -> None:
    reply = jupyter.ask("GET", "rtclab/share/nowhere/", headers=NOBODY)
    assert reply.status == 404
    assert reply.headers["Content-Type"].startswith("text/html")
    assert "There is no such room" in reply.body
    assert "default-src 'self'" in reply.headers["Content-Security-Policy"]
    assert jupyter.ask("GET", f"rtclab/share/{room.id}/elsewhere", headers=NOBODY).status in (302, 404)


def test_a_viewer_comes_by_the_token_alone(jupyter: JupyterServer, room: rtclab.Room, share: Share) -> None:
    socket = Socket(jupyter, signaling(room, token_of(share)), NOBODY)
    assert socket.join()["code"] == "not_allowed"
    welcome = socket.join(role="viewer", name="eve")
    assert welcome["type"] == "welcome"
    assert TOKEN not in json.dumps(welcome)
    assert share.people == ["eve"]
    assert [one.carrier for one in room.participants] == ["server"]
    share.revoke()
    frames = []
    while (frame := socket.receive()) is not None:
        frames.append(frame)
    assert (frames[-1]["type"], frames[-1]["code"]) == ("bye", "share_ended")
    assert socket.connection.close_code == 1000
    assert room.participants == []


def test_who_has_no_valid_token_is_refused_with_a_sentence(
    jupyter: JupyterServer, room: rtclab.Room, share: Share
) -> None:
    revoked = room.share()
    revoked.revoke()
    with rtclab.Room() as other:
        wait_until(lambda: other.server_path)
        elsewhere = token_of(other.share("participant"))
        assert refusal(jupyter, signaling(room, elsewhere), NOBODY) == 401
    good = token_of(share)
    tokens = {
        "": ("share_forged", "no link of this room"),
        "guess": ("share_forged", "no link of this room"),
        TOKEN: ("share_forged", "no link of this room"),
        good.replace("viewer", "participant"): ("share_forged", "no link of this room"),
        elsewhere: ("share_room", "another room"),
        token_of(revoked): ("share_revoked", "was revoked"),
    }
    for token, (code, sentence) in tokens.items():
        assert refusal(jupyter, signaling(room, token), NOBODY) == 401
        reply = jupyter.ask("GET", signaling(room, token), headers=NOBODY)
        assert (reply.status, reply.json["code"]) == (401, code)
        assert sentence in reply.json["detail"]
        assert TOKEN not in reply.body
    assert jupyter.ask("GET", signaling(room, good), headers=NOBODY).status == 426
    assert refusal(jupyter, signaling(room, good).replace(room.id, "nowhere"), NOBODY) == 404
    assert room.participants == []


@pytest.mark.parametrize("scheme", [None, "token", "Bearer"])
def test_a_share_is_no_login(
    jupyter: JupyterServer, room: rtclab.Room, share: Share, scheme: str | None
) -> None:
    token = token_of(share)
    given = NOBODY if scheme is None else {"Authorization": f"{scheme} {token}"}
    assert refusal(jupyter, f"{room.server_path}/signaling", given) == 403
    assert refusal(jupyter, f"{room.server_path}/signaling?token={token}", given) == 403
    assert refusal(jupyter, "rtclab/engine", given) == 403
    for path in ("rtclab/rooms", f"{room.server_path}/whip", "api/contents", "api/kernels"):
        assert jupyter.ask("GET", f"{path}?token={token}", headers=given).status in (302, 403), path


def test_a_foreign_page_is_not_let_in(jupyter: JupyterServer, room: rtclab.Room, share: Share) -> None:
    for origin in ("https://example.com", "null"):
        assert refusal(jupyter, signaling(room, token_of(share)), {"Origin": origin}) == 403


def test_attempts_are_few_for_each_address(jupyter: JupyterServer, room: rtclab.Room, share: Share) -> None:
    statuses = [jupyter.ask("GET", signaling(room, f"guess{n}"), headers=NOBODY).status for n in range(30)]
    assert statuses[-1] == 429
    Socket(jupyter, signaling(room, token_of(share)), NOBODY).close()


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_given_away(jupyter: JupyterServer) -> Iterator[None]:
    """After all of this no token stands in the server's log."""
    yield
    log = jupyter.log
    assert "rtclab/share/" in log
    assert TOKEN not in log
    assert "viewer." not in log.replace("viewer.js", "")


def test_without_the_server_a_share_says_what_to_do(
    jupyter: JupyterServer, room: rtclab.Room, share: Share
) -> None:
    url = share.url
    room._read(room._listing.withdraw)
    with pytest.raises(rtclab.errors.RtclabError, match="listen="):
        room.share()
    assert share.url == url
    assert refusal(jupyter, signaling(room, token_of(share)), NOBODY) == 404
