"""What the driver says of the GPUs of this pod, through nvidia-ml-py, where both are there; else nothing.

A thread asks every few seconds: a driver in trouble can hold a question for minutes, and a scrape must not wait for it.
"""

import importlib
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct

EVERY_SECONDS: Final = 5.0
FRESH_SECONDS: Final = 20.0  # four rounds: after that the driver hangs, and an old figure would be a lie


class Reading(Struct, frozen=True, kw_only=True):
    """One look at one GPU; None is what it could not be asked. utilization is 0 to 1, memory in bytes."""

    utilization: float | None = None
    memory_used: int | None = None
    memory_total: int | None = None
    power_watts: float | None = None
    temperature_celsius: int | None = None


class Gpus:
    """Reads all GPUs of the pod on a thread of its own. `readings` never waits and never raises.

    ready: called each round until it says True; before that the driver is not touched. The workers are forked from
    this process, and one that is forked during a question inherits the library's lock, held by nobody.
    """

    def __init__(self, ready: Callable[[], bool] = lambda: True) -> None:
        self._ready = ready
        self._readings: dict[int, Reading] = {}
        self._read_at = 0.0

    def start(self) -> None:
        """Begin to read, every 5 s, until the process ends."""
        threading.Thread(target=self._run, name="gpus", daemon=True).start()

    def readings(self) -> Mapping[int, Reading]:
        """Return the newest reading by the GPU's index in the pod, {} if there is none of the last 20 s."""
        return self._readings if time.monotonic() - self._read_at < FRESH_SECONDS else {}

    def _run(self) -> None:
        while not self._ready():
            time.sleep(EVERY_SECONDS)
        library = opened()
        while library is not None:
            self._readings, self._read_at = read(library), time.monotonic()
            time.sleep(EVERY_SECONDS)


def opened() -> Any | None:
    """Return the initialised module pynvml, None without the library or without a driver."""
    try:
        library = importlib.import_module("pynvml")
        library.nvmlInit()
    except Exception:  # noqa: BLE001 - whatever is wrong with the driver, training does without it
        return None
    return library


def read(library: Any) -> dict[int, Reading]:
    """Return a reading of each GPU that answers at all. What a GPU does not tell (MIG, a lost device) is None."""
    count = _asked(library.nvmlDeviceGetCount) or 0
    readings = {}
    for index in range(count):
        handle = _asked(library.nvmlDeviceGetHandleByIndex, index)
        if handle is None:
            continue
        rates = _asked(library.nvmlDeviceGetUtilizationRates, handle)
        memory = _asked(library.nvmlDeviceGetMemoryInfo, handle)
        milliwatts = _asked(library.nvmlDeviceGetPowerUsage, handle)
        readings[index] = Reading(
            utilization=None if rates is None else rates.gpu / 100,
            memory_used=None if memory is None else memory.used,
            memory_total=None if memory is None else memory.total,
            power_watts=None if milliwatts is None else milliwatts / 1000,
            temperature_celsius=_temperature(library, handle),
        )
    return readings


def _temperature(library: Any, handle: Any) -> int | None:
    """Ask as the library of today wants it, else as those before it did: the older call goes with CUDA 14."""
    for name in ("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature"):
        question = getattr(library, name, None)
        value = None if question is None else _asked(question, handle, library.NVML_TEMPERATURE_GPU)
        if value is not None:
            return int(value)
    return None


def _asked(question: Callable[..., Any], *arguments: Any) -> Any | None:
    try:
        return question(*arguments)
    except Exception:  # noqa: BLE001 - one device or one question less; the others go on
        return None
