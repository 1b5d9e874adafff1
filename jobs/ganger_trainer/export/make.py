"""One export, from a checkpoint to a folder with its card.

Write, load anew, compare, and only then give it its name.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import torch
from msgspec import Struct

from ganger.contract import EXPORT_TOLERANCE, ExitCode
from ganger_trainer.environment import Worker
from ganger_trainer.export import calls, card, formats, parity
from ganger_trainer.export.folder import Folder
from ganger_trainer.export.interface import Interface, tensors_of
from ganger_trainer.export.source import Source
from ganger_trainer.export.wanted import Wanted
from ganger_trainer.failures import TrainerError, UserError

# What writers that are no Python say of a volume that refuses: they raise errors of their own.
_REFUSED: Final = re.compile(r"file write failed|\(os error \d+\)|No space left", re.IGNORECASE)
_NO_MEMORY: Final = re.compile(r"can't allocate memory|bad_alloc|out of memory", re.IGNORECASE)


class Subject(Struct, frozen=True, kw_only=True):
    """A model, the real calls that it is judged by, and what it computes for them in eager mode."""

    source: Source
    calls: Sequence[calls.Call]
    outputs: Sequence[Sequence[Any]]
    interface: Interface


class Provenance(Struct, frozen=True, kw_only=True):
    """What the card says besides the model. metrics: of the step `metrics_step`; None: not known."""

    worker: Worker
    image_id: str | None = None
    metrics: dict[str, float] = {}
    metrics_step: int | None = None


def subject(source: Source) -> Subject:
    """Return `source` with its reference. Raises UserError (BAD_CONFIG, ExportFailed) if it is not repeatable."""
    on = calls.real(source)
    outputs = [_eager(source.model, call) for call in on]
    interface = Interface(source.model, on, outputs)
    again = parity.compare([_eager(source.model, call) for call in on], outputs, [o.name for o in interface.outputs])
    if again.max_abs_diff >= EXPORT_TOLERANCE:  # the same sums at another address may round otherwise
        raise UserError(
            "ExportFailed",
            f"export: the model gives other results for the same batch in eval mode, {again.max_abs_diff:.3g} "
            f"apart{again.place}, so no file can be compared with it: let it draw no random numbers there",
        )
    return Subject(source=source, calls=on, outputs=outputs, interface=interface)


def make(on: Subject, wanted: Wanted, root: Path, provenance: Provenance, told: Callable[[str], None]) -> card.Card:
    """Make what is `wanted` in a folder below `root` and return its card.

    One that is there already, whole, of the same checkpoint and as good as asked for, is returned as it is. Raises
    UserError: ExportFailed (BAD_CONFIG) where no method takes the model, ExportDiffers (USER_DATA) where the best of
    them computes something else; TrainerError (ExportNotWritten) where the volume refuses.
    """
    target = root / wanted.folder
    if (there := _kept(target, wanted, on.source, provenance)) is not None:
        told(f"{wanted.format}: {target} is there already, of the same checkpoint")
        return there
    folder = Folder(target, provenance.worker.attempt)
    try:
        return _made(on, wanted, folder, provenance, told)
    except OSError as error:
        raise _refused(folder, str(error.strerror or error)) from error


def _made(
    on: Subject, wanted: Wanted, folder: Folder, provenance: Provenance, told: Callable[[str], None]
) -> card.Card:
    job = formats.Job(source=on.source, interface=on.interface, example=on.calls[0], wanted=wanted)
    names = [one.name for one in on.interface.outputs]
    failed: list[str] = []
    differs: list[tuple[parity.Difference, str]] = []
    for method in formats.methods(wanted.format):
        try:
            part = folder.begin()
            made = method.make(job, part)
            files = folder.files(made.file)
            run = method.load(job, part)
            difference = parity.compare([run(call) for call in on.calls], on.outputs, names)
        except (OSError, MemoryError, TrainerError):
            raise
        except Exception as error:  # exporters and runtimes raise whatever they like
            text = f"{type(error).__name__}: {error}"
            if _REFUSED.search(text):
                raise _refused(folder, text.splitlines()[0][:300]) from error
            if _NO_MEMORY.search(text):
                raise
            failed.append(f"{method.name}: {_first_words(text)}")
            told(f"{wanted.format} by {failed[-1]}")
            continue
        figures = _figures(difference)
        if difference.max_abs_diff < wanted.tolerance:
            # The card last: until it is there, nothing counts.
            complete = card.sealed(_card(on, wanted, provenance, method.name, made, files, difference, failed))
            folder.publish(complete)
            told(f"{wanted.format} by {method.name}: {figures}, tolerance {wanted.tolerance:g}: {folder.target}")
            return complete
        differs.append((difference, method.name))
        failed.append(f"{method.name}: {figures}")
        told(f"{wanted.format} by {failed[-1]}, tolerance {wanted.tolerance:g}: not taken")
    raise _judged(wanted, folder, failed, differs)


def _judged(
    wanted: Wanted, folder: Folder, failed: list[str], differs: list[tuple[parity.Difference, str]]
) -> UserError:
    if not differs:
        return UserError(
            "ExportFailed",
            f"{wanted.format} does not take this model ({'; '.join(failed)}): change what it names, or take "
            f"{wanted.format} out of spec.export",
        )
    return UserError(
        "ExportDiffers",
        f"{wanted.format} computes something else than the model ({'; '.join(failed)}; tolerance "
        f"{wanted.tolerance:g}): the file stays in {folder.part.name} and is not to be used. A branch that depends on "
        "the data is the usual cause; for rounding, raise the tolerance",
        ExitCode.USER_DATA,
    )


def _figures(difference: parity.Difference) -> str:
    agree = "" if difference.argmax_agreement is None else f", argmax agrees on {difference.argmax_agreement:.2%}"
    return f"largest absolute difference {difference.max_abs_diff:.3g}{difference.place}{agree}"


def _card(
    on: Subject, wanted: Wanted, provenance: Provenance, method: str, made: formats.Made,
    files: tuple[card.File, ...], difference: parity.Difference, failed: list[str],
) -> card.Card:  # fmt: skip
    source, worker = on.source, provenance.worker
    known = provenance.metrics_step == source.origin.step
    return card.Card(
        format=wanted.format,
        method=method,
        namespace=worker.namespace,
        job=worker.job,
        job_uid=source.job_uid,
        task=worker.task or "",
        config=source.settings(),
        checkpoint=source.origin,
        metrics=provenance.metrics if known else {},
        packages={"torch": str(torch.__version__)} | made.packages,
        parameters=sum(parameter.numel() for parameter in source.model.parameters()),
        inputs=on.interface.inputs,
        outputs=on.interface.outputs,
        parity=card.Parity(
            batch_sizes=tuple(call.samples for call in on.calls),
            max_abs_diff=difference.max_abs_diff,
            tolerance=wanted.tolerance,
            argmax_agreement=difference.argmax_agreement,
        ),
        files=files,
        created_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        opset=made.opset,
        image_id=provenance.image_id,
        warnings=(*source.warnings, *made.warnings, *(f"not made by {text}" for text in failed)),
    )


def _kept(target: Path, wanted: Wanted, source: Source, provenance: Provenance) -> card.Card | None:
    """Return the card of an export that is there and as good, None if there is none: an earlier try made it."""
    try:
        there = card.verify(target)
    except card.InvalidError:
        return None
    same = (
        (there.format, there.checkpoint, there.task) == (wanted.format, source.origin, provenance.worker.task)
        and there.config == source.settings()
        and there.packages["torch"] == str(torch.__version__)
        and there.parity.max_abs_diff < wanted.tolerance
        and wanted.opset in (None, there.opset)
    )
    return there if same else None


def _eager(model: Any, call: calls.Call) -> list[Any]:
    with torch.no_grad():
        return [tensor.clone() for tensor in tensors_of(model(*call.args, **call.kwargs))]


def _first_words(text: str) -> str:
    """Return the first line that says something, short."""
    return next((line.strip() for line in text.splitlines() if line.strip()), text)[:300]


def _refused(folder: Folder, text: str) -> TrainerError:
    return TrainerError(
        "ExportNotWritten",
        f"{folder.part} could not be written ({text}): free space in the volume, or raise its size or quota",
    )
