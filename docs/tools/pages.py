"""Make the pages that are written from code: `python docs/tools/pages.py [--check]`.

With `--check` nothing is written; a page that is not current is an error that says what to run.
"""

import argparse
import pathlib
import sys
from collections.abc import Callable, Mapping

import contract_coverage
import errors_page
from ingot.server.settings import page as settings_page

DOCS = pathlib.Path(__file__).resolve().parents[1]
PAGES: Mapping[str, Callable[[], str]] = {
    "coverage.md": contract_coverage.page,
    "errors.md": errors_page.page,
    "settings.md": settings_page.markdown,
}


def main() -> int:
    """Write or check every page; return the exit status."""
    parser = argparse.ArgumentParser(description="Make the pages that are written from code.")
    parser.add_argument("--check", action="store_true", help="only say which pages are not current")
    check: bool = parser.parse_args().check
    stale = [name for name, make in PAGES.items() if _bring_up_to_date(DOCS / name, make(), check=check)]
    for name in stale:
        print(f"docs/{name} is not current; run: make coverage" if check else f"wrote docs/{name}")
    return 1 if check and stale else 0


def _bring_up_to_date(path: pathlib.Path, text: str, *, check: bool) -> bool:
    """Return whether the page was stale; write it unless only checking."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    if not check:
        path.write_text(text, encoding="utf-8")
    return True


if __name__ == "__main__":
    sys.exit(main())
