"""What is to be fetched, and how it may end other than well."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from ganger.contract import ENV_DATA_ORDERS, ExitCode
from ganger_trainer.failures import TrainerError, UserError


class Order(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One item of `contract.ENV_DATA_ORDERS`; the keys are `contract.DATA_ORDER_KEYS`."""

    name: str
    key: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][-A-Za-z0-9]*$")]
    url: str
    sha256: str = ""
    unpack: Literal["Auto", "None"] = "Auto"
    max_bytes: Annotated[int, Meta(ge=1)]
    endpoint: str = ""
    region: str = ""
    secret: str = ""
    authority: str = ""


class Limits(Struct, frozen=True, kw_only=True):
    """How long is waited, in seconds, and how often is noted how far it came.

    lease: a holder that says nothing for so long is dead. stall: fetching is given up when no byte came for so long.
    durable_bytes: so much is lost at most where a fetch is cut off. backoff, backoff_max: between two tries.
    """

    lease: float = 60.0
    beat: float = 5.0
    stall: float = 600.0
    connect: float = 10.0
    read: float = 60.0
    backoff: float = 1.0
    backoff_max: float = 30.0
    durable_bytes: int = 16 << 20
    streams: int = 4  # objects of one prefix that are fetched side by side


class LaterError(Exception):
    """It may go well another time: a server is busy, a connection broke. seconds: what the server asks for."""

    def __init__(self, message: str, seconds: float = 0.0) -> None:
        super().__init__(message)
        self.seconds = seconds


class ChangedError(Exception):
    """What is fetched is not any more what it was when the fetch began."""


def read(text: str) -> list[Order]:
    """Return the orders of the environment. Raises UserError."""
    try:
        return msgspec.json.decode(text, type=list[Order])
    except msgspec.MsgspecError as error:
        message = f"{ENV_DATA_ORDERS} cannot be read ({error}): the operator and `ganger run` set it"
        raise UserError("EnvironmentInvalid", message) from None


def missing(what: str) -> UserError:
    """Nothing is there."""
    return UserError("DataMissing", f"{what} is not there: correct the url of spec.data", ExitCode.USER_INPUT_MISSING)


def refused(what: str, why: str, fix: str) -> UserError:
    """The server wants none of it, and will not tomorrow."""
    return UserError("DataRefused", f"{what} was refused: {why}; {fix}", ExitCode.USER_INPUT_MISSING)


def invalid(what: str, why: str) -> UserError:
    """It came, and is nothing that could be used."""
    return UserError("DataInvalid", f"{what}: {why}", ExitCode.USER_DATA)


def too_large(what: str, found: int, allowed: int) -> UserError:
    """It is more than the manifest allows."""
    message = f"{what} has {found} bytes or more, and maxSize allows {allowed}: raise maxSize of spec.data"
    return UserError("DataTooLarge", message, ExitCode.USER_DATA)


def unreachable(what: str, seconds: float, why: str) -> TrainerError:
    """No byte came for too long. The job's restarts decide how often that is tried again."""
    return TrainerError("DataUnreachable", f"no byte of {what} came for {seconds:.0f} s: {why}")


def no_room(what: str, why: str) -> TrainerError:
    """The volume does not take it."""
    return TrainerError("DataVolume", f"{what} cannot be kept: {why}")
