"""STUN and TURN servers from the environment, with credentials that do not live long.

    room = rtclab.Room(ice_servers=rtclab.ice_servers.from_environment())

The usual variables, any number of groups at once; URLs are separated by commas or blanks:

    STUN_URL                                                 STUN servers, nothing else
    TURN_URL, TURN_USERNAME, TURN_PASSWORD                   a TURN server with a fixed password
    TURN_URL, TURN_SECRET                                    coturn's ``static-auth-secret``
    CLOUDFLARE_TURN_KEY_ID, CLOUDFLARE_TURN_KEY_API_TOKEN    Cloudflare Realtime TURN
    TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN                    Twilio Network Traversal
    METERED_DOMAIN, METERED_SECRET_KEY                       Metered, ``NAME.metered.live``

With none of them set there are no servers: nothing leaves the machine unasked. Credentials with an end are
made or fetched when the first client needs them and kept until shortly before it. For a shared secret they
are ``username = END:NAME`` and ``password = base64(HMAC-SHA1(secret, username))``, END in Unix seconds
(draft-uberti-behave-turn-rest).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.parse import quote, urlencode

from ..errors import IceServerError
from ..transport.servers import checked

LIFETIME_S = 6 * 3600  # of credentials that are made or fetched
RENEW_BEFORE_S = 3600  # so that whoever joins last still has this long
HTTP_TIMEOUT_S = 8.0

Servers = list[dict[str, Any]]
Http = Callable[[urllib.request.Request], Any]


@dataclass(frozen=True)
class _Group:
    """One way to get servers: the variables that it needs, and what to do with them."""

    name: str
    variables: tuple[str, ...]
    fetch: Callable[[Mapping[str, str], float, Http], Servers]
    lasts: float | None = LIFETIME_S  # None: for ever


class EnvironmentServers:
    """The ICE servers that environment variables name; call it for the list, from any thread.

    Parameters
    ----------
    environ : mapping, optional
        The variables.
    clock : callable, optional
        Unix time in seconds.
    http : callable, optional
        Sends a request and returns the JSON of the response.

    Raises
    ------
    rtclab.errors.IceServerError
        A group of variables is set by half, or a value is malformed. The call raises it when a provider
        refuses or cannot be reached.
    """

    def __init__(
        self,
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.time,
        http: Http | None = None,
    ) -> None:
        names = {name for group in _GROUPS for name in group.variables}
        self._values = {name: value for name in names if (value := environ.get(name, "").strip())}
        self._groups = _chosen(self._values)
        self._clock = clock
        self._http = http or _http
        self._kept: dict[str, tuple[float, Servers]] = {}  # when they end, by group
        self._lock = threading.Lock()
        for group in self._groups:
            if group.lasts is None or group is _SECRET:
                checked(
                    group.fetch(self._values, clock(), self._http)
                )  # no request: a typing error shows now

    def __repr__(self) -> str:
        return f"<ICE servers: {', '.join(group.name for group in self._groups) or 'none'}>"

    def __call__(self) -> Servers:
        """The servers, with credentials that are good for another hour at least."""
        with self._lock:
            return [server for group in self._groups for server in self._of(group)]

    def _of(self, group: _Group) -> Servers:
        now = self._clock()
        ends, kept = self._kept.get(group.name, (0.0, []))
        if now < ends - RENEW_BEFORE_S:
            return kept
        try:
            servers = checked(group.fetch(self._values, now, self._http))
        except IceServerError as error:
            if now < ends:  # they still work; the next who joins tries again
                return kept
            raise IceServerError(f"{group.name}: {error}") from error
        self._kept[group.name] = now + (group.lasts or float("inf")), servers
        return servers


def from_environment(environ: Mapping[str, str] = os.environ) -> EnvironmentServers:
    """The ICE servers that environment variables name, for ``Room(ice_servers=...)``; see the module.

    Raises
    ------
    rtclab.errors.IceServerError
        A group of variables is set by half, or a value is malformed.
    """
    return EnvironmentServers(environ)


def shared_secret_credentials(
    secret: str, now: float, lifetime_s: float = LIFETIME_S, name: str = "rtclab"
) -> tuple[str, str]:
    """Username and password for a TURN server that shares `secret`, good until ``now + lifetime_s``.

    Parameters
    ----------
    secret : str
        coturn's ``static-auth-secret``.
    now : float
        Unix time in seconds.
    """
    username = f"{int(now + lifetime_s)}:{name}"
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return username, base64.b64encode(digest).decode()


# -- the groups -----------------------------------------------------------------------------------------


def _stun(values: Mapping[str, str], now: float, http: Http) -> Servers:
    return [{"urls": _urls(values["STUN_URL"])}]


def _static(values: Mapping[str, str], now: float, http: Http) -> Servers:
    credentials = {"username": values["TURN_USERNAME"], "credential": values["TURN_PASSWORD"]}
    return [{"urls": _urls(values["TURN_URL"]), **credentials}]


def _shared_secret(values: Mapping[str, str], now: float, http: Http) -> Servers:
    username, credential = shared_secret_credentials(values["TURN_SECRET"], now)
    return [{"urls": _urls(values["TURN_URL"]), "username": username, "credential": credential}]


def _cloudflare(values: Mapping[str, str], now: float, http: Http) -> Servers:
    key = quote(values["CLOUDFLARE_TURN_KEY_ID"], safe="")
    request = urllib.request.Request(
        f"https://rtc.live.cloudflare.com/v1/turn/keys/{key}/credentials/generate-ice-servers",
        json.dumps({"ttl": LIFETIME_S}).encode(),
        {
            "Authorization": f"Bearer {values['CLOUDFLARE_TURN_KEY_API_TOKEN']}",
            "Content-Type": "application/json",
        },
    )
    return _listed(http(request), "iceServers")


def _twilio(values: Mapping[str, str], now: float, http: Http) -> Servers:
    account = values["TWILIO_ACCOUNT_SID"]
    login = base64.b64encode(f"{account}:{values['TWILIO_AUTH_TOKEN']}".encode()).decode()
    request = urllib.request.Request(
        f"https://api.twilio.com/2010-04-01/Accounts/{quote(account, safe='')}/Tokens.json",
        urlencode({"Ttl": LIFETIME_S}).encode(),
        {"Authorization": f"Basic {login}", "Content-Type": "application/x-www-form-urlencoded"},
    )
    return _listed(http(request), "ice_servers")


def _metered(values: Mapping[str, str], now: float, http: Http) -> Servers:
    base = f"https://{values['METERED_DOMAIN']}/api/v1/turn"
    made = http(
        urllib.request.Request(
            f"{base}/credential?{urlencode({'secretKey': values['METERED_SECRET_KEY']})}",
            json.dumps({"expiryInSeconds": LIFETIME_S, "label": "rtclab"}).encode(),
            {"Content-Type": "application/json"},
        )
    )
    key = made.get("apiKey") if isinstance(made, dict) else None
    if not isinstance(key, str):
        raise IceServerError("the answer has no apiKey; look at the secret key in Metered's dashboard")
    return _listed(http(urllib.request.Request(f"{base}/credentials?{urlencode({'apiKey': key})}")))


_SECRET = _Group("coturn", ("TURN_URL", "TURN_SECRET"), _shared_secret)
_GROUPS = (
    _Group("STUN", ("STUN_URL",), _stun, None),
    _Group("TURN", ("TURN_URL", "TURN_USERNAME", "TURN_PASSWORD"), _static, None),
    _SECRET,
    _Group("Cloudflare", ("CLOUDFLARE_TURN_KEY_ID", "CLOUDFLARE_TURN_KEY_API_TOKEN"), _cloudflare),
    _Group("Twilio", ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"), _twilio),
    _Group("Metered", ("METERED_DOMAIN", "METERED_SECRET_KEY"), _metered),
)


def _chosen(values: Mapping[str, str]) -> list[_Group]:
    """The groups whose variables are all set.

    Raises
    ------
    rtclab.errors.IceServerError
        A variable is set that belongs to none of them.
    """
    chosen = [group for group in _GROUPS if all(name in values for name in group.variables)]
    if "TURN_SECRET" in values and "TURN_PASSWORD" in values:
        raise IceServerError(
            "TURN_SECRET and TURN_PASSWORD are both set: a TURN server uses one; unset the other"
        )
    used = {name for group in chosen for name in group.variables}
    for stray in sorted(values.keys() - used):
        ways = [group.variables for group in _GROUPS if stray in group.variables]
        missing = [" and ".join(name for name in way if name not in values) for way in ways]
        raise IceServerError(
            f"{stray} is set but {', or '.join(missing)} is not: set what is missing, or unset it"
        )
    return chosen


def _urls(value: str) -> list[str]:
    return [url for url in re.split(r"[\s,]+", value) if url]


def _listed(answer: Any, name: str | None = None) -> Servers:
    """The servers in a provider's answer, with the fields that a browser knows."""
    servers = answer.get(name) if name is not None and isinstance(answer, dict) else answer
    servers = [servers] if isinstance(servers, dict) else servers
    if not isinstance(servers, list) or not all(isinstance(server, dict) for server in servers):
        raise IceServerError("the answer has no list of servers; the provider may have changed its interface")
    fields = ("urls", "username", "credential")
    return [{field: server[field] for field in fields if field in server} for server in servers]


def _http(request: urllib.request.Request) -> Any:
    # only the host goes into messages: paths and queries may hold secrets
    try:
        with urllib.request.urlopen(request, timeout=HTTP_TIMEOUT_S) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        hint = "; look at the key or the token" if error.code in (401, 403, 404) else ""
        raise IceServerError(f"{request.host} answered {error.code} {error.reason}{hint}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise IceServerError(f"{request.host} gave no usable answer: {reason}") from None
    except HTTPException as error:  # cut off, or no HTTP; its words may hold the path
        raise IceServerError(f"{request.host} gave no usable answer: {type(error).__name__}") from None
