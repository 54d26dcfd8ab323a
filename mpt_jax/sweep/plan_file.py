"""Reads a plan from its TOML file (docs/sweeps.md)."""

import tomllib
from collections.abc import Callable, Collection
from typing import Any

from mpt_jax.configuration import gin_files
from mpt_jax.errors import UserError, did_you_mean
from mpt_jax.sweep.plan import Method, Plan, Source, Stage


def load(name: str) -> Plan:
    """The plan of the file `name`, which is looked for as a gin file is.

    Raises:
        UserError: no such file, not TOML, an unknown key, a value of the wrong kind, or what
            `Plan` refuses.
    """
    path = gin_files.find(name, kind="plan", suffix=".toml")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{name} is not a TOML file: {error}.") from None
    plan = _Table(content, name)
    target = plan.table("target")
    fields = {
        "name": name,
        "methods": plan.rows("methods", _method),
        "tasks": plan.strings("tasks"),
        "shots": tuple(str(k) for k in plan.items("shots")),
        "seeds": tuple(plan.items("seeds")),
        "sources": plan.rows("sources", _source),
        "source": _stage(plan.table("source"), Plan.source),
        "target": _stage(target, Plan.target, known=("by_shots",)),
        "evaluation": _stage(plan.table("evaluation"), Plan.evaluation),
        "settings": plan.strings("settings"),
        "by_shots": target.table("by_shots").all_strings(),
    }
    plan.check_keys(fields.keys() - {"name", "by_shots"})
    return Plan(**fields)


class _Table:
    """A TOML table whose values are read by kind; `where` it is, for messages."""

    def __init__(self, content: dict[str, Any], where: str):
        self._content = content
        self._where = where

    def check_keys(self, known: Collection[str]) -> None:
        for key in self._content:
            if key not in known:
                raise UserError(
                    f"{self._where}: unknown key {key!r}.{did_you_mean(key, known)} "
                    f"Known keys: {', '.join(sorted(known))}."
                )

    def text(self, key: str) -> str | None:
        return self._value(key, str, "a string", None)

    def items(self, key: str) -> list:
        return self._value(key, list, "a list", [])

    def strings(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        values = self._value(key, list, "a list of strings", list(default))
        for value in values:
            if not isinstance(value, str):
                raise UserError(f"{self._where}: {key} holds {value!r}, which is not a string.")
        return tuple(values)

    def all_strings(self) -> dict[str, tuple[str, ...]]:
        return {key: self.strings(key) for key in self._content}

    def table(self, key: str) -> "_Table":
        return _Table(self._value(key, dict, "a table", {}), f"{self._where}: {key}")

    def rows(self, key: str, read: Callable[["_Table"], Any]) -> tuple:
        """What `read` makes of each table of a list; messages number them from 1."""
        found = []
        for number, row in enumerate(self.items(key), 1):
            if not isinstance(row, dict):
                raise UserError(f"{self._where}: {key} holds {row!r}, which is not a table.")
            found.append(read(_Table(row, f"{self._where}: {key}, row {number}")))
        return tuple(found)

    def required(self, key: str) -> str:
        value = self.text(key)
        if value is None:
            raise UserError(f"{self._where}: {key} is missing.")
        return value

    def _value(self, key: str, kind: type, what: str, default: Any) -> Any:
        value = self._content.get(key, default)
        if value is not default and not isinstance(value, kind):
            raise UserError(f"{self._where}: {key} must be {what}, not {value!r}.")
        return value


def _method(row: _Table) -> Method:
    row.check_keys(("label", "files", "settings", "source"))
    label, files = row.required("label"), row.strings("files")
    return Method(label, files, row.strings("settings"), row.text("source"))


def _source(row: _Table) -> Source:
    row.check_keys(("name", "files", "settings", "teachers"))
    name, files = row.required("name"), row.strings("files")
    return Source(name, files, row.strings("settings"), row.text("teachers"))


def _stage(table: _Table, default: Stage, known: Collection[str] = ()) -> Stage:
    table.check_keys(("files", "settings", *known))
    return Stage(table.strings("files", default.files), table.strings("settings"))
