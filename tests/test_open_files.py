"""How many files may be open: as many as the system lets a program have."""

import resource
import subprocess
import sys

PROGRAM = """
import resource, sys
hard = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
from ingot.server import open_files
print(open_files.raise_limit(), resource.getrlimit(resource.RLIMIT_NOFILE)[0], open_files.raise_limit())
"""


def test_the_limit_is_raised_to_what_the_system_lets_one_have() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = 5000 if hard == resource.RLIM_INFINITY else min(hard, 5000)
    program = [sys.executable, "-c", PROGRAM, str(wanted)]
    said = subprocess.run(program, capture_output=True, text=True, check=True, timeout=100).stdout
    assert said.split() == [str(wanted)] * 3
