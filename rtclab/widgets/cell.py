"""Which notebook cell is running: a widget made by the same cell again replaces the one it made before."""

from __future__ import annotations


def running_cell() -> str:
    """The id of the cell that is running, or ``""`` outside a notebook or where the front end gives none."""
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return ""
    get_parent = getattr(get_ipython(), "get_parent", None)
    if get_parent is None:
        return ""
    metadata = get_parent().get("metadata") or {}
    return str(metadata.get("cellId") or "")
