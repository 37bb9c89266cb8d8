"""Validate a version: read each of its files from the server as a stream, check it, tell what was found.

    manifest → a few files at a time: TreeSource → formats.checking → verdict → report

With `quarantine` the bad records of a dataset are put aside as they are met. If there were any, two uploads
follow: a new version of the dataset with the good records and all other files as they were, and a version of
the dataset `<id>-quarantine` with what was put aside, so that nothing is lost, it is found and removed like
any other data, and the cleaned version holds nothing that it should not. A version does not validate itself
again here: where its policy asks for it, the commit has enqueued that.
"""

import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

from ingot.client import IngotError, TreeFile
from ingot.server.bodies import cleaned_versions
from ingot.server.bodies.failures import BodyFailure
from ingot.server.bodies.tree_source import TreeSource
from ingot.server.bodies.work import Work
from ingot.server.core import params
from ingot.server.core.events import FileProgress
from ingot.server.core.facts import VersionFacts
from ingot.server.formats import checking, facts, verdict
from ingot.server.formats.checking import Checked
from ingot.server.formats.facts import FileFacts
from ingot.server.formats.quarantine import Quarantine

log = logging.getLogger(__name__)

MOST_FINDINGS = 10_000  # that are held at once, of the files of a version; the report has fewer
MOST_BYTES = 4 * 1024 * 1024  # the same for statistics
FILES_AT_ONCE = 3  # more than one to hide waiting; the work itself is one core's


def run(work: Work[params.ValidationParams]) -> params.ValidationReport:
    """Check every file of the target and return the report."""
    return _Validation(work).run()


class _Validation:
    def __init__(self, work: Work[params.ValidationParams]) -> None:
        self._work = work
        self._rules = work.params.rules
        self._quarantines: dict[str, Quarantine] = {}
        self._lock = threading.Lock()
        self._running: dict[str, FileProgress] = {}
        self._done = 0  # bytes of files that are done
        self._total = 0
        self._kept_findings = 0
        self._kept_bytes = 0
        self._facts: list[FileFacts] = []
        self._architecture = ""
        self._sets_aside = bool(self._rules.quarantine) and "/datasets/" in work.spec.target
        if self._rules.quarantine and not self._sets_aside:
            work.warning("Records are put aside in datasets only: this version is checked and left as it is.")

    def run(self) -> params.ValidationReport:
        manifest = self._work.client.trees.manifest(self._work.spec.target)
        self._total = manifest.size
        with ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix="check") as threads:
            checked = list(threads.map(lambda file: self._check(manifest.tree, file), manifest.files))
        report = verdict.conclude(checked, self._rules).model_copy(update={"facts": self._found_facts()})
        bad = {path: each for path, each in self._quarantines.items() if each.bad_records}
        if not bad:
            return report
        cleaned = cleaned_versions.make(self._work, manifest, bad)
        count = sum(each.bad_records for each in bad.values())
        where = f"{count:,} bad records are in {cleaned.quarantine}"
        if cleaned.version:
            where += f", the good ones in {cleaned.version}"
        return report.model_copy(
            update={
                "quarantined": count,
                "version": cleaned.version,
                "summary": f"{report.summary} {where}.",
            }
        )

    def _check(self, tree: str, file: TreeFile) -> Checked:
        """Check one file; in a thread of the pool."""
        self._work.check()
        with ExitStack() as stack:
            source = stack.enter_context(TreeSource(self._work.client, tree, file.path, file.size))
            quarantine = None
            if self._sets_aside:
                cleaned, aside = cleaned_versions.places(self._work.folder, file.path)
                quarantine = stack.enter_context(Quarantine(cleaned, aside))
            scratch = self._work.folder / "scratch"
            scratch.mkdir(exist_ok=True)

            def progress(done: int) -> None:
                self._tell(file, done)

            try:
                if file.path == facts.CONFIG and file.size <= facts.MOST_CONFIG:
                    self._architecture = facts.architecture_of(source.read())
                    source.seek(0)
                found = checking.check(
                    file.path, source, self._rules, scratch, progress=progress, quarantine=quarantine
                )
            except (IngotError, OSError, BodyFailure):
                raise  # it could not be read: that says nothing about it
            except Exception as error:
                log.exception("validate.check_failed path=%s", file.path)
                found = checking.unchecked(file.path, file.size, error)
        if quarantine is not None:
            self._quarantines[file.path] = quarantine
            if not quarantine.bad_records:
                quarantine.cleaned.unlink(missing_ok=True)
        self._ended(file)
        return self._slim(found)

    def _found_facts(self) -> VersionFacts:
        """Return what the files say about the version."""
        told = sorted(self._facts, key=lambda each: each.path)
        if "/datasets/" in self._work.spec.target:
            return facts.of_dataset(told, validated=True)
        return facts.of_model(told, self._architecture, validated=True)

    def _tell(self, file: TreeFile, done: int) -> None:
        with self._lock:
            self._running[file.path] = FileProgress(file.path, min(done, file.size), file.size)
            running = [*self._running.values()]
            whole = self._done + sum(each.done for each in running)
        self._work.progress(whole, self._total, phase="checking", message=file.path, files=running)

    def _ended(self, file: TreeFile) -> None:
        with self._lock:
            self._running.pop(file.path, None)
            self._done += file.size

    def _slim(self, found: Checked) -> Checked:
        """Drop details of a file when those of the files before it fill what is kept of all together."""
        with self._lock:
            self._facts.append(facts.of_file(found.report))
            self._kept_findings += len(found.findings.kept)
            self._kept_bytes += len(json.dumps(found.report.statistics))
            if self._kept_findings > MOST_FINDINGS:
                found.findings.kept = [each for each in found.findings.kept if each.severity == "error"][:3]
            if self._kept_bytes > MOST_BYTES:
                told = found.report.statistics
                left = {"languages": told["languages"]} if "languages" in told else {}
                return replace(found, report=found.report.model_copy(update={"statistics": left}))
        return found
