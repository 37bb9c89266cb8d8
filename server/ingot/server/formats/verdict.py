"""From the checks of single files to the report of a version: rules over all files, totals, one sentence.

A file fails by what is wrong with the file itself. By bad records it fails too, unless `max_bad_ratio` allows
that share of the records of all files together. A rule about records that no file can prove fails: it is
there because somebody relies on it.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeGuard

from ingot.server.core.params import FileReport, Finding, Rules, ValidationReport
from ingot.server.formats.checking import Checked
from ingot.server.formats.findings import KEPT
from ingot.server.formats.languages import UNKNOWN
from ingot.server.formats.seam import Family

MAX_FILES = 500  # reports that are kept, failed ones first
STATISTICS_BYTES = 1024 * 1024  # of all reports together
_MOST = 0.5  # of the text must be in allowed languages


def conclude(checked: Sequence[Checked], rules: Rules) -> ValidationReport:
    """Return the report of all files of a version together; `checked` is in the order of their paths."""
    data = [each.report for each in checked if each.family is Family.DATA and each.report.records is not None]
    records = sum(each.records or 0 for each in data)
    bad = sum(each.bad_records for each in data)
    general = [*_count_findings(records, rules), *_share_findings(data, records, bad, rules)]
    if rules.required_columns and not data:
        columns = ", ".join(rules.required_columns)
        general.append(
            _finding("no_records", f"No file has records; expected {columns} in each (required_columns).")
        )
    tolerated = rules.max_bad_ratio is not None and bad <= rules.max_bad_ratio * records
    reports = [
        each.report.model_copy(
            update={"passed": not each.findings.failed and (tolerated or not each.report.bad_records)}
        )
        for each in checked
    ]
    passed = all(each.passed for each in reports) and not any(each.severity == "error" for each in general)
    kept = [*general, *(finding for each in checked for finding in each.findings.kept)]
    kept.sort(key=lambda each: each.severity != "error")  # errors first; else as they came
    count = len(general) + sum(each.findings.count for each in checked)
    return ValidationReport(
        passed=passed,
        summary=_summary(passed, reports, records if data else None, bad, kept, count),
        records=records if data else None,
        files=tuple(_bounded(reports)),
        file_count=len(reports),
        findings=tuple(kept[:KEPT]),
        finding_count=count,
    )


def _count_findings(records: int, rules: Rules) -> list[Finding]:
    found = []
    if rules.min_records is not None and records < rules.min_records:
        message = f"There are {records} records; expected at least {rules.min_records} (min_records)."
        found.append(_finding("too_few_records", message))
    if rules.max_records is not None and records > rules.max_records:
        message = f"There are {records} records; expected at most {rules.max_records} (max_records)."
        found.append(_finding("too_many_records", message))
    return found


def _share_findings(data: Sequence[FileReport], records: int, bad: int, rules: Rules) -> list[Finding]:
    found = []
    most = rules.max_bad_ratio
    if most is not None and bad > most * records:
        message = f"{bad} of {records} records are bad; expected at most {most:.2%} (max_bad_ratio)."
        found.append(_finding("too_many_bad_records", message))
    most = rules.max_duplicate_ratio
    twice = sum(each.duplicates for each in data)
    if most is not None and twice > most * records:
        message = f"{twice} of {records} records are duplicates; expected at most {most:.2%}"
        found.append(_finding("too_many_duplicates", f"{message} (max_duplicate_ratio)."))
    if rules.allowed_languages:
        found += _language_findings(data, rules.allowed_languages)
    return found


def _language_findings(data: Sequence[FileReport], allowed: Sequence[str]) -> list[Finding]:
    mix: Counter[str] = Counter()
    for report in data:
        told = report.statistics.get("languages")
        counts = {name: count for name, count in told.items() if name != UNKNOWN} if _is_mix(told) else {}
        whole = sum(counts.values())
        for name, count in counts.items():  # a file counts by its records, not by the size of its sample
            mix[name] += round(count / whole * (report.records or 0))
    if not mix:
        message = f"The language of the text could not be told; expected {', '.join(allowed)}."
        return [_finding("language_unknown", message)]
    share = sum(mix[each] for each in allowed) / mix.total()
    if share >= _MOST:
        return []
    got = ", ".join(f"{name} {count / mix.total():.0%}" for name, count in mix.most_common(3))
    message = f"Most text must be in {', '.join(allowed)} (allowed_languages), got {got}."
    return [_finding("language_not_allowed", message)]


def _is_mix(value: object) -> TypeGuard[dict[str, int]]:
    return isinstance(value, dict)


def _bounded(reports: Sequence[FileReport]) -> Iterable[FileReport]:
    """Yield the reports that are kept; where statistics become too many, the rest goes without."""
    left = STATISTICS_BYTES
    chosen = sorted(reports, key=lambda each: each.passed)[:MAX_FILES]
    for report in sorted(chosen, key=lambda each: each.path):
        left -= len(json.dumps(report.statistics, ensure_ascii=False).encode())
        yield report if left >= 0 else report.model_copy(update={"statistics": {}})


def _summary(
    passed: bool,
    reports: Sequence[FileReport],
    records: int | None,
    bad: int,
    findings: Sequence[Finding],
    count: int,
) -> str:
    size = f"{len(reports):,} file{'s' if len(reports) != 1 else ''}"
    if records is not None:
        size += f", {records:,} record{'s' if records != 1 else ''}"
        size += f", {bad:,} of them bad" if bad else ""
    if passed:
        return f"Passed: {size}" + (f", {count:,} remark{'s' if count != 1 else ''}." if count else ".")
    first = next(each for each in findings if each.severity == "error")
    return f"Failed: {size}. First: {_place(first)}{first.message}"


def _place(finding: Finding) -> str:
    parts = [finding.path] if finding.path else []
    for name, value in (("row", finding.row), ("column", finding.column), ("byte", finding.byte_offset)):
        parts += [f"{name} {value}"] if value is not None else []
    return f"{', '.join(parts)}: " if parts else ""


def _finding(reason: str, message: str) -> Finding:
    return Finding(path="", reason=reason, message=message)
