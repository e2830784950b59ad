"""Janus (Debian's package) as the server under test: its configuration, its process, its HTTP signaling.

Its videoroom plugin forwards as a room does. In its API a publisher offers, but a subscriber is offered to
and answers. Events come by a long poll for each session; one session here holds all clients of a process.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import secrets
import shutil
import socket
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..errors import RtclabError
from .offers import Local, Remote, Sending, describe, read
from .processes import Process, find_program

ROOM = 1234
START_S = 15.0
REPLY_S = 15.0
POLL_S = 60.0
POSTS_AT_ONCE = 16
INSTALL = (
    "Janus is not installed, so there is nothing to compare with. On Debian or Ubuntu: "
    "apt-get install janus (its service need not run: systemctl disable --now janus)"
)
TUNED_LOOPS = 2


def find_janus() -> str:
    """Path of the program; raises `rtclab.errors.RtclabError` that says how to install it."""
    return find_program("janus", INSTALL)


def write_config(folder: Path, port: int, *, tuned: bool) -> None:
    """Write Janus's configuration into `folder`.

    Parameters
    ----------
    folder : Path
        An empty folder.
    port : int
        TCP port of its HTTP API.
    tuned : bool
        Two event loops instead of a thread for each client. (What also helps, libsrtp on OpenSSL instead of
        on NSS, was chosen when the package was built.)
    """
    loops = f"\n\tevent_loops = {TUNED_LOOPS}" if tuned else ""
    (folder / "janus.jcfg").write_text(
        f"""general: {{
	configs_folder = "{folder}"
	debug_level = 2{loops}
}}
nat: {{
	ice_ignore_list = "vmnet"
}}
plugins: {{
	disable = "libjanus_audiobridge.so,libjanus_duktape.so,libjanus_echotest.so,libjanus_lua.so,\
libjanus_nosip.so,libjanus_recordplay.so,libjanus_sip.so,libjanus_streaming.so,libjanus_textroom.so,\
libjanus_videocall.so,libjanus_voicemail.so"
}}
transports: {{
	disable = "libjanus_mqtt.so,libjanus_nanomsg.so,libjanus_pfunix.so,libjanus_rabbitmq.so,\
libjanus_websockets.so"
}}
""",
        "utf-8",
    )
    (folder / "janus.transport.http.jcfg").write_text(
        f"""general: {{
	json = "compact"
	base_path = "/janus"
	http = true
	port = {port}
	ip = "127.0.0.1"
	https = false
}}
admin: {{
	admin_http = false
	admin_https = false
}}
""",
        "utf-8",
    )
    (folder / "janus.plugin.videoroom.jcfg").write_text(
        f"""room-{ROOM}: {{
	description = "rtclab bench"
	publishers = 2
	bitrate = 0
	audiocodec = "opus"
	videocodec = "vp8"
	notify_joining = false
}}
""",
        "utf-8",
    )


class Janus(Process):
    """A Janus with a folder and a port of its own.

    Parameters
    ----------
    core : int or None
        The core to run on.
    tuned : bool
        See `write_config`.
    """

    def __init__(self, core: int | None = None, *, tuned: bool) -> None:
        program = find_janus()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._folder = Path(tempfile.mkdtemp(prefix="rtclab-janus-"))
        write_config(self._folder, self.port, tuned=tuned)
        command = [program, "-F", str(self._folder), "-C", str(self._folder / "janus.jcfg"), "-o"]
        command += ["-L", str(self._folder / "janus.log")]
        super().__init__(command, core)
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def _wait(self) -> None:
        deadline = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            if not self.running or time.monotonic() > deadline:
                with contextlib.suppress(OSError):
                    log = (self._folder / "janus.log").read_text("utf-8", "replace")
                    raise RtclabError(f"Janus did not start: {log[-500:].strip()}")
                raise RtclabError("Janus did not start")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it and remove its folder."""
        super().stop()
        shutil.rmtree(self._folder, ignore_errors=True)


class JanusDoor:
    """Signaling to one Janus over HTTP.

    Attributes
    ----------
    feed : int or None
        The publisher's id in the videoroom.
    """

    def __init__(self, port: int, feed: int | None) -> None:
        self.feed = feed
        self._port = port
        self._posts = ThreadPoolExecutor(POSTS_AT_ONCE, "rtclab-janus")
        self._polls = ThreadPoolExecutor(1, "rtclab-janus-poll")
        self._session = 0
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._polling: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, port: int, feed: int | None) -> JanusDoor:
        """Open a session."""
        door = cls(port, feed)
        door._session = (await door._post("", {"janus": "create"}))["data"]["id"]
        door._polling = asyncio.create_task(door._poll())
        return door

    async def publish(self, local: Local, sending: Sending, kinds: list[str]) -> Remote:
        """Join the room and offer to send."""
        handle = await self._attach()
        body = {"request": "joinandconfigure", "ptype": "publisher", "room": ROOM}
        offer = {"type": "offer", "sdp": describe(local, kinds, sending=sending)}
        event = await self._ask(handle, body, offer)
        self.feed = event["plugindata"]["data"]["id"]
        return read(event["jsep"]["sdp"])

    async def watch(self, local: Local, kinds: list[str]) -> Remote:
        """Subscribe to the publisher and answer Janus's offer."""
        handle = await self._attach()
        streams = [{"feed": self.feed}]
        body = {"request": "join", "ptype": "subscriber", "room": ROOM, "streams": streams}
        event = await self._ask(handle, body)
        remote = read(event["jsep"]["sdp"], controlling=True)
        answer = describe(local, kinds, setup="active", payload_types=remote.payload_types, mids=remote.mids)
        await self._ask(handle, {"request": "start"}, {"type": "answer", "sdp": answer})
        return remote

    async def close(self) -> None:
        """End the session, and with it all its clients."""
        if self._polling is not None:
            self._polling.cancel()
        with contextlib.suppress(RtclabError):
            await self._post(f"/{self._session}", {"janus": "destroy"})
        self._posts.shutdown(wait=False, cancel_futures=True)
        self._polls.shutdown(wait=False, cancel_futures=True)

    async def _attach(self) -> int:
        answer = await self._post(
            f"/{self._session}", {"janus": "attach", "plugin": "janus.plugin.videoroom"}
        )
        handle: int = answer["data"]["id"]
        return handle

    async def _ask(
        self, handle: int, body: dict[str, Any], jsep: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Send a message to the plugin and wait for its event."""
        transaction = secrets.token_hex(8)
        future = self._waiting[transaction] = asyncio.get_running_loop().create_future()
        message: dict[str, Any] = {"janus": "message", "body": body}
        if jsep is not None:
            message["jsep"] = jsep
        try:
            await self._post(f"/{self._session}/{handle}", message, transaction)
            event = await asyncio.wait_for(future, REPLY_S)
        except TimeoutError:
            raise RtclabError(f"Janus did not answer {body['request']!r} in {REPLY_S:g} s") from None
        finally:
            del self._waiting[transaction]
        data = event.get("plugindata", {}).get("data", {})
        if "error" in data:
            raise RtclabError(f"Janus refused {body['request']!r}: {data['error']}")
        return event

    async def _post(
        self, path: str, message: dict[str, Any], transaction: str | None = None
    ) -> dict[str, Any]:
        body = json.dumps({**message, "transaction": transaction or secrets.token_hex(8)})
        loop = asyncio.get_running_loop()
        answer: dict[str, Any] = await loop.run_in_executor(self._posts, self._http, "POST", path, body)
        if answer.get("janus") == "error":
            raise RtclabError(f"Janus: {answer['error']['reason']}")
        return answer

    async def _poll(self) -> None:
        loop = asyncio.get_running_loop()
        path = f"/{self._session}?maxev=20"
        while True:
            events = await loop.run_in_executor(self._polls, self._http, "GET", path, None)
            for event in events if isinstance(events, list) else [events]:
                waiting = self._waiting.get(event.get("transaction"))
                if waiting is not None and not waiting.done() and event.get("janus") in ("event", "error"):
                    waiting.set_result(event)

    def _http(self, method: str, path: str, body: str | None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=POLL_S)
        try:
            connection.request(method, f"/janus{path}", body, {"Content-Type": "application/json"})
            return json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise RtclabError(f"Janus cannot be reached: {error}") from None
        finally:
            connection.close()
