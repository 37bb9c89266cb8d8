"""AuthService: who calls. One mixin per feature; see auth_rules.py."""

from ingot.server.rpc.auth_logins import LoginCalls
from ingot.server.rpc.auth_members import MemberCalls
from ingot.server.rpc.auth_namespaces import NamespaceCalls
from ingot.server.rpc.auth_tokens import TokenCalls
from ingot.server.rpc.auth_users import UserCalls


class AuthServicer(UserCalls, LoginCalls, TokenCalls, NamespaceCalls, MemberCalls):
    """Serves AuthService."""
