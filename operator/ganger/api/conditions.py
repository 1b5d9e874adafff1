"""Conditions as the API conventions want them (KEP-1623): one of each type; times move only when a status flips."""

from datetime import datetime

from ganger.api.observed import Condition

MESSAGE_LENGTH_MAX = 1024


def upsert(
    conditions: tuple[Condition, ...],
    type_: str,
    status: bool,
    reason: str,
    message: str = "",
    *,
    now: datetime,
    generation: int,
) -> tuple[Condition, ...]:
    """Return the conditions with that one set; the order of the others stays. Idempotent: same facts, same value."""
    text = "True" if status else "False"
    old = next((condition for condition in conditions if condition.type == type_), None)
    since = old.last_transition_time if old is not None and old.status == text else now
    new = Condition(
        type=type_,
        status=text,
        reason=reason,
        message=message[:MESSAGE_LENGTH_MAX],
        last_transition_time=since,
        observed_generation=generation,
    )
    if old is None:
        return (*conditions, new)
    return tuple(new if condition.type == type_ else condition for condition in conditions)
