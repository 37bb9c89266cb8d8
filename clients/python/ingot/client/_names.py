"""From references as people write them to the long names of the wire: fills in the caller's own namespace."""

from collections.abc import Callable

from ingot.client import _references
from ingot.client._errors import Invalid
from ingot.client._references import Reference, TreeReference

AnyName = str | Reference | TreeReference


class Names:
    """Makes long names; `default_namespace` is asked only when a reference names none, and only once."""

    def __init__(self, default_namespace: Callable[[], str]) -> None:
        self._ask = default_namespace
        self._default = ""

    @property
    def default_namespace(self) -> str:
        """Id of the namespace that references without one mean."""
        if not self._default:
            self._default = self._ask()
        return self._default

    def reference(self, text: str | Reference) -> Reference:
        """Return the reference with its namespace. Raises Invalid."""
        found = _references.parse_artifact(text) if isinstance(text, str) else text
        return found if found.namespace else found.in_namespace(self.default_namespace)

    def artifact(self, text: str | Reference) -> str:
        """Return the long name of the artifact; a version, alias or path beside it is refused."""
        found = self.reference(text)
        if found.version or found.alias or found.path:
            raise _refused(text, "the artifact alone", str(Reference(found.kind, found.artifact)))
        return found.artifact_name

    def version(self, text: str | Reference) -> str:
        """Return the long name of a version, an alias, or the artifact for its latest version."""
        found = self.reference(text)
        if found.path:
            raise _refused(text, "no path", str(text).partition(":")[0])
        return found.name

    def tree(self, text: AnyName) -> str:
        """Return the long name of anything that has files; a path in it is refused."""
        name, path = self.file_or_tree(text)
        if path:
            raise _refused(text, "no path", str(text).partition(":")[0])
        return name

    def file(self, text: AnyName) -> tuple[str, str]:
        """Return the long name of a tree and the path of a file in it. Raises Invalid without a path."""
        name, path = self.file_or_tree(text)
        if not path:
            raise _refused(text, "a file", f"{text}:PATH")
        return name, path

    def file_or_tree(self, text: AnyName) -> tuple[str, str]:
        """Return the long name of a tree, and the path of a file in it or nothing."""
        found = _references.parse_tree(text) if isinstance(text, str) else text
        if isinstance(found, TreeReference):
            return found.name, found.path
        found = self.reference(found)
        return found.name, found.path

    def parent(self, namespace: str | None) -> str:
        """Return the long name of a namespace; None means all that one may see."""
        return f"namespaces/{(namespace or '-').removeprefix('namespaces/')}"


def job_name(text: str) -> str:
    """Return the long name of a training job: `12`, `job_12` and `trainingJobs/job_12` are one."""
    return _references.made_name(text, "trainingJobs", "job")


def is_job(name: AnyName) -> bool:
    """Tell a training job, as `job_12` or by its long name, from what has versions."""
    return isinstance(name, str) and name.removeprefix("trainingJobs/").startswith("job_")


def upload_name(text: str) -> str:
    """Return the long name of an upload: `12`, `file_12` and `uploads/file_12` are one."""
    return _references.made_name(text, "uploads", "file")


def operation_name(text: str) -> str:
    """Return the long name of an operation: `12`, `op_12` and `operations/op_12` are one."""
    return _references.made_name(text, "operations", "op")


def _refused(text: object, expected: str, example: str) -> Invalid:
    return Invalid(
        f"Expected {expected}, got {str(text)!r}.",
        reason="NAME_INVALID",
        facts={"got": str(text)},
        next_step=f"Write for example: {example}",
    )
