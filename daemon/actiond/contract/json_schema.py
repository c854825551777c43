"""Does a payload fit the JSON schema that its processor declared? For who asks for work and has not its code.

The judge is the package jsonschema (extra [validate]), which follows the standard that pydantic writes. It is not the
judge of the daemon: it knows no validators in Python, and it takes no "7" for 7, as pydantic does. Schemas come out of
a database, so nothing that one refers to outside of itself is fetched.

What it says names fields and what is wanted of them, never a value: a payload may hold secrets.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Any

from actiond.words.errors import OperatorError, PayloadInvalid

_SAID_MAX = 200  # characters of what is wanted


def checker(schema: dict[str, Any]) -> Callable[[Any], None]:
    """A function that raises PayloadInvalid. OperatorError without the extra, or if the schema is none."""
    try:
        package, referencing = map(importlib.import_module, ("jsonschema", "referencing"))
    except ImportError as missing:
        raise OperatorError(
            f"checking payloads needs the package {missing.name}, which is not here: pip install 'actiond[validate]'"
        ) from None
    kind = package.validators.validator_for(schema, default=package.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except package.SchemaError as wrong:
        raise OperatorError(f"what the processor declares is no JSON schema: {wrong.message[:_SAID_MAX]}") from None
    validator = kind(schema, registry=referencing.Registry())  # which fetches nothing

    def check(value: Any) -> None:
        try:
            errors = sorted(validator.iter_errors(value), key=lambda error: list(map(str, error.absolute_path)))
        except RecursionError:
            raise PayloadInvalid("nested too deeply") from None
        except referencing.exceptions.Unresolvable as unknown:
            raise OperatorError(f"the schema refers to what is not in it: {unknown.ref}") from None
        if errors:
            raise PayloadInvalid(_first(errors))

    return check


def _first(errors: list[Any]) -> str:
    """The first three, as a handler's model would say them."""
    said = list(dict.fromkeys(map(_said, errors)))
    more = f" (and {len(said) - 3} more)" if len(said) > 3 else ""
    return "; ".join(said[:3]) + more


def _said(error: Any) -> str:
    where = ".".join(map(str, error.absolute_path)) or "payload"
    wanted = error.validator_value
    match error.validator:
        case "required":
            missing = ", ".join(repr(name) for name in wanted if name not in error.instance)
            return f"{where}: lacks {missing}"
        case "additionalProperties":
            known = error.schema.get("properties", {})
            return f"{where}: nobody knows {', '.join(repr(name) for name in error.instance if name not in known)}"
        case "type":
            return f"{where}: should be of type {wanted if isinstance(wanted, str) else ' or '.join(wanted)}"
        case "anyOf" | "oneOf" | "allOf" | "not":
            return f"{where}: fits nothing that it may be"
    return f"{where}: should keep {error.validator} {json.dumps(wanted, ensure_ascii=False)[:_SAID_MAX]}"
