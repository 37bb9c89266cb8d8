"""What of the parameters of an operation is secret: kept beside them, sealed, until it has succeeded.

    https://example.com/fa.jsonl?X-Amz-Signature=1f0…     what was asked for, and what the body gets
    https://example.com/fa.jsonl                          what the parameters say to everybody

What follows the path of a URL may be the right to read it: signatures and tokens stand there. Parameters are
shown, listed, watched and stored, so they have none of it. The whole URLs are sealed in the operation's row,
for this attempt and for those that come after a failure or a restart.
"""

import base64
import json
import re

from ingot.server.core.artifacts import JsonObject
from ingot.server.core.errors import DataLoss, Reason
from ingot.server.core.operations import Operation
from ingot.server.core.params import ImportParams, UrlImport
from ingot.server.core.sealed import Seal, SealBrokenError

_BEHIND_THE_PATH = re.compile(r"[?#].*", re.DOTALL)


class SecretParams:
    """Takes secrets out of parameters and puts them in again."""

    def __init__(self, seal: Seal) -> None:
        self._seal = seal

    def apart(self, kind: str, params: JsonObject, owner: str) -> tuple[JsonObject, str]:
        """Return parameters that may be shown, and sealed what is missing in them; "" for nothing.

        `owner` is the namespace that the operation is about.
        """
        source = _urls_of(kind, params)
        if source is None:
            return params, ""
        whole = [list(file.urls) for file in source.files]
        shown = [[_BEHIND_THE_PATH.sub("", url) for url in urls] for urls in whole]
        if shown == whole:
            return params, ""
        sealed = self._seal.seal(json.dumps(whole), _owner(kind, owner))
        return _with_urls(params, source, shown), base64.b64encode(sealed).decode("ascii")

    def whole(self, operation: Operation) -> JsonObject:
        """Return the parameters of an operation with their secrets, for its body alone.

        Raises DataLoss when they were sealed with another secret than this data folder has.
        """
        source = _urls_of(operation.kind, operation.params)
        if source is None or not operation.sealed:
            return operation.params
        try:
            text = self._seal.open(
                base64.b64decode(operation.sealed), _owner(operation.kind, operation.namespace)
            )
        except SealBrokenError:
            raise DataLoss(
                Reason.DATA_LOSS,
                f"The whole URLs of {operation.name} cannot be opened: they were kept with another secret "
                "than this data folder has now.",
                next_step="Start the import again with its URLs.",
                facts={"operation": operation.name},
            ) from None
        return _with_urls(operation.params, source, json.loads(text))


def _urls_of(kind: str, params: JsonObject) -> UrlImport | None:
    if kind != "import":
        return None
    source = ImportParams.model_validate(params).source
    return source if isinstance(source, UrlImport) else None


def _with_urls(params: JsonObject, source: UrlImport, urls: list[list[str]]) -> JsonObject:
    files = tuple(
        file.model_copy(update={"urls": tuple(each)}) for file, each in zip(source.files, urls, strict=True)
    )
    return {**params, "source": UrlImport(files=files).document()}


def _owner(kind: str, namespace: str) -> str:
    return f"{kind} of {namespace}"
