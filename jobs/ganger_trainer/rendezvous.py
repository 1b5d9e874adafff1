"""Find worker 0. Its name may not resolve for a minute, and its pod may still be pulling an image for many.

Neither is a failure. Lookups are repeated without caching: a name that is missing now will be there, and an address
from an earlier attempt will not.
"""

import socket
import time
from typing import Final

from ganger_trainer.failures import TrainerError

WAIT_SECONDS: Final = (
    1800.0  # for name and peers together: large images take long; the operator's own deadlines are shorter
)
PAUSE_SECONDS: Final = (0.05, 2.0)  # first and longest pause between lookups


def resolve(host: str, deadline: float) -> None:
    """Return once `host` has an address. Raises TrainerError (RendezvousTimeout) at monotonic `deadline`."""
    pause, longest = PAUSE_SECONDS
    said = False
    while True:
        try:
            socket.getaddrinfo(host, None)
        except socket.gaierror as error:
            if time.monotonic() + pause > deadline:
                raise TrainerError(
                    "RendezvousTimeout",
                    f"{host} did not resolve within {WAIT_SECONDS:.0f} s ({error.strerror}): is worker 0 running, "
                    "and does the job's Service publish addresses that are not ready?",
                ) from None
            if not said and pause >= 1.0:
                said = True
                print(f"waiting for {host} to resolve", flush=True)
        else:
            return
        time.sleep(pause)
        pause = min(2 * pause, longest)


def free_port() -> int:
    """Return a port that was free a moment ago on the loopback address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
