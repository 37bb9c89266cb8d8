"""How strict validations are: what counts as looser than a policy, and a policy in words."""

from ingot.server.core.artifacts import ValidationMode, ValidationPolicy
from ingot.server.core.params import Rules

_AT_MOST = ("max_file_size", "max_records", "max_duplicate_ratio", "max_text_length")
_AT_LEAST = ("min_records", "min_text_length")
_ONLY = ("allowed_formats", "allowed_languages")
_MODES = (ValidationMode.NONE, ValidationMode.SERVER, ValidationMode.REQUIRED)  # from the least strict


def looser(policy: Rules, used: Rules) -> list[str]:
    """Return which rules of a validation let more pass than those of the policy would.

    A policy that says nothing of bad records lets none pass. For unsafe content there is a check of its own.
    """

    def beyond(name: str, sign: int) -> bool:
        wanted, got = getattr(policy, name), getattr(used, name)
        return wanted is not None and (got is None or (got - wanted) * sign > 0)

    found = [name for name in _AT_MOST if beyond(name, 1)]
    found += [name for name in _AT_LEAST if beyond(name, -1)]
    for name in _ONLY:
        wanted, got = {*getattr(policy, name)}, {*getattr(used, name)}
        if wanted and not (got and got <= wanted):
            found.append(name)
    if not {*policy.required_columns} <= {*used.required_columns}:
        found.append("required_columns")
    if (used.max_bad_ratio or 0.0) > (policy.max_bad_ratio or 0.0):
        found.append("max_bad_ratio")
    return found


def loosened(before: ValidationPolicy, after: ValidationPolicy) -> list[str]:
    """Return what of a policy asks for less than the same of the one before."""
    found = ["mode"] if _MODES.index(after.mode) < _MODES.index(before.mode) else []
    found += looser(before.rules, after.rules)
    if after.rules.allow_unsafe and not before.rules.allow_unsafe:
        found.append("allow_unsafe")
    return found


def words(policy: ValidationPolicy) -> list[str]:
    """Return a policy as words, those that may be long at the end."""
    said = [f"mode {policy.mode}"] if policy.mode is not ValidationMode.SERVER else []
    rules = [(name, value) for name, value in policy.rules if value not in (None, ())]
    said += [f"{name} {value}" for name, value in rules if not isinstance(value, tuple)]
    said += [f"{name} {each}" for name, value in rules if isinstance(value, tuple) for each in value]
    return said or ["nothing"]
