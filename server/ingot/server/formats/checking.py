"""Check one file: find its format, look through gzip, run its validator, apply the rules of single files.

    check(path, source, rules, folder) → Checked(report, findings)

This is the only way in: whoever validates, a version or a file on disk, calls it. Rules that count records of
all files together are in `verdict.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ingot.server.core.params import FileReport, Rules
from ingot.server.formats import gzipped, plain, registry
from ingot.server.formats.findings import FindingSink
from ingot.server.formats.quarantine import Quarantine
from ingot.server.formats.seam import HEAD_BYTES, BinarySource, Family, Head, Inspection


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found out; `passed` of the report does not yet count bad records."""

    report: FileReport
    findings: FindingSink
    family: Family


def check(
    path: str,
    source: BinarySource,
    rules: Rules,
    folder: Path,
    *,
    progress: Callable[[int], None] = lambda _: None,
    quarantine: Quarantine | None = None,
) -> Checked:
    """Check a file. Raises whatever reading the source raises, never for what the content is.

    `folder` is for scratch files, `progress` hears how many bytes were read, `quarantine` takes the records
    of a data file.
    """
    findings = FindingSink(path)
    size = source.size
    _check_size(size, rules, findings)
    head = _head(source)
    name = path
    if gzipped.is_gzip(head):
        source = gzipped.GzipSource(source, rules, findings, progress)
        if path.lower().endswith(".gz"):
            name = path[: -len(".gz")]
        elif not path.lower().endswith((".tgz", ".joblib")):
            message = "The content is packed with gzip; expected a name that ends with .gz."
            findings.warning("format_mismatch", message, byte_offset=0)
        progress = source.progress
        head = _head(source)
    match = registry.find(name, head)
    _check_format(match, rules, findings)
    if not size:
        findings.warning("empty_file", "The file is empty.", byte_offset=0)
    keep = quarantine if match.format.family is Family.DATA else None
    report = match.format.validate(Inspection(name, source, rules, findings, progress, folder, keep))
    return Checked(
        report.model_copy(update={"path": path, "size_bytes": size, "passed": not findings.failed}),
        findings,
        match.format.family,
    )


def unchecked(path: str, size: int, error: Exception) -> Checked:
    """Return the report of a file whose check broke: it does not pass, and only the kind of error is told."""
    findings = FindingSink(path)
    findings.error(
        "check_failed",
        f"The check broke with {type(error).__name__}: the content is damaged, or made to break it.",
    )
    report = FileReport(path=path, size_bytes=size, format=plain.extension(path), passed=False)
    return Checked(report, findings, Family.OTHER)


def _head(source: BinarySource) -> Head:
    data = source.read(HEAD_BYTES)
    source.seek(0)
    return Head(data, source.size)


def _check_size(size: int, rules: Rules, findings: FindingSink) -> None:
    if rules.max_file_size is not None and size > rules.max_file_size:
        findings.error(
            "too_large", f"The file has {size} bytes; expected at most {rules.max_file_size} (max_file_size)."
        )


def _check_format(match: registry.Match, rules: Rules, findings: FindingSink) -> None:
    name = match.format.name
    if match.named is not None:
        findings.warning(
            "format_mismatch",
            f"The file is named like {match.named.name}, but its content begins like {name}; it was checked "
            f"as {name}.",
            byte_offset=0,
        )
    allowed = [each.lower().lstrip(".") for each in rules.allowed_formats]
    if allowed and name not in allowed:
        findings.error(
            "format_not_allowed",
            f"The file is {name}; expected one of {', '.join(allowed)} (allowed_formats).",
        )
