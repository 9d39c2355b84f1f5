"""Names of licenses: identifiers of SPDX, expressions of them, and ``LicenseRef-`` names.

The list of identifiers is that of ``packaging``, which Python uses for the licenses of packages.
"""

from __future__ import annotations

import re

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from unmask.errors import RecipeError, message

# Of licenses that are chosen for weights; suggestions come from these.
_COMMON: tuple[str, ...] = (
    "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-4.0", "CC-BY-NC-4.0", "CC-BY-NC-ND-4.0",
    "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0", "CC-BY-SA-4.0", "CC0-1.0", "GPL-3.0-only",
    "GPL-3.0-or-later", "LGPL-3.0-or-later", "MIT", "MPL-2.0", "Unlicense",
)  # fmt: skip
_SUGGESTED = 3


def spdx_expression(text: str) -> str | None:
    """The text as SPDX writes it; None if it is neither an identifier nor an expression.

    Examples:
        >>> spdx_expression("cc-by-4.0"), spdx_expression("mit OR apache-2.0")
        ('CC-BY-4.0', 'MIT OR Apache-2.0')
        >>> spdx_expression("free for friends") is None
        True
    """
    try:
        return str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        return None


def spdx_identifier(text: str) -> str | None:
    """A single identifier of the list of SPDX; None for expressions and for ``LicenseRef-``."""
    found = spdx_expression(text)
    return found if found and " " not in found and not found.startswith("LicenseRef-") else None


def check_license(text: str, subject: str) -> str:
    """The license as SPDX writes it.

    Raises:
        RecipeError: it is none; suggests identifiers.
    """
    if found := spdx_expression(text.strip()):
        return found
    names = ", ".join(suggest_licenses(text))
    own = re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.") or "Name"
    raise RecipeError(
        message(
            f"{subject} {text!r}",
            expected="an identifier of SPDX (https://spdx.org/licenses)",
            found="a text that is not in its list",
            do=f"Give one such as {names}. A license of your own is named "
            f"LicenseRef-{own[:40]}; put its text next to the model.",
        )
    )


def suggest_licenses(text: str) -> list[str]:
    """Identifiers that share most parts with a text, such as ``CC-BY-4.0`` for ``CC BY 4``."""
    words = _parts(text)
    ranked = sorted(
        _COMMON,
        key=lambda name: (
            len(words ^ _parts(name)) - 2 * len(words & _parts(name)),
            name not in {"CC-BY-4.0", "MIT"},
            name,
        ),
    )
    return ranked[:_SUGGESTED]


def _parts(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+|\d+", re.sub(r"\.0\b", "", text.lower())))
