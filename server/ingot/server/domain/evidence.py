"""Evidence: what the server itself finds out about a version before somebody decides on its approval.

    validation    its last validation passed, with rules as strict as those of the artifact's policy
    scan          that validation looked for unsafe content, and found none
    license       its artifact says under which licence it is
    metric:NAME   a performance metric is between the limits of the artifact's policy

Nothing of it is told by whoever asks. It is gathered at the request, and again at the decision, since what
counts is what is true then.
"""

import math

from ingot.server.core import params
from ingot.server.core.approval_policies import (
    LICENSE,
    SCAN,
    VALIDATION,
    MetricThreshold,
    digits,
)
from ingot.server.core.approvals import Check, Evidence
from ingot.server.core.artifacts import Artifact, Version
from ingot.server.core.errors import NotFound
from ingot.server.core.identity import system_caller
from ingot.server.core.operations import Operation, OperationState
from ingot.server.domain import validation_policies
from ingot.server.domain.catalog import Catalog
from ingot.server.domain.operations import Operations

METRIC = "metric:"


class EvidenceGathering:
    """Gathers evidence; `required` is what the server asks of every approval. Inside a unit of work."""

    def __init__(self, operations: Operations, catalog: Catalog, required: tuple[str, ...]) -> None:
        self._operations = operations
        self._catalog = catalog
        self._required = required

    def of(self, artifact: Artifact, version: Version, now: float) -> Evidence:
        """Return what is known about a version now."""
        policy = self._catalog.policy(artifact)
        validation = self._validation(version)
        needed = {*self._required, *policy.required_evidence}
        checks = [
            _validated(artifact, version, validation, required=VALIDATION in needed),
            _scanned(validation, required=SCAN in needed),
            _licensed(artifact, required=LICENSE in needed),
            *(_measured(version, threshold) for threshold in policy.thresholds),
        ]
        return Evidence(tuple(checks), now)

    def _validation(self, version: Version) -> Operation | None:
        if not version.last_validation:
            return None
        try:
            return self._operations.get(system_caller(), version.last_validation.rpartition("/")[2])
        except NotFound:  # it ended so long ago that it was forgotten
            return None


def _validated(
    artifact: Artifact, version: Version, validation: Operation | None, *, required: bool
) -> Check:
    report, passed = _report(validation), False
    if validation is None:
        found = "forgotten; validate it again" if version.last_validation else "never validated"
    elif report is None:
        found = f"{validation.name} is {validation.state}"
    elif more := validation_policies.looser(artifact.fields.validation.rules, _rules(validation)):
        found = f"{validation.name} let more pass than the policy: {', '.join(more)}"
    else:
        found, passed = f"{validation.name}: {report.summary}", report.passed
    return Check(VALIDATION, passed, required, "its last validation passed", found)


def _scanned(validation: Operation | None, *, required: bool) -> Check:
    report = _report(validation)
    expected = "a validation that does not let unsafe content pass, and found none"
    if report is None or validation is None:
        return Check(SCAN, False, required, expected, "not scanned")
    if _rules(validation).allow_unsafe:
        return Check(SCAN, False, required, expected, f"{validation.name} let unsafe content pass")
    return Check(SCAN, report.passed, required, expected, f"{validation.name}: {report.summary}")


def _licensed(artifact: Artifact, *, required: bool) -> Check:
    license_ = artifact.fields.license
    return Check(LICENSE, bool(license_), required, "a licence is set", license_ or "none")


def _measured(version: Version, threshold: MetricThreshold) -> Check:
    value = version.performance_metrics.get(threshold.metric)
    name, expected = METRIC + threshold.metric, threshold.limits
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return Check(name, False, True, expected, "none" if value is None else "not a number")
    low = threshold.minimum is None or value >= threshold.minimum
    high = threshold.maximum is None or value <= threshold.maximum
    return Check(name, low and high, True, expected, digits(value))


def _rules(validation: Operation) -> params.Rules:
    return params.ValidationParams.model_validate(validation.params).rules


def _report(validation: Operation | None) -> params.ValidationReport | None:
    if validation is None or validation.state is not OperationState.SUCCEEDED:
        return None
    return params.ValidationReport.model_validate(validation.result)
