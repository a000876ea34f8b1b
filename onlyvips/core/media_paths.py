"""Keys of media as keys of a tree: the same wherever every store and file system takes them, else escaped, reversible.

A part of a key that is empty, ``.``, ``..``, too long, or a name of ours becomes ``=onlyvips=`` (as a directory
``=onlyvips-in=``) and its percent-encoding; one that is too long begins in a directory ``=onlyvips-more=``. Stores
that are a file system below would take ``a//b`` for ``a/b``, and ``../b`` for something outside of the tree.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

PART = ".onlyvips-part-"
"""How a file begins that is being written."""
_UPLOAD = re.compile(rf"{re.escape(PART)}[0-9a-f]{{16}}\.part")
_FILE, _FOLDER, _MORE = "=onlyvips=", "=onlyvips-in=", "=onlyvips-more="
_LONGEST = 255
_PIECE = 200


def is_upload(name: str) -> bool:
    """Whether a file is called as one that we are writing, or never finished."""
    return _UPLOAD.fullmatch(name) is not None


def to_path(key: str) -> str:
    """The key of a tree, which is a relative path too, for a key of media."""
    *folders, last = key.split("/")
    named = [_escaped(part, _FOLDER) if _is_special(part) else part for part in folders]
    return "/".join([*named, _escaped(last, _FILE) if _is_special(last) else last])


def to_key(path: str) -> str:
    """The key of media of what ``to_path`` gave."""
    parts, pending = list[str](), ""
    for part in path.split("/"):
        mark = next((mark for mark in (_FILE, _FOLDER, _MORE) if part.startswith(mark)), "")
        if mark == _MORE:
            pending += part.removeprefix(mark)
        else:
            parts.append(unquote(pending + part.removeprefix(mark)) if mark else part)
            pending = ""
    return "/".join(parts)


def aside(path: str) -> str:
    """Where a file is whose own name a directory has (``a`` beside ``a/b``); the same for a name that is escaped."""
    head, slash, last = path.rpartition("/")
    return path if _is_special(last) else f"{head}{slash}{_escaped(last, _FILE)}"


def from_aside(path: str) -> str:
    """The path of what is at ``path``: another one where it is aside."""
    head, slash, last = path.rpartition("/")
    if not last.startswith(_FILE):
        return path
    while head.rpartition("/")[2].startswith(_MORE):
        head, _, more = head.rpartition("/")
        last = f"{more}/{last}"
    plain = to_key(last)
    return path if _is_special(plain) else f"{head}{slash if head else ''}{plain}"


def _is_special(part: str) -> bool:
    ours = part.startswith((_FILE, _FOLDER, _MORE, PART))
    return part in ("", ".", "..") or ours or "\0" in part or len(part.encode()) > _LONGEST


def _escaped(part: str, mark: str) -> str:
    """Of letters that any file system takes, cut into directories where it is long."""
    text = "".join(one if one.isascii() and (one.isalnum() or one in "-_. ") else quote(one, safe="") for one in part)
    pieces = [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)] or [""]
    return "/".join([*(_MORE + piece for piece in pieces[:-1]), mark + pieces[-1]])
