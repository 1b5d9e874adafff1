"""GPU series through nvidia-ml-py: what one GPU does not tell takes nothing from the others, nothing raises."""

import inspect
import sys
import threading
import types

import msgspec
import pytest

from ganger_trainer import nvml
from ganger_trainer.nvml import Gpus, Reading

pynvml = pytest.importorskip("pynvml")

WHOLE = Reading(
    utilization=0.5, memory_used=30, memory_total=80, power_watts=350.25, temperature_celsius=61
)  # fmt: skip


class Driver:
    """pynvml with two GPUs. `broken`: names of calls that fail, for GPU 1 only where a handle is asked."""

    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU

    def __init__(self, *broken):
        self.broken = broken
        self.begun = 0

    def _fail(self, name, handle=1):
        if name in self.broken and handle == 1:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def nvmlInit(self):  # noqa: N802
        self.begun += 1
        self._fail("nvmlInit")

    def nvmlDeviceGetCount(self):  # noqa: N802
        self._fail("nvmlDeviceGetCount")
        return 2

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        self._fail("nvmlDeviceGetHandleByIndex", index)
        return index

    def nvmlDeviceGetUtilizationRates(self, handle):  # noqa: N802
        self._fail("nvmlDeviceGetUtilizationRates", handle)
        return types.SimpleNamespace(gpu=50, memory=10)

    def nvmlDeviceGetMemoryInfo(self, handle, version=None):  # noqa: N802
        self._fail("nvmlDeviceGetMemoryInfo", handle)
        return types.SimpleNamespace(total=80, free=50, used=30)

    def nvmlDeviceGetPowerUsage(self, handle):  # noqa: N802
        self._fail("nvmlDeviceGetPowerUsage", handle)
        return 350250

    def nvmlDeviceGetTemperature(self, handle, sensor):  # noqa: N802
        assert self.NVML_TEMPERATURE_GPU == sensor
        self._fail("nvmlDeviceGetTemperature", handle)
        return 61

    def nvmlDeviceGetTemperatureV(self, handle, sensor, version=pynvml.nvmlTemperature_v1):  # noqa: N802
        self._fail("nvmlDeviceGetTemperatureV", handle)
        return self.nvmlDeviceGetTemperature(handle, sensor)


CALLS = [name for name in vars(Driver) if name.startswith("nvml")]


@pytest.mark.parametrize("name", CALLS)
def test_the_driver_of_these_tests_is_called_as_the_real_one_is(name):
    real = inspect.signature(getattr(pynvml, name))

    assert list(real.parameters) == list(inspect.signature(getattr(Driver(), name)).parameters)


def test_units_are_those_of_the_series():
    assert {0: WHOLE, 1: WHOLE} == nvml.read(Driver())


@pytest.mark.parametrize(
    ("call", "field"),
    [
        ("nvmlDeviceGetUtilizationRates", {"utilization": None}),
        ("nvmlDeviceGetMemoryInfo", {"memory_used": None, "memory_total": None}),
        ("nvmlDeviceGetPowerUsage", {"power_watts": None}),
        ("nvmlDeviceGetTemperature", {"temperature_celsius": None}),
    ],
)
def test_a_question_that_one_gpu_does_not_answer_costs_that_figure_of_that_gpu(call, field):
    assert {0: WHOLE, 1: msgspec.structs.replace(WHOLE, **field)} == nvml.read(Driver(call))


def test_a_lost_gpu_takes_nothing_from_the_other():
    assert {0: WHOLE} == nvml.read(Driver("nvmlDeviceGetHandleByIndex"))


def test_a_driver_that_is_gone_has_no_gpus():
    assert {} == nvml.read(Driver("nvmlDeviceGetCount"))


def test_an_older_library_or_driver_is_asked_for_the_temperature_as_it_knows():
    class Older(Driver):
        nvmlDeviceGetTemperatureV = None  # noqa: N815

    assert WHOLE == nvml.read(Older())[0]
    assert WHOLE == nvml.read(Driver("nvmlDeviceGetTemperatureV"))[1]


def test_the_real_library_without_a_driver_gives_no_series():
    with pytest.raises(pynvml.NVMLError):
        pynvml.nvmlInit()

    assert nvml.opened() is None


def test_without_the_library_there_are_no_series(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)

    assert nvml.opened() is None


@pytest.fixture
def clock(monkeypatch):
    """Time of `nvml`, that passes in `sleep` alone; the third sleep of the thread never ends."""

    class Clock:
        now, rounds, over = 100.0, 3, threading.Event()

        def monotonic(self):
            return self.now

        def sleep(self, seconds):
            self.now += seconds
            self.rounds -= 1
            if self.rounds == 0:
                self.over.set()
                threading.Event().wait()

    clock = Clock()
    monkeypatch.setattr(nvml, "time", clock)
    return clock


def test_a_reading_is_shown_until_it_is_too_old(clock, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", Driver())
    gpus = Gpus()
    assert {} == gpus.readings()

    gpus.start()

    assert clock.over.wait(5)
    assert {0: WHOLE, 1: WHOLE} == gpus.readings()
    clock.now += nvml.FRESH_SECONDS
    assert {} == gpus.readings(), "the driver hangs"


def test_the_driver_is_not_touched_before_all_workers_are_forked(clock, monkeypatch):
    driver = Driver()
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    gpus = Gpus(ready=lambda: False)

    gpus.start()

    assert clock.over.wait(5)
    assert 0 == driver.begun
