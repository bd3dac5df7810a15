"""Does a race lose the winner? Replayed on the committed runs of bench/tables.py: nothing is trained, it takes seconds.

    python bench/race.py

For each pair of each table, each validator and each order of a pair's seeds (five or three): after the second and each further seed
`candidates.in_front` sends recipes out; lost is the case in which the one that all of them would have chosen is among them. Writes
`bench/tables/race.md`. The rule (95 % intervals, from two seeds on) was fixed before this was run; `compare`'s command line races
because the loss is under 5 %.
"""

from __future__ import annotations

import datetime
import itertools
import json
from pathlib import Path

from xferlab.comparison.candidates import in_front
from xferlab.comparison.records import mean, selector_values
from xferlab.storage import write_atomically

TABLES = Path(__file__).parent / "tables"
VALIDATORS = "information_maximization source_val entropy bnm snd dev reverse_validation mixval".split()


def replay(values: dict[str, dict[int, float]], order: tuple[int, ...]) -> tuple[bool, int]:
    """Whether the race kept the recipe that all seeds choose, and how many runs it saved."""
    winner = max(values, key=lambda name: mean(values[name].values()))
    left, saved = set(values), 0
    for n in range(2, len(order)):
        left &= in_front({name: {seed: values[name][seed] for seed in order[:n]} for name in values if name in left})
        saved += len(values) - len(left)
    return winner in left, saved


def main() -> None:
    lines = [
        "| validator | cases | lost the winner | of the runs after the second seed, saved |",
        "| --- | --- | --- | --- |",
    ]
    total = [0, 0, 0, 0]
    for validator in VALIDATORS:
        cases = lost = saved = runs = 0
        for table in ("digits", "cells"):
            records = json.loads((TABLES / f"{table}.json").read_text("utf-8"))
            for pair in sorted({tuple(record["pair"]) for record in records}):
                values = selector_values([one for one in records if tuple(one["pair"]) == pair], validator)
                most = max(map(len, values.values()))
                values = {name: seeds for name, seeds in values.items() if len(seeds) == most}
                for order in itertools.permutations(range(most)):
                    kept, spared = replay(values, order)
                    cases, lost, saved = cases + 1, lost + (not kept), saved + spared
                    runs += (most - 2) * len(values)
        lines.append(f"| {validator} | {cases} | {lost / cases:.1%} | {saved / runs:.0%} |")
        total = [sum(pair) for pair in zip(total, (cases, lost, saved, runs), strict=True)]
    lines.append(f"| all | {total[0]} | {total[1] / total[0]:.1%} | {total[2] / total[3]:.0%} |")
    head = "# Does a race lose the winner?\n\nRegenerate with `python bench/race.py`; what it counts stands at its top.\n\n"
    with write_atomically(TABLES / "race.md") as temporary:
        temporary.write_text(head + "\n".join(lines) + f"\n\nWritten {datetime.date.today()}.\n", "utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
