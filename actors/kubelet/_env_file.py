"""Environment variables from a file of a volume (fileKeyRef, KEP-3721). Pure.

    # a comment
    NAME='value, which may
    go on in the next line'   # a comment

https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-via-file/
"""

from __future__ import annotations

__all__ = ["EnvFileError", "variable_in"]


class EnvFileError(ValueError):
    """The file does not keep to the format."""


def variable_in(text: str, key: str) -> str:
    """The value of `key`, empty if it has none; what follows it is not read. Raises `EnvFileError`."""
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        number, line = at + 1, lines[at].removesuffix("\r").lstrip(" \t")
        at += 1
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.strip(" \t"):
            raise EnvFileError(f"line {number}: no assignment")
        if name != name.rstrip(" \t"):
            raise EnvFileError(f"line {number}: white space before '='")
        if value[:1] in (" ", "\t", ""):
            if value:  # as a shell has it: the variable is empty
                if name == key:
                    return ""
                continue
            raise EnvFileError(f"line {number}: the value is not in single quotes")
        if value[0] != "'":
            raise EnvFileError(f"line {number}: the value is not in single quotes")
        rest, found = value[1:], ""
        while "'" not in rest:
            if at >= len(lines):
                raise EnvFileError(f"line {number}: the quote is not closed")
            found += rest + "\n"
            rest = lines[at]
            at += 1
        inside, _, behind = rest.partition("'")
        if behind.strip(" \t\r") and not behind.lstrip(" \t").startswith("#"):
            raise EnvFileError(f"line {number}: something follows the closing quote")
        if name == key:
            return found + inside
    return ""
