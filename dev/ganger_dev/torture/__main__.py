"""`python -m ganger_dev.torture`: attack checkpoints and print what was counted; exits 1 if an attack got through.

It is its own command, so that `python -m ganger_dev` does not import torch.
"""

import sys
import time

import click

from ganger_dev.torture import damage, killing, resuming

MIB = 1 << 20


def attack_by_damage(count: int) -> bool:
    """Damage checkpoints `count` times; return whether none got through."""
    began = time.monotonic()
    found = damage.run(count)
    click.echo(
        f"damaged checkpoints: {sum(found.trials.values())} of {len(found.trials)} kinds, {found.loaded} loaded, "
        f"{found.ran_code} ran code, {len(found.wrong)} wrong, memory grew by {found.rss_growth / MIB:.0f} MiB "
        f"({time.monotonic() - began:.0f} s)"
    )
    for line in found.wrong[:10]:
        click.echo(f"  {line}")
    return not (found.loaded or found.ran_code or found.wrong)


def attack_by_kills() -> bool:
    """Kill the writer at every call; return whether each time the old or the new checkpoint was found whole."""
    began = time.monotonic()
    found = killing.run()
    click.echo(
        f"kills of the writer: {sum(found.kills.values())} in {len(found.kills)} scenarios, {len(found.wrong)} mixtures"
        f" or losses ({time.monotonic() - began:.0f} s)"
    )
    for name, kills in found.kills.items():
        ends = ", ".join(f"{end.split(': ')[1]}: {n}" for end, n in found.found.items() if end.startswith(f"{name}: "))
        click.echo(f"  {name}: {kills} kills, found {ends}")
    for line in found.wrong[:10]:
        click.echo(f"  {line}")
    return not found.wrong


def attack_by_resumes(count: int) -> bool:
    """Kill `count` gangs at random points; return whether all ended with the bytes of one that was never killed."""
    began = time.monotonic()
    trials = resuming.run(count)
    for trial in trials:
        where = ", ".join(f"rank {kill.rank} in step {kill.step} ({kill.place})" for kill in trial.kills)
        end = "equal" if trial.equal else "DIFFERENT"
        click.echo(f"  killed {where}; resumed from {', '.join(map(str, trial.resumed))}: {end}")
    equal = sum(trial.equal for trial in trials)
    kills = sum(len(trial.kills) for trial in trials)
    click.echo(
        f"killed gangs: {equal} of {len(trials)} equal an uninterrupted run bit for bit, {kills} kills "
        f"({time.monotonic() - began:.0f} s)"
    )
    return equal == len(trials)


@click.command()
@click.option("--damaged", default=10_000, show_default=True, help="Damaged checkpoints; 0 for none.")
@click.option("--gangs", default=20, show_default=True, help="Gangs that are killed; 0 for none.")
@click.option("--kills/--no-kills", default=True, show_default=True, help="Kill the writer at every call.")
def main(damaged: int, gangs: int, kills: bool) -> None:
    """Attack checkpoints: damage, kills of the writer, kills of training gangs."""
    # Gangs first: they are forked from a process in which torch has computed nothing yet.
    held = attack_by_resumes(gangs) if gangs else True
    held = (attack_by_kills() if kills else True) and held
    held = (attack_by_damage(damaged) if damaged else True) and held
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
