"""Namespaces of teams, and the members of all: a part of `client.auth`."""

from collections.abc import Iterator, Sequence

from ingot.client import _pages
from ingot.client._calls import Calls, new_id
from ingot.client._errors import Invalid
from ingot.v1 import auth_pb2 as pb
from ingot.v1 import auth_pb2_grpc

_ROLE = "MEMBER_ROLE_"


class Members:
    """Calls about namespaces and members; users may be given as `ada` or `users/ada`."""

    _stub: auth_pb2_grpc.AuthServiceStub
    _calls: Calls

    def create_namespace(self, namespace: str) -> pb.Namespace:
        """Make a namespace for a team and own it; ids are shared with users and never used again."""
        request = pb.CreateNamespaceRequest(namespace_id=_id(namespace), request_id=new_id())
        return self._calls.unary(self._stub.CreateNamespace, request).namespace

    def delete_namespace(self, namespace: str, *, validate_only: bool = False) -> pb.DeleteNamespaceResponse:
        """Remove a namespace that has nothing in it, or only look whether it can be, and whose it is."""
        request = pb.DeleteNamespaceRequest(name=f"namespaces/{_id(namespace)}", validate_only=validate_only)
        return self._calls.unary(self._stub.DeleteNamespace, request)

    def members(self, namespace: str, *, limit: int | None = None) -> Iterator[pb.Member]:
        """Yield the members of a namespace by user."""

        def page(size: int, token: str) -> tuple[Sequence[pb.Member], str]:
            request = pb.ListMembersRequest(
                parent=f"namespaces/{_id(namespace)}", page_size=size, page_token=token
            )
            reply = self._calls.unary(self._stub.ListMembers, request)
            return reply.members, reply.next_page_token

        return _pages.walk(page, limit)

    def set_member(self, namespace: str, user: str, role: str) -> pb.Member:
        """Add a user to a namespace, or give a member another role: owner, writer or reader."""
        request = pb.SetMemberRequest(name=_member(namespace, user), role=member_role_of(role))
        return self._calls.unary(self._stub.SetMember, request).member

    def remove_member(self, namespace: str, user: str) -> None:
        """Remove a member from a namespace; who is none of them is no error."""
        self._calls.unary(self._stub.RemoveMember, pb.RemoveMemberRequest(name=_member(namespace, user)))


def member_role_of(word: str) -> pb.MemberRole.ValueType:
    """Return the role behind owner, writer or reader. Raises Invalid."""
    words = [name.removeprefix(_ROLE).lower() for name, value in pb.MemberRole.items() if value]
    if word not in words:
        raise Invalid(
            f"role: expected one of {', '.join(words)}, got {word!r}.",
            reason="FIELD_INVALID",
            next_step="Readers see its private things, writers change them, owners also say who belongs.",
        )
    return pb.MemberRole.Value(f"{_ROLE}{word.upper()}")


def _id(namespace: str) -> str:
    return namespace.removeprefix("namespaces/")


def _member(namespace: str, user: str) -> str:
    return f"namespaces/{_id(namespace)}/members/{user.removeprefix('users/')}"
