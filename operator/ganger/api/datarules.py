"""What the data of a job may be: rows of the table in `rules`."""

from collections.abc import Callable

from ganger.api import quantity
from ganger.api.data import DataCache, DataClaim, DataSource
from ganger.api.pattern import matches
from ganger.api.rule import Rule, attribute
from ganger.api.types import TrainingJobSpec
from ganger.contract import DATA_MOUNT

_OF_URL = ("sha256", "unpack", "maxSize", "secretName", "caConfigMap")
_OF_S3 = ("endpoint", "region")
# Signatures and tokens that people put into an address: whoever may read the job could read them.
SIGNED = r"[?&]([Xx]-(amz|Amz|goog|Goog)-[Ss]ignature|[Ss]ignature|sig|token|access_token|api_key)="
_UP = r"(^|/)\.\.?(/|$)"


def _is_for(field: str, cel: str, holds: Callable[[DataSource], bool], what: str) -> Rule:
    name = attribute(DataSource, field)
    return Rule(
        on=DataSource,
        path=f".{field}",
        cel=f"!has(self.{field}) || ({cel})",
        holds=lambda source: getattr(source, name) is None or holds(source),
        message=f"{field} is for {what} alone",
    )


def _inside(cls: type, message: str) -> Rule:
    return Rule(
        on=cls,
        path=".path",
        cel=f"!has(self.path) || !self.path.matches(r'{_UP}')",
        holds=lambda value: not matches(_UP, value.path or ""),
        message=message,
    )


def _taken(mount_path: str, name: str) -> bool:
    """Whether a mount would hide a data set, or hold it."""
    return mount_path == DATA_MOUNT or f"{mount_path}/".startswith(f"{DATA_MOUNT}/{name}/")


RULES: tuple[Rule, ...] = (
    Rule(
        on=DataSource,
        cel="[has(self.url), has(self.claim), has(self.image)].exists_one(is_set, is_set)",
        holds=lambda source: sum(each is not None for each in (source.url, source.claim, source.image)) == 1,
        message="exactly one of url, claim and image must be set in an item of data",
    ),
    *(_is_for(field, "has(self.url)", lambda source: source.url is not None, "a url") for field in _OF_URL),
    *(
        _is_for(
            field,
            "has(self.url) && self.url.startsWith('s3://')",
            lambda source: (source.url or "").startswith("s3://"),
            "a url of s3://",
        )
        for field in _OF_S3
    ),
    Rule(
        on=DataSource,
        path=".url",
        cel=f"!has(self.url) || !self.url.matches(r'{SIGNED}')",
        holds=lambda source: not matches(SIGNED, source.url or ""),
        message="url must hold no signature, token or key: every reader of the job could use it",
        remedy="put credentials into a Secret and name it in secretName",
        reason="FieldValueForbidden",
    ),
    Rule(
        on=DataSource,
        path=".maxSize",
        cel="!has(self.maxSize) || quantity(string(self.maxSize)).isGreaterThan(quantity('0'))",
        holds=lambda source: source.max_size is None or quantity.parse(source.max_size) > 0,
        message="maxSize must be greater than 0",
    ),
    _inside(DataClaim, "path of a claim in data must not contain '.' or '..' as a folder"),
    _inside(DataCache, "path of dataCache must not contain '.' or '..' as a folder"),
    Rule(
        on=TrainingJobSpec,
        path=".dataCache",
        cel="!has(self.dataCache) || (has(self.data) && self.data.exists(source, has(source.url)))",
        holds=lambda spec: spec.data_cache is None or any(source.url is not None for source in spec.data),
        message="dataCache needs an item of data with a url: nothing else is fetched",
    ),
    Rule(
        on=TrainingJobSpec,
        path=".volumeMounts",
        cel="!has(self.data) || !has(self.volumeMounts) || self.volumeMounts.all(mount, "
        f"mount.mountPath != '{DATA_MOUNT}' && self.data.all(source, "
        f"!(mount.mountPath + '/').startsWith('{DATA_MOUNT}/' + source.name + '/')))",
        holds=lambda spec: (
            not any(_taken(mount.mount_path, each.name) for mount in spec.volume_mounts for each in spec.data)
        ),
        message=f"no mountPath of volumeMounts may be {DATA_MOUNT}, or below it one that data has",
        reason="FieldValueForbidden",
    ),
)
