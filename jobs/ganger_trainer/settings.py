"""The live settings of one rank: what is in force, and how a wish becomes it on all ranks after one agreed step.

Rank 0 alone hears the wish; its text goes to all ranks, and each judges it by the same pure function, so all come to
the same end. No step pays for it: whether there is a wish is one number more in the meeting that the ranks hold anyway
(`agreement`), and only a wish costs a collective call of its own. See docs/adr/0026-live-configuration.md.
"""

from typing import TYPE_CHECKING, Any

import msgspec

from ganger_trainer import live, rates
from ganger_trainer.config import TrainConfig
from ganger_trainer.live import LiveSet, Value
from ganger_trainer.live_requests import LiveRequests
from ganger_trainer.ranks import Ranks
from ganger_trainer.reports import Sender

if TYPE_CHECKING:
    from ganger_trainer.loop import Parts


class Fixed:
    """The settings of a rank that nobody changes."""

    def asked(self) -> bool:
        """Return False."""
        return False

    def take(self, parts: "Parts") -> TrainConfig:
        """Return the config as it is."""
        return parts.config

    def state(self) -> dict[str, Any]:
        """Return nothing: there is nothing to keep."""
        return {}

    def restore(self, parts: "Parts", state: Any) -> None:
        """Do nothing."""


class Settings:
    """What one rank trains with. Making it is a collective call: all ranks begin with what rank 0 was told.

    base: spec.config. text: what the pod was made with, used where nothing newer was asked for.
    """

    def __init__(
        self, base: TrainConfig, ranks: Ranks, sender: Sender, text: str, requests: LiveRequests | None = None
    ) -> None:
        self._base = base
        self._ranks = ranks
        self._sender = sender
        self._requests = requests or LiveRequests.from_environment()
        self._wanted: dict[str, Any] = {}
        self._hear(text)
        self._since = 1
        self._settled = live.settle(base, self._wanted, (), self._since)

    @property
    def config(self) -> TrainConfig:
        """The config in force."""
        return self._settled.config

    def asked(self) -> bool:
        """Return True if there is a wish; on rank 0 alone."""
        return self._ranks.is_first and self._requests.is_new()

    def take(self, parts: "Parts") -> TrainConfig:
        """Take a wish in between two steps, and return the config that holds from the next on. A collective call.

        A value that is refused is told and changes nothing. Raises what the task's on_live raises.
        """
        before = self._settled
        self._hear("")
        self._settled = live.settle(self._base, self._wanted, before.values, parts.step + 1)
        if self._settled != before:
            self._since = parts.step + 1
            self._apply(parts, before.config, before.config)
            self._say()
        self.tell()
        return self.config

    def begin(self) -> None:
        """Tell people, where there is anything to tell, and the supervisor what the first step is trained with."""
        if self._settled.values or self._settled.refused:
            self._say()
        self.tell()

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: what its rates were made for, and since when what is in force."""
        config = msgspec.to_builtins(self.config)
        return {
            "config": {name: config[name] for name in live.declared(type(self._base))},
            "values": [msgspec.to_builtins(value) for value in self._settled.values],
        }

    def restore(self, parts: "Parts", state: Any) -> None:
        """Bring what a checkpoint put into `parts` to the settings that are asked for now; these win.

        state: of the checkpoint, None in one of an older version. It counts where a wish is refused.
        """
        built = parts.config
        saved = self._base
        values: tuple[Value, ...] = ()
        if state:
            names = live.declared(type(self._base))
            old = {name: value for name, value in state["config"].items() if name in names}
            try:
                saved = msgspec.convert(msgspec.to_builtins(self._base) | old, type(self._base))
            except msgspec.ValidationError:
                print("warning: the live settings of the checkpoint are of another Config, and are left", flush=True)
            values = tuple(msgspec.convert(value, Value) for value in state["values"])
        self._since = parts.step + 1
        self._settled = live.settle(self._base, self._wanted, values, self._since)
        self._apply(parts, saved, built)
        self.tell()

    def tell(self) -> None:
        """Tell the supervisor what is in force."""
        said = self._settled
        report = LiveSet(rank=self._ranks.rank, step=self._since, values=list(said.values), refused=list(said.refused))
        self._sender.send(report, surely=True)

    def _hear(self, otherwise: str) -> None:
        """Let all ranks know what rank 0 was asked for. A text that means nothing changes nothing."""
        mine = (self._requests.take() or otherwise) if self._ranks.is_first else ""
        try:
            self._wanted = msgspec.json.decode(self._ranks.text_from_first(mine), type=dict[str, Any])
        except msgspec.MsgspecError:
            return

    def _apply(self, parts: "Parts", made_for: TrainConfig, built: TrainConfig) -> None:
        """Bring optimizer, schedule and task from these configs to the one in force."""
        new = parts.config = self.config
        if new.lr != made_for.lr:
            rates.scale(parts.optimizer, parts.scheduler, made_for.lr, new.lr)
        hook = getattr(parts.task, "on_live", None)
        if hook is not None and not new == made_for == built:
            hook(parts.model, parts.optimizer, new)

    def _say(self) -> None:
        if not self._ranks.is_first:
            return
        values = ", ".join(f"{value.name}={value.value}" for value in self._settled.values) or "none"
        print(f"live settings from step {self._since} on: {values}", flush=True)
        for refusal in self._settled.refused:
            print(f"live setting {refusal.name}={refusal.value} is refused: {refusal.message}", flush=True)
