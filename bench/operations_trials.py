"""Run every way in which an operation can go wrong many times, on both dispatchers, and count how each ended.

    python bench/operations_trials.py --trials 20 --server-kills 100

All cases of tests/helpers/operation_trials.py run at the same time in one runner per round, with real child
processes. Prints a table of cases, trials and outcomes; exits with 1 when one did not end as it must.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from helpers.killed_runners import kill_until_done
from helpers.operation_trials import CASES, Case, begin
from helpers.runners import RunnerRig, alive, runner_rig
from ingot.server.core.operations import FINAL_OPERATION_STATES, Operation

Outcomes = dict[str, Counter[str]]


def main() -> int:
    """Run the trials and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--trials", type=int, default=20, help="trials of each case on each dispatcher")
    parser.add_argument("--lease", type=float, default=3.0, help="seconds a body may be silent")
    parser.add_argument("--server-kills", type=int, default=20, help="kills of the server on each dispatcher")
    wanted = parser.parse_args()
    began, left, wrong = time.monotonic(), 0, 0
    for dispatcher in ("rows", "memory"):
        outcomes: Outcomes = {case.name: Counter() for case in CASES}
        for _ in range(wanted.trials):
            left += _round(dispatcher, wanted.lease, outcomes)
        wrong += _print(dispatcher, outcomes)
        wrong += _kill_servers(dispatcher, wanted.server_kills)
    print(f"\n{time.monotonic() - began:.0f} s; processes left behind: {left}; wrong endings: {wrong}")
    return 1 if left or wrong else 0


def _round(dispatcher: str, lease: float, outcomes: Outcomes) -> int:
    """Run each case once; return how many processes were left behind."""
    with tempfile.TemporaryDirectory() as folder, runner_rig(Path(folder), dispatcher, lease=lease) as rig:
        begun = [(case, begin(rig, case)) for case in CASES]
        left = 0
        for case, operation in begun:
            ended = rig.until(operation, *FINAL_OPERATION_STATES, timeout=120.0)
            outcomes[case.name][_outcome(ended)] += 1
            left += _left(rig, operation)
        return left


def _kill_servers(dispatcher: str, wanted: int) -> int:
    """Kill the process that runs operations at any moment, and print what came of them."""
    moments = random.Random(dispatcher)
    states: Counter[str] = Counter()
    kills = attempts = overlaps = 0
    while kills < wanted:
        with tempfile.TemporaryDirectory() as folder:
            pauses = [moments.uniform(0.0, 1.0) for _ in range(5)]
            outcome = kill_until_done(Path(folder), dispatcher, pauses)
        kills += outcome.kills
        attempts += outcome.attempts
        overlaps += outcome.overlaps
        states.update(outcome.states)
    told = ", ".join(f"{count} × {state}" for state, count in states.items())
    print(
        f"\nserver killed {kills} times: operations {told}; attempts {attempts}; run twice at once {overlaps}"
    )
    return overlaps + states.total() - states["SUCCEEDED"]


def _left(rig: RunnerRig, operation: Operation) -> int:
    return sum(alive(process) for process in rig.processes(operation).values())


def _outcome(ended: Operation) -> str:
    reason = f" {ended.problem.reason}" if ended.problem else ""
    return f"{ended.state}{reason} in attempt {ended.attempt}"


def _expected(case: Case) -> str:
    reason = f" {case.reason}" if case.reason else ""
    return f"{case.state}{reason} in attempt {case.attempts}"


def _print(dispatcher: str, outcomes: Outcomes) -> int:
    """Print the table of one dispatcher; return how many trials did not end as they must."""
    print(f"\ndispatcher {dispatcher}\n\n| case | trials | outcomes |\n|---|---|---|")
    wrong = 0
    for case in CASES:
        found = outcomes[case.name]
        told = ", ".join(f"{count} × {outcome}" for outcome, count in found.most_common())
        print(f"| {case.name} | {found.total()} | {told} |")
        wrong += found.total() - found[_expected(case)]
    return wrong


if __name__ == "__main__":
    sys.exit(main())
