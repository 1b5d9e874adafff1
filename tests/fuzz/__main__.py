"""`python -m fuzz`: manifests and transitions by the thousand, or one of them again.

python -m fuzz                       10,000 cases, and what was refused of each kind
python -m fuzz --seed 0 --case 123   one case: its text, and what is said of it
"""

import argparse
import sys

from fuzz.campaign import Campaign
from fuzz.cases import case
from fuzz.verdicts import verdict


def main() -> int:
    """Print the table, or one case. Exit code 1 if anything was not as it must be."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="of all cases")
    parser.add_argument("--case", type=int, help="this one alone")
    parser.add_argument("--cases", type=int, default=10_000, help="how many")
    asked = parser.parse_args()
    if asked.case is not None:
        return _one(asked.seed, asked.case)
    campaign = Campaign()
    for number in range(asked.cases):
        one = case(asked.seed, number)
        campaign.take(one, verdict(one))
    print(campaign.table())
    return bool(campaign.failures)


def _one(seed: int, number: int) -> int:
    one = case(seed, number)
    found = verdict(one)
    print(one, ascii(one.before) if one.before else "", ascii(one.text), sep="\n")
    print("accepted" if found.accepted else "refused", *found.troubles, sep="\n")
    return bool(found.troubles)


if __name__ == "__main__":
    sys.exit(main())
