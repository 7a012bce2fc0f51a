"""URLs that name a user and a password, and those where the password's end cannot be known."""

from __future__ import annotations

import re
from urllib.parse import urlparse

_ENCODED = "@ is %40, / is %2F, : is %3A, # is %23, ? is %3F, % is %25"


def ambiguity(url: str) -> str | None:
    """Why a URL that may hold a password cannot be read for certain; None where it can.

    A password with an unescaped ``@`` or ``/`` moves the place where the host begins: its end
    would be taken for the host, shown as such and looked up in the DNS.

    Returns:
        one line that says how to write it; of the URL it shows what comes before ``://``.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or not re.fullmatch(r"[A-Za-z][\w+.-]*", scheme):
        return None  # no URL: a path, or a mistake that others name
    # a file has no password, but may have any character in its name
    names_a_file = scheme.startswith("sqlite") and rest.startswith("/")
    problem = _problem(rest, names_a_file=names_a_file)
    if problem is None:
        return None
    return (
        f"{scheme}://...: {problem}; percent-encode the user name, the password and every other "
        f"part: {_ENCODED}"
    )


def _problem(rest: str, *, names_a_file: bool) -> str | None:
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    userinfo = authority.rpartition("@")[0]
    if re.search(r"[\x00-\x1f]", rest):
        return "it has a control character in it"
    if "@" in authority and rest.count("@") > 1:
        return "it has more than one @, so that the end of its password is not known"
    # also where the user name itself has the / in it: us/er:password@host
    if not names_a_file and "@" not in authority and ":" in rest.rpartition("@")[0]:
        return "it has a /, ? or # before its @, so that the end of its password is not known"
    if re.search(r"%(?![0-9A-Fa-f]{2})", userinfo):
        return "its user name or password has a % that is not followed by two hexadecimal digits"
    host = authority.rpartition("@")[2]
    if userinfo and not re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]]*)(:\d*)?", host):
        return "what comes after its @ is not a host and a port"
    return None


def without_password(url: str) -> str:
    """The URL as it may be shown: without user name and password, if it has them."""
    return re.sub(r"(://)[^/?#]*@", r"\1***@", url)


def store_problem(place: str) -> str | None:
    """Why models cannot be kept at ``place``; None if it is a folder or a bucket."""
    if "://" not in place or place.startswith("file://"):
        return None
    if problem := ambiguity(place):
        return problem
    try:
        parsed = urlparse(place)
    except ValueError:
        return "is no URL; it should be a folder, s3://bucket or gs://bucket"
    if parsed.scheme not in ("s3", "gs"):
        return f"{without_password(place)}: should be a folder, s3://bucket or gs://bucket"
    if "@" in parsed.netloc:
        return (
            f"{without_password(place)}: credentials are not read from here, but from where boto3 "
            "and google-cloud-storage look for them; remove them"
        )
    if parsed.path.strip("/") or not parsed.netloc:
        return f"{place}: should be a bucket only, {parsed.scheme}://bucket"
    return None
