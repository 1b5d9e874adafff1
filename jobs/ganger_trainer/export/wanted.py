"""What is to be exported, as the environment says it, and whether this image can make it.

A worker asks that at its start: an export that cannot work is told before the training, not after it. No torch here.
"""

import re
from collections.abc import Mapping, Sequence
from importlib import util
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from ganger import contract
from ganger_trainer import config
from ganger_trainer.failures import UserError

_PATH: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*")
PACKAGES: Final = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "torch-export": (),
    "torchscript": (),
    "safetensors": ("safetensors",),
}


class Wanted(Struct, frozen=True, kw_only=True, rename={"source": "from"}, forbid_unknown_fields=True):
    """One model file. tolerance: largest absolute difference from the model; it has to stay below.

    step: the checkpoint to take, whatever `source` says. opset: of ONNX; None: what torch takes by itself.
    """

    format: Literal["onnx", "torch-export", "torchscript", "safetensors"]
    path: Annotated[str, Meta(max_length=contract.EXPORT_PATH_CHARACTERS_MAX)] = contract.EXPORT_PATH
    source: Literal["Latest", "Best"] = "Latest"
    tolerance: Annotated[float, Meta(gt=0)] = contract.EXPORT_TOLERANCE
    opset: Annotated[int, Meta(ge=1)] | None = None
    step: Annotated[int, Meta(ge=0)] | None = None

    @property
    def folder(self) -> str:
        """Where the file and its card go, relative to the folder of all exports."""
        return f"{self.path}/{self.format}"


def read(text: str) -> tuple[Wanted, ...]:
    """Return what `text`, a JSON list, asks for. Pure.

    Raises UserError (BAD_CONFIG, EnvironmentInvalid) that names the entry, the key and what it may hold.
    """
    try:
        raw = msgspec.json.decode(text or "[]", type=list[dict[str, Any]])
    except msgspec.MsgspecError:
        raise _fault(f"{text!r}, allowed: a JSON list of objects of {', '.join(contract.EXPORT_KEYS)}") from None
    if len(raw) > contract.EXPORTS_MAX:
        raise _fault(f"{len(raw)} entries, allowed: at most {contract.EXPORTS_MAX}")
    found: list[Wanted] = []
    for number, entry in enumerate(raw):
        try:
            one = msgspec.convert(entry, Wanted)
        except msgspec.ValidationError as error:
            raise _fault(f"entry {number}: {config.explain(str(error), Wanted)}") from None
        if problem := _problem(one, found):
            raise _fault(f"entry {number}: {problem}")
        found.append(one)
    return tuple(found)


def _problem(one: Wanted, others: Sequence[Wanted]) -> str:
    if not _PATH.fullmatch(one.path) or ".." in one.path.split("/") or one.path.startswith("step_"):
        return f"path is {one.path!r}, allowed: a relative folder without '..' that does not begin with 'step_'"
    if one.opset is not None and one.format != "onnx":
        return f"opset is of onnx alone, the format is {one.format}: leave it out"
    if any(other.folder == one.folder for other in others):
        return f"{one.format} in {one.path!r} is asked for twice: give one of them another path"
    return ""


def require(wanted: Sequence[Wanted]) -> None:
    """Raise UserError (BAD_CONFIG, ExportUnavailable) if a package is missing that one of `wanted` needs."""
    for one in wanted:
        if missing := [name for name in PACKAGES[one.format] if util.find_spec(name) is None]:
            raise UserError(
                "ExportUnavailable",
                f"export: {one.format} needs {' and '.join(missing)}, which this image lacks: pip install "
                f"'ganger[export]', or take {one.format} out of spec.export",
            )


def check(environ: Mapping[str, str]) -> None:
    """Do what a worker does at its start: read what `environ` asks for, and require its packages. Raises UserError."""
    require(read(environ.get(contract.ENV_EXPORTS, "")))


def _fault(what: str) -> UserError:
    remedy = "the operator and `ganger export` set it; by hand, export it with an allowed value"
    return UserError("EnvironmentInvalid", f"{contract.ENV_EXPORTS}: {what} ({remedy})")
