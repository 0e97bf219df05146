"""Lets the reference read the docstrings as they are: ``Example:`` holds code, roles are names."""

import re
from typing import Any

from griffe import Docstring, Extension, Object


class AsWritten(Extension):
    """Changes the text of a docstring before it is parsed, not the source."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Take one object, as it is found."""
        if isinstance(obj.docstring, Docstring):
            text = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
            obj.docstring.value = re.sub(r":[a-z]+:`~?([^`]*)`", r"`\1`", text)
