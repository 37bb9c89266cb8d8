"""validate: check the content of a version, and print what is wrong with it as a compiler does."""

import re
from typing import TYPE_CHECKING

from ingot.client._errors import Integrity
from ingot.client.cli import formats, named, operation_flags, values
from ingot.client.cli.command import Parser
from ingot.client.cli.output import Output
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.client._results import Finding, ValidationReport

NOT_PASSED = Integrity.exit_code  # bytes are not what they should be
_SIZE = re.compile(r"[0-9.]+ ?[KMG]i?B?", re.IGNORECASE)


class Validate(operation_flags.Tuned):
    """Check the content of a version: the form of its files, and rules. Ends with 6 when it does not pass.

    Each finding is a line PATH:ROW:COLUMN: error: what was found and what was expected; rows and columns
    count from 1. Rules that are not given come from the policy of the model or dataset. A rule is one of
    max_file_size, allowed_formats, min_records, max_records, required_columns, max_bad_ratio,
    max_duplicate_ratio, min_text_length, max_text_length, allowed_languages, allow_unsafe; lists are written
    with commas.
    """

    examples = (
        "ingot validate datasets/chat",
        "ingot validate datasets/chat@1 --rule min_records=10 --rule allowed_formats=jsonl,json",
    )
    ref: str
    rule: list[str]
    quarantine: bool

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("ref", metavar="REF", help="datasets/NAME or models/NAME[@VERSION]")
        parser.add_argument("--rule", action="append", default=[], metavar="K=V", help="one rule (repeat)")
        parser.add_argument(
            "--quarantine",
            action="store_true",
            help="put bad records aside and make a version of the good ones",
        )
        super().declare(parser)

    def run(self, shell: Shell) -> int:
        operation = shell.client.operations.start_validation(
            self.ref, rules_of(self.rule, self.quarantine), options=self.options()
        )
        found = self.followed(shell, operation)
        if found is None:
            return 0
        from ingot.client._results import ValidationReport

        report = ValidationReport.of(found)
        if shell.out.quiet:
            for file in report.files:
                if not file.passed:
                    shell.out.line(file.path)
        elif not shell.out.json:
            _print(shell.out, report)
        return 0 if report.passed else NOT_PASSED


def rules_of(settings: list[str], quarantine: bool) -> dict[str, object]:
    """Return `key=value` texts as rules: lists are written with commas, sizes may be 10M."""
    from ingot.v1 import catalog_pb2

    fields = catalog_pb2.ValidationRules.DESCRIPTOR.fields_by_name
    found: dict[str, object] = {}
    for key, value in values.pairs(settings, "--rule").items():
        text = str(value)
        if key in fields and fields[key].is_repeated:
            found[key] = [part.strip() for part in text.split(",") if part.strip()]
        elif key == "max_file_size" and _SIZE.fullmatch(text):
            found[key] = int(values.rate(text))
        else:
            found[key] = value
    if quarantine:
        found["quarantine"] = True
    return found


def _print(out: Output, report: "ValidationReport") -> None:
    for finding in report.findings:
        out.line(line(finding))
    if report.finding_count > len(report.findings):
        shown, count = formats.count(len(report.findings)), formats.count(report.finding_count)
        out.note(f"These are the first {shown} of {count}.")
    if report.version:
        records = formats.plural(report.quarantined, "record")
        out.note(f"Put {records} aside; the good ones are {named.short(report.version)}.")
    out.line(report.summary or ("It passed." if report.passed else "It did not pass."))


def line(finding: "Finding") -> str:
    """Return a finding as compilers write theirs."""
    place = finding.path
    if finding.row is not None:
        place += f":{finding.row}"
        place += f":{finding.column}" if finding.column is not None else ""
    offset = "" if finding.byte_offset is None else f", byte {finding.byte_offset}"
    return f"{place}: {finding.severity}: {finding.message} ({finding.reason}{offset})"
