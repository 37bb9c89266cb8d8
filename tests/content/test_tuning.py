"""Only Ingot's own programs look for cycles less often; a program that uses the library stays as it was."""

import subprocess
import sys
from pathlib import Path

from ingot.content import tuning

CODE = Path(tuning.__file__).parent.parent.parent
_OWN = "from ingot.client.cli import main; main.main()"
_OTHER = "from ingot.client.cli import main; main.main(['--version'])"


def _threshold_after(program: str) -> int:
    words = f"import gc, sys; sys.path.insert(0, {str(CODE)!r}); {program}; print(gc.get_threshold()[0])"
    done = subprocess.run(
        [sys.executable, "-c", words, "--version"], capture_output=True, text=True, check=True
    )
    return int(done.stdout.split()[-1])


def test_only_own_programs_are_tuned() -> None:
    assert _threshold_after(_OWN) == tuning.YOUNG
    assert _threshold_after(_OTHER) == _threshold_after("import ingot.client") < tuning.YOUNG
