"""A place that objects come from: a bucket of S3 or of a store that speaks its protocol."""

import re
from collections.abc import Iterator
from typing import Final, NoReturn
from urllib.parse import unquote, urlsplit

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from ganger_trainer.fetch import order, remote
from ganger_trainer.fetch.order import ChangedError, LaterError, Limits, Order
from ganger_trainer.fetch.remote import Body, Object

_AWS: Final = "https://s3.amazonaws.com"
_REGION: Final = "us-east-1"
_MISSING: Final = frozenset({"NoSuchKey", "NoSuchBucket", "ResourceNotFound"})
_BUSY: Final = frozenset({"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "Busy"})


class Bucket:
    """One object, or all whose key begins with what ends in /."""

    def __init__(self, wanted: Order, limits: Limits) -> None:
        parts = urlsplit(wanted.url)
        self._bucket, self._key = parts.netloc, unquote(parts.path.removeprefix("/"))
        self._what = f"{wanted.name} ({wanted.url})"
        home = urlsplit(wanted.endpoint or _AWS)
        self._client = Minio(
            home.netloc,
            access_key=remote.secret(wanted.secret, "accessKey") or None,
            secret_key=remote.secret(wanted.secret, "secretKey") or None,
            session_token=remote.secret(wanted.secret, "sessionToken") or None,
            secure=home.scheme == "https",
            region=wanted.region or _REGION,  # without one it asks the store, which may not tell
            http_client=remote.pool(wanted.endpoint or _AWS, wanted.authority, limits),
        )

    def objects(self) -> Iterator[Object]:
        """Yield every object, with its path below the prefix. A key that would leave the folder is refused."""
        if self._key and not self._key.endswith("/"):
            yield Object(path=self._key.rpartition("/")[2], key=self._key)
            return
        try:
            for found in self._client.list_objects(self._bucket, prefix=self._key or None, recursive=True):
                key = found.object_name or ""
                path = key.removeprefix(self._key)
                if key.endswith("/") or not path:
                    continue  # a console's picture of a folder
                if any(part in ("", ".", "..") for part in path.split("/")) or "\0" in path:
                    raise order.invalid(self._what, f"the key {key!r:.200} is no path below a folder")
                yield Object(path=path, key=key, size=found.size or 0, version=(found.etag or "").strip('"'))
        except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
            self._raise(error)

    def open(self, found: Object, start: int, version: str) -> Body:
        """See `Remote`. If-Match asks for what it was; not every store reads it, so the answer is checked as well."""
        headers: dict[str, str | list[str] | tuple[str]] = {"If-Match": f'"{version}"'} if version else {}
        try:
            response = self._client.get_object(self._bucket, found.key, offset=start, request_headers=headers)
        except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
            self._raise(error)
        now = response.headers.get("ETag", "").strip('"')
        if version and now and now != version:
            response.close()
            raise ChangedError(self._what)
        return remote.body(response, start, version, now, self._what)

    def _raise(self, error: Exception) -> NoReturn:
        """Turn what the client says into what it means."""
        if not isinstance(error, MinioException):
            raise remote.failed(self._what, error) from error
        code, status = _said(error)
        if code in _MISSING or status == 404:
            raise order.missing(self._what) from None
        if code in ("PreconditionFailed", "InvalidRange") or status in (412, 416):
            raise ChangedError(self._what) from None
        words = f"the store says {code}" if code else f"the server answers {status}"
        if code in _BUSY or not 400 <= status < 500 or status in (408, 425, 429):
            raise LaterError(words) from None
        fix = "correct accessKey and secretKey in the Secret that secretName of spec.data names, or endpoint and region"
        raise order.refused(self._what, words, fix) from None


def _said(error: MinioException) -> tuple[str, int]:
    """Return code ("" for none) and status of an answer. Some stores forget to call their XML by its name."""
    if isinstance(error, S3Error):
        return error.code or "", error.response.status
    body = str(getattr(error, "_body", None) or "")
    found = re.search(r"<Code>(\w+)</Code>", body)
    return found[1] if found else "", int(getattr(error, "_code", 0) or getattr(error, "_status_code", 0))
