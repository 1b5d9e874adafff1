"""Data and models that a job names: where they come from, and where they are kept for all who want the same."""

from typing import Annotated, Literal

from msgspec import Meta

from ganger.api.workload import DNS_LABEL, ImageVolume, ObjectName, Part, Quantity

# No user information: a credential belongs into a Secret.
URL = r"^(https?://[^\s/?#@\\]+(/[^\s#\\]*)?|s3://[a-z0-9][-a-z0-9.]{1,61}[a-z0-9]/[^\s#\\]*)$"
ENDPOINT = r"^https?://[^\s/?#@\\]+$"
SHA256 = r"^[a-f0-9]{64}$"
RELATIVE = r"^[A-Za-z0-9_][A-Za-z0-9_./-]*$"

_Folder = Annotated[str, Meta(pattern=RELATIVE, min_length=1, max_length=255)]


class DataClaim(Part, frozen=True, kw_only=True):
    """Files of an existing claim, mounted read-only as they are."""

    claim_name: Annotated[ObjectName, Meta(description="Name of the claim.", examples=["datasets"])]
    path: (
        Annotated[
            _Folder, Meta(description="Folder inside that claim, relative and without '..'.", examples=["imagenet"])
        ]
        | None
    ) = None


class DataSource(Part, frozen=True, kw_only=True):
    """One data set or model, read-only at /data/NAME in every worker. Exactly one of url, claim and image is set."""

    name: Annotated[
        str,
        Meta(
            description="Name, unique in the list: the folder below /data.",
            pattern=DNS_LABEL,
            min_length=1,
            max_length=40,
            examples=["corpus"],
        ),
    ]
    url: (
        Annotated[
            str,
            Meta(
                description="What is fetched before the workers start: a file by http or https, or s3://bucket/key; "
                "with / at the end all objects below. It holds no credentials: those are in secretName.",
                pattern=URL,
                min_length=1,
                max_length=1024,
                examples=["https://data.example.org/corpus.tar.gz"],
            ),
        ]
        | None
    ) = None
    claim: Annotated[DataClaim, Meta(description="Files of an existing claim instead, not copied.")] | None = None
    image: Annotated[ImageVolume, Meta(description="The files of an OCI image instead, not copied.")] | None = None
    sha256: (
        Annotated[
            str,
            Meta(
                description="SHA-256 of the file as it is fetched; of a url that ends in /, of what sha256sum says of "
                "all files, sorted by name. With it jobs share a copy in dataCache; without it each job has its own.",
                pattern=SHA256,
                max_length=64,
                examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
            ),
        ]
        | None
    ) = None
    unpack: (
        Annotated[
            Literal["Auto", "None"],
            Meta(
                description="Auto, the default: a single .tar, .tar.gz, .tar.bz2, .tar.xz or .zip becomes the files "
                "inside it."
            ),
        ]
        | None
    ) = None
    max_size: (
        Annotated[
            Quantity,
            Meta(description="Most bytes, fetched and unpacked each. Default: 100Gi.", examples=["500Gi"]),
        ]
        | None
    ) = None
    secret_name: (
        Annotated[
            ObjectName,
            Meta(
                description="Secret with accessKey, secretKey and sessionToken for s3; token, or username and "
                "password, for http. The workers do not see it.",
                examples=["data-access"],
            ),
        ]
        | None
    ) = None
    endpoint: (
        Annotated[
            str,
            Meta(
                description="Address of an S3-compatible store, without a path. Default: that of AWS.",
                pattern=ENDPOINT,
                max_length=253,
                examples=["https://minio.storage.svc:9000"],
            ),
        ]
        | None
    ) = None
    region: (
        Annotated[
            str,
            Meta(
                description="Region of the bucket. Default: us-east-1.",
                pattern=r"^[a-z0-9][-a-z0-9]*$",
                max_length=63,
                examples=["eu-central-1"],
            ),
        ]
        | None
    ) = None
    ca_config_map: (
        Annotated[
            ObjectName,
            Meta(
                description="ConfigMap with ca.crt: an authority that is trusted beside the usual ones.",
                examples=["company-ca"],
            ),
        ]
        | None
    ) = None


class DataCache(Part, frozen=True, kw_only=True):
    """Where what was fetched is kept, for all workers, restarts and jobs that name the same."""

    claim_name: Annotated[
        ObjectName,
        Meta(
            description="An existing claim that all workers can mount, such as a ReadWriteMany one.", examples=["cache"]
        ),
    ]
    path: (
        Annotated[_Folder, Meta(description="Folder inside that claim, relative and without '..'.", examples=["data"])]
        | None
    ) = None
