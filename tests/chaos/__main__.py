"""`python -m chaos`: every crash plan on the server in memory, or one of them again, with all that it did.

python -m chaos                                            all tables of the server in memory
python -m chaos --scenario suspend-resume --plan 7:lost    one plan: its writes, and how its end differs
"""

import argparse
import logging
import sys

from chaos.campaign import doubles, plan_of, simulate, singles
from chaos.plans import reference, run
from chaos.scenarios import SCENARIOS


def main() -> int:
    """Print the tables, or one run. Exit code 1 if a plan did not converge."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", choices=SCENARIOS, help="this one alone")
    parser.add_argument("--plan", type=plan_of, help="NUMBER:before|after|lost, of a write of the run without a fault")
    parser.add_argument("--standby", action="store_true", help="another instance takes over instead of a restart")
    parser.add_argument("--doubles", type=int, default=1000, help="how many pairs of faults to draw")
    asked = parser.parse_args()
    if asked.plan is not None:
        return _one(asked.scenario or parser.error("--plan needs --scenario"), asked.plan, has_standby=asked.standby)
    logging.disable(logging.CRITICAL)
    names = [asked.scenario] if asked.scenario else list(SCENARIOS)
    campaigns = [
        simulate("one fault, the operator is started again", singles(names)),
        simulate("one fault, a standby takes over", singles(names), has_standby=True),
        simulate("two faults", doubles(names, asked.doubles)),
    ]
    for campaign in campaigns:
        print(campaign.table(), end="\n\n")
    print(f"{sum(one.plans for one in campaigns)} plans, {sum(one.events for one in campaigns)} events checked")
    return any(campaign.failures for campaign in campaigns)


def _one(name: str, plan: dict, *, has_standby: bool) -> int:
    expected, outcome = reference(name), run(SCENARIOS[name], plan, has_standby=has_standby)
    for number, write in enumerate(outcome.writes):
        print(f"{number:>4} {write} {plan.get(number, '')}")
    differences = expected.differences(outcome)
    print("\n".join(differences) or f"the end is that of the run without a fault; {outcome.events} events checked")
    return bool(differences)


if __name__ == "__main__":
    sys.exit(main())
