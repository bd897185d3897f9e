"""Joins the modules in page/ into the one script that a page runs before the client's own."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["page_script"]

_PAGE = Path(__file__).with_name("page")
_IMPORT = re.compile(r'^import \{ (.+) \} from "\./(\w+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:(?:async )?function\*?|class|const) (\w+))", re.MULTILINE)


def page_script() -> str:
    """The script. Real modules would run too late: the browser runs them when the whole page is parsed.

    Each module becomes a function that returns its exports, after the modules that it imports. An import must be on one
    line, and an export in front of a declaration; all else is refused.
    """
    texts: dict[str, str] = {}
    _add("main", texts)
    return f'(() => {{ "use strict";\n{"".join(texts.values())}}})();'


def _add(name: str, texts: dict[str, str]) -> None:
    text = (_PAGE / f"{name}.js").read_text()
    for _, other in _IMPORT.findall(text):
        if other not in texts:
            _add(other, texts)
    exports = _EXPORT.findall(text)
    text = _EXPORT.sub("", _IMPORT.sub(r"const { \1 } = module_\2;", text))
    if re.search(r"^(import|export)\b|</script", text, re.MULTILINE):
        raise ValueError(f"{name}.js has an import or export of a form that cannot be joined")
    texts[name] = f"const module_{name} = (() => {{\n{text}return {{ {', '.join(exports)} }};\n}})();\n"
