"""Who sees an artifact, and whose it is: a part of `client.catalog`."""

from collections.abc import Sequence

from ingot.client._calls import Calls, new_id
from ingot.client._errors import Invalid
from ingot.client._names import Names
from ingot.client._references import Reference
from ingot.v1 import catalog_pb2 as pb
from ingot.v1 import catalog_pb2_grpc

_VISIBILITY = "VISIBILITY_"


class AccessPart:
    """Calls about access; users may be given as `ada` or `users/ada`."""

    _stub: catalog_pb2_grpc.CatalogServiceStub
    _calls: Calls
    _names: Names

    def access(self, ref: str | Reference) -> pb.Access:
        """Return who sees an artifact, and whose it is; for its owner and the owners of its namespace."""
        request = pb.GetAccessRequest(name=self._names.artifact(ref))
        return self._calls.unary(self._stub.GetAccess, request).access

    def set_access(
        self,
        ref: str | Reference,
        *,
        visibility: str = "",
        owner: str = "",
        grant: Sequence[str] = (),
        revoke: Sequence[str] = (),
        etag: str = "",
        validate_only: bool = False,
    ) -> pb.Access:
        """Change who sees an artifact: `visibility` is private, internal or public.

        `owner` is a member of its namespace who gets it; `grant` and `revoke` are single users who may read
        it from now on, or not any more. What is not given stays.
        """
        request = pb.SetAccessRequest(
            name=self._names.artifact(ref),
            visibility=visibility_of(visibility) if visibility else pb.VISIBILITY_UNSPECIFIED,
            owner=_user(owner),
            add_readers=map(_user, grant),
            remove_readers=map(_user, revoke),
            etag=etag,
            request_id=new_id(),
            validate_only=validate_only,
        )
        return self._calls.unary(self._stub.SetAccess, request).access


def visibility_of(word: str) -> pb.Visibility.ValueType:
    """Return the visibility behind private, internal or public. Raises Invalid."""
    words = [name.removeprefix(_VISIBILITY).lower() for name, value in pb.Visibility.items() if value]
    if word not in words:
        raise Invalid(
            f"visibility: expected one of {', '.join(words)}, got {word!r}.",
            reason="FIELD_INVALID",
            next_step="Private is for members of its namespace, the others for all who are signed in.",
        )
    return pb.Visibility.Value(f"{_VISIBILITY}{word.upper()}")


def _user(text: str) -> str:
    return f"users/{text.removeprefix('users/')}" if text else ""
