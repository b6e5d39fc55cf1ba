"""Taking the values of secrets out of what is kept for readers.

The rooms that hand a secret to a body tell :func:`remember_secret`; whatever is then written to the journal for people
to read goes through :func:`redact`.
"""

_SHORTEST = 4
"""Values shorter than this are left: they would blacken half of any text, and hide nothing."""
_HIDDEN = "*****"
_secrets: set[str] = set()


def remember_secret(value: str) -> None:
    """Hide ``value``, and each of its lines, from now on."""
    for part in (value, *value.splitlines()):
        if len(part.strip()) >= _SHORTEST:
            _secrets.add(part.strip())


def redact(text: str) -> str:
    """``text`` with the values of secrets hidden."""
    if _secrets:
        for secret in sorted(_secrets, key=len, reverse=True):
            if secret in text:
                text = text.replace(secret, _HIDDEN)
    return text
