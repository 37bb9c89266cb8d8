"""Validation policies and rules between the wire and the rules."""

import math

from ingot.server.core.artifacts import ValidationMode, ValidationPolicy
from ingot.server.core.errors import invalid_field
from ingot.server.core.params import Rules
from ingot.v1 import catalog_pb2

_MODES = {
    catalog_pb2.VALIDATION_MODE_UNSPECIFIED: ValidationMode.SERVER,
    catalog_pb2.VALIDATION_MODE_NONE: ValidationMode.NONE,
    catalog_pb2.VALIDATION_MODE_REQUIRED: ValidationMode.REQUIRED,
}
_MODE_VALUES = {mode: value for value, mode in _MODES.items()}
_LISTS = ("allowed_formats", "required_columns", "allowed_languages")
_COUNTS = ("max_file_size", "min_records", "max_records", "min_text_length", "max_text_length")
_RATIOS = ("max_bad_ratio", "max_duplicate_ratio")
_SWITCHES = ("allow_unsafe", "quarantine")
_MOST_VALUES = 1000
_LONGEST_VALUE = 200


def policy_of(message: catalog_pb2.ValidationPolicy, field: str) -> ValidationPolicy:
    """Return a policy; `field` is where it is in the request. Raises Invalid (FIELD_INVALID)."""
    if message.mode not in _MODES:
        raise invalid_field(f"{field}.mode", f"expected a ValidationMode, got {message.mode}")
    return ValidationPolicy(_MODES[message.mode], rules_of(message.rules, f"{field}.rules"))


_NOTHING = ValidationPolicy()


def policy_message(found: ValidationPolicy) -> catalog_pb2.ValidationPolicy | None:
    """Return a policy, None for one that says nothing."""
    if found == _NOTHING:
        return None
    return catalog_pb2.ValidationPolicy(mode=_MODE_VALUES[found.mode], rules=rules_message(found.rules))


def rules_of(message: catalog_pb2.ValidationRules, field: str = "rules") -> Rules:
    """Return rules; `field` is where they are in the request. Raises Invalid (FIELD_INVALID)."""
    values: dict[str, object] = {}
    for name in _LISTS:
        values[name] = _words(f"{field}.{name}", tuple(getattr(message, name)))
    for name in (*_COUNTS, *_RATIOS, *_SWITCHES):
        if message.HasField(name):  # type: ignore[arg-type]  # the stubs know only literals
            values[name] = getattr(message, name)
    for name in _COUNTS:
        if int(str(values.get(name, 0))) < 0:
            raise invalid_field(f"{field}.{name}", f"expected 0 or more, got {values[name]}")
    for name in _RATIOS:
        share = float(str(values.get(name, 0.0)))
        if not 0.0 <= share <= 1.0 or math.isnan(share):
            raise invalid_field(f"{field}.{name}", f"expected a share from 0 to 1, got {values[name]}")
    rules = Rules.model_validate(values)
    for least, most in (("min_records", "max_records"), ("min_text_length", "max_text_length")):
        low, high = getattr(rules, least), getattr(rules, most)
        if low is not None and high is not None and low > high:
            raise invalid_field(f"{field}.{least}", f"expected at most {most}, {high}, got {low}")
    return rules


def rules_message(found: Rules) -> catalog_pb2.ValidationRules:
    """Return rules."""
    return catalog_pb2.ValidationRules(**{name: value for name, value in found if value is not None})


def _words(field: str, values: tuple[str, ...]) -> tuple[str, ...]:
    if len(values) > _MOST_VALUES:
        raise invalid_field(field, f"expected at most {_MOST_VALUES} values, got {len(values)}")
    for value in values:
        if not value.strip() or len(value) > _LONGEST_VALUE:
            raise invalid_field(
                field, f"expected words of 1 to {_LONGEST_VALUE} characters, got {value[:80]!r}"
            )
    return tuple(dict.fromkeys(values))
