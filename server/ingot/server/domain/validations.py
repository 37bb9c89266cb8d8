"""Validations that somebody asks for: of a version that is READY, just to know, or of one that waits.

What a validation concludes about a version that is not READY is in publishing.py. One of a READY version
never takes it back: others may have pinned it already.
"""

from ingot.server.core import params
from ingot.server.core.identity import Caller
from ingot.server.core.names import VersionReference, made_id
from ingot.server.core.operations import Operation, OperationOptions
from ingot.server.domain.access import Access
from ingot.server.domain.catalog import Catalog
from ingot.server.domain.operations import Operations
from ingot.server.domain.publishing import Publishing
from ingot.server.domain.requests import RequestKey, Requests
from ingot.server.domain.versions import Versions


class Validations:
    """Starts validations; its methods run inside a write."""

    def __init__(
        self,
        catalog: Catalog,
        versions: Versions,
        publishing: Publishing,
        operations: Operations,
        access: Access,
        requests: Requests,
    ) -> None:
        self._catalog = catalog
        self._versions = versions
        self._publishing = publishing
        self._operations = operations
        self._access = access
        self._requests = requests

    def start(
        self,
        caller: Caller,
        key: RequestKey,
        reference: VersionReference,
        rules: params.Rules,
        options: OperationOptions,
    ) -> Operation:
        """Enqueue the validation of a version and return the operation; its result will be the report.

        Rules that are not set come from the policy of the artifact. An unfinished validation with the same
        rules is returned. Readers may validate what they read; who may write the artifact also
        versions that are not READY, which it makes READY or REJECTED, and with `quarantine`.
        Raises NotFound (ARTIFACT_NOT_FOUND, VERSION_NOT_FOUND, ALIAS_NOT_FOUND), Denied (SCOPE_MISSING),
        Invalid (FIELD_INVALID).
        """

        def make() -> str:
            return self._start(caller, reference, rules, options).name

        name, _ = self._requests.run(caller, "StartValidation", key, make)
        return self._operations.get(caller, made_id(name, "operations"))

    def _start(
        self,
        caller: Caller,
        reference: VersionReference,
        rules: params.Rules,
        options: OperationOptions,
    ) -> Operation:
        version = self._versions.get(caller, reference)
        artifact = self._catalog.require_read(caller, version.name.artifact)
        if rules.quarantine:
            self._access.require_artifact_write(caller, artifact)
        writes = caller.may_write(artifact.name.namespace)
        merged = merge_rules(artifact.fields.validation.rules, rules)
        if not writes:  # the policy may set bad records aside into a version of the artifact; readers may not
            merged = merged.model_copy(update={"quarantine": None})
        return self._publishing.validate(caller, artifact, version, merged, options, publish=writes)


def merge_rules(policy: params.Rules, asked: params.Rules) -> params.Rules:
    """Return the rules that are asked for, with those of the policy where nothing is asked."""
    values = {name: value for name, value in asked if value is not None and value != ()}
    return policy.model_copy(update=values)
