"""A place that objects come from, by http or https.

TLS is always verified. A redirect to another host goes without the credentials, and none leads from https to http.
Proxies are those of the environment.
"""

import contextlib
import ssl
import urllib.request
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote, urljoin, urlsplit

import urllib3
from msgspec import Struct
from urllib3.response import BaseHTTPResponse

from ganger_trainer.fetch import order
from ganger_trainer.fetch.order import ChangedError, LaterError, Limits, Order

CHUNK_BYTES: Final = 1 << 20
_REDIRECTS_MAX: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_BUSY: Final = frozenset({408, 425, 429})
_RETRY_AFTER_MAX: Final = 60.0


class Object(Struct, frozen=True, kw_only=True):
    """One file of the source. path: relative. size: -1 for nobody knows. version: an ETag or the like, "" for none."""

    path: str
    key: str
    size: int = -1
    version: str = ""


class Body(Struct, kw_only=True):
    """The bytes of an object from `start` on. total: of the whole object, -1 where nobody knows."""

    start: int
    total: int
    version: str
    response: BaseHTTPResponse

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes. Raises LaterError when the connection breaks, or ends before it should."""
        try:
            while chunk := self.response.read(CHUNK_BYTES, decode_content=False):
                yield chunk
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise LaterError(f"the connection broke ({type(error).__name__})") from error

    def close(self) -> None:
        """Give the connection up: what is left of it is not wanted."""
        with contextlib.suppress(OSError):
            self.response.close()


class Remote(Protocol):
    """Where the objects of one order come from."""

    def objects(self) -> Iterator[Object]:
        """Yield every object. Raises LaterError and TrainerError."""

    def open(self, found: Object, start: int, version: str) -> Body:
        """Return the object from `start` on, or from 0 where that cannot be had. Raises LaterError, TrainerError.

        version: what it was when the bytes before `start` came; ChangedError when it is another now.
        """


def pool(url: str, authority: str, limits: Limits) -> urllib3.PoolManager:
    """Return what opens connections to the host of `url`. Raises UserError for an authority that is none."""
    context = ssl.create_default_context()
    if authority:
        try:
            context.load_verify_locations(authority)
        except (OSError, ssl.SSLError) as error:
            raise order.invalid(f"ca.crt of {authority}", f"it is no certificate authority in PEM ({error})") from None
    timeout = urllib3.Timeout(connect=limits.connect, read=limits.read)
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.netloc):
        return urllib3.ProxyManager(proxy, ssl_context=context, timeout=timeout, retries=False, maxsize=limits.streams)
    return urllib3.PoolManager(ssl_context=context, timeout=timeout, retries=False, maxsize=limits.streams)


def secret(folder: str, key: str) -> str:
    """Return one credential, "" where there is none. It is never told to anybody but the server."""
    try:
        return Path(folder, key).read_text().strip() if folder else ""
    except OSError:
        return ""


def failed(what: str, error: Exception) -> Exception:
    """Return what an error on the way means. A certificate that is not trusted stays so, all else may pass."""
    reason = getattr(error, "reason", error)
    if isinstance(error, urllib3.exceptions.SSLError) or isinstance(reason, ssl.SSLCertVerificationError):
        fix = "name the authority of its certificate in caConfigMap of spec.data"
        return order.refused(what, f"the certificate of the server is not trusted ({reason})", fix)
    return LaterError(f"{type(error).__name__}: {reason}"[:300])


class Web:
    """One file at an http or https address."""

    def __init__(self, wanted: Order, limits: Limits) -> None:
        self._url = wanted.url
        self._authority = wanted.authority
        self._limits = limits
        self._secret = wanted.secret
        self._what = f"{wanted.name} ({wanted.url.partition('?')[0]})"
        self._pools: dict[tuple[str, str], urllib3.PoolManager] = {}

    def objects(self) -> Iterator[Object]:
        """Yield the one file, under the last name of its path."""
        name = unquote(urlsplit(self._url).path.rpartition("/")[2])
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            name = "data"
        yield Object(path=name, key=self._url)

    def open(self, found: Object, start: int, version: str) -> Body:
        """See `Remote`. If-Range asks for the rest only of what is still the same; the answer is checked again."""
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
            if version:
                headers["If-Range"] = version
        response = self._get(headers)
        return body(response, start, version, _version(response), self._what)

    def _get(self, headers: dict[str, str]) -> BaseHTTPResponse:
        url, at_home = self._url, True
        for _ in range(_REDIRECTS_MAX + 1):
            response = self._ask(url, headers | (self._credentials() if at_home else {}))
            if response.status not in _REDIRECTS:
                return self._judged(response)
            target = urljoin(url, response.headers.get("Location", ""))
            response.close()
            there, here = urlsplit(target), urlsplit(url)
            if there.scheme not in ("http", "https") or (here.scheme, there.scheme) == ("https", "http"):
                fix = "use the address that it leads to, if you trust it"
                raise order.refused(self._what, f"it leads from {here.scheme} to {there.scheme}", fix)
            at_home = at_home and (there.scheme, there.netloc) == (here.scheme, here.netloc)
            url = target
        raise order.refused(self._what, f"more than {_REDIRECTS_MAX} redirects", "correct the url of spec.data")

    def _ask(self, url: str, headers: dict[str, str]) -> BaseHTTPResponse:
        parts = urlsplit(url)
        home = (parts.scheme, parts.netloc)
        if home not in self._pools:
            self._pools[home] = pool(url, self._authority, self._limits)
        try:
            return self._pools[home].request("GET", url, headers=headers, preload_content=False, redirect=False)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise failed(self._what, error) from error

    def _judged(self, response: BaseHTTPResponse) -> BaseHTTPResponse:
        status = response.status
        if status in (200, 206):
            return response
        response.close()
        if status in (404, 410):
            raise order.missing(self._what)
        if status == 416:
            raise ChangedError(self._what)
        if status in _BUSY or status >= 500:
            raise LaterError(f"the server answers {status}", _retry_after(response))
        fix = "correct token, or username and password, in the Secret that secretName of spec.data names"
        raise order.refused(
            self._what, f"the server answers {status}", fix if status in (401, 403) else "correct the url"
        )

    def _credentials(self) -> dict[str, str]:
        if token := secret(self._secret, "token"):
            return {"Authorization": f"Bearer {token}"}
        user, password = secret(self._secret, "username"), secret(self._secret, "password")
        return urllib3.make_headers(basic_auth=f"{user}:{password}") if user else {}


def _version(response: BaseHTTPResponse) -> str:
    """A weak ETag may be the same for other bytes, so it is none."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def body(response: BaseHTTPResponse, start: int, version: str, now: str, what: str) -> Body:
    """Return the body of an answer to a question for all from `start` on. Raises ChangedError where it does not fit.

    What the answer says that it is counts, not what was asked for; some stores send a part with the status of a whole.
    """
    said = response.headers.get("Content-Range", "").removeprefix("bytes ")
    if not said and response.status != 206:
        return Body(start=0, total=_number(response.headers.get("Content-Length", "")), version=now, response=response)
    first, total = _number(said.partition("-")[0]), _number(said.rpartition("/")[2])
    if first != start or (version and now and now != version):
        response.close()
        raise ChangedError(what)
    return Body(start=start, total=total, version=now or version, response=response)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else -1


def _retry_after(response: BaseHTTPResponse) -> float:
    text = response.headers.get("Retry-After", "")
    if text.isascii() and text.isdigit():
        return min(float(text), _RETRY_AFTER_MAX)
    with contextlib.suppress(ValueError, TypeError):
        until, now = parsedate_to_datetime(text), parsedate_to_datetime(response.headers["Date"])
        return min(max(0.0, (until - now).total_seconds()), _RETRY_AFTER_MAX)
    return 0.0
