"""Reads gin files without importing what they name, to refuse bad input in milliseconds.

Gin finds a mistake only after it has imported jax, tensorflow and the model code, and stops at the
first. This reader uses gin's own parser with references left as names, and checks files, syntax and
required macros before anything is imported.
"""

import dataclasses
import itertools
import pathlib
import re
import tokenize
from collections.abc import Iterator, Sequence

from gin import config_parser

from mpt_jax.configuration import gin_files
from mpt_jax.errors import UserError

REQUIRED = ("gin.REQUIRED", "REQUIRED")
_NAME = re.compile(r"([a-zA-Z_]\w*/)*[a-zA-Z_]\w*(\.[a-zA-Z_]\w*)*")


@dataclasses.dataclass(frozen=True)
class Reference:
    """`%name` (a macro) or `@name` (a function or class) inside a value."""

    name: str
    is_macro: bool


@dataclasses.dataclass(frozen=True)
class Binding:
    """`scope/selector.argument = value`; a macro `NAME = value` has the argument "".

    `where` it is written, for messages; `shipped`: in a file of the package.
    """

    scope: str
    selector: str
    argument: str
    value: object
    where: str
    shipped: bool = False

    @property
    def macro(self) -> str | None:
        """The name of the macro that this binding sets, with its scope, or None."""
        if self.argument:
            return None
        return f"{self.scope}/{self.selector}" if self.scope else self.selector


@dataclasses.dataclass
class Source:
    """The statements of all files, includes expanded in place, then those of the overrides."""

    bindings: list[Binding] = dataclasses.field(default_factory=list)
    overrides: list[Binding] = dataclasses.field(default_factory=list)
    imports: list[config_parser.ImportStatement] = dataclasses.field(default_factory=list)

    @property
    def all(self) -> list[Binding]:
        """In the order in which gin takes them."""
        return [*self.bindings, *self.overrides]

    def values(self) -> dict[str, Binding]:
        """The last binding of every macro."""
        return {b.macro: b for b in self.all if b.macro}

    def names(self) -> set[str]:
        """Every function and class that a file binds or refers to, as written there."""
        referred = (r for b in self.bindings for r in references(b.value) if not r.is_macro)
        bound = {b.selector for b in self.bindings if b.argument}
        return bound | {r.name.split("/")[-1] for r in referred}


class _Names(config_parser.ParserDelegate):
    """Keeps references as names, where gin's own delegate resolves them at once."""

    def configurable_reference(self, scoped_configurable_name, evaluate):
        return Reference(scoped_configurable_name, is_macro=False)

    def macro(self, macro_name):
        return Reference(macro_name, is_macro=True)


def read(
    files: Sequence[str],
    overrides: Sequence[str],
    search_paths: Sequence[str],
    presets: Sequence[str] = (),
) -> Source:
    """Reads `files` with their includes, then `presets` and `overrides` ("NAME=VALUE").

    Nothing is imported. Presets are a command's own; they count as a shipped file's bindings.

    Raises:
        UserError: a file that is not there or cannot be parsed, with its line.
    """
    source = Source()
    for name in files:
        _read_file(gin_files.find(name, search_paths), search_paths, source, within=())
    for preset in presets:
        source.bindings.append(dataclasses.replace(_read_override(preset), shipped=True))
    for override in overrides:
        source.overrides.append(_read_override(override))
    return source


def check_all_set(source: Source) -> None:
    """Raises a UserError that lists the macros that are never set."""
    values = source.values()
    unset = {name: f"required by {b.where}" for name, b in values.items() if is_required(b.value)}
    # Dotted names may be constants of a module, which gin knows after importing it.
    for name, where in _macro_uses(source).items():
        if name not in values and name not in REQUIRED and "." not in name:
            unset[name] = f"used in {where}"
    if unset:
        lines = (f"  {name} ({why}): {_setters(name)}" for name, why in unset.items())
        raise UserError("these gin macros are not set:\n" + "\n".join(lines))


def references(value: object) -> Iterator[Reference]:
    """All references inside a parsed value."""
    if isinstance(value, Reference):
        yield value
    elif isinstance(value, dict):
        yield from references([*value.keys(), *value.values()])
    elif isinstance(value, list | tuple):
        for item in value:
            yield from references(item)


def normalise_override(override: str) -> str:
    """`NAME=VALUE` as gin reads it: a VALUE that is not a gin literal or reference is a string.

    So `MODEL_DIR=/tmp/run` needs no inner quotes. A value that only looks like a literal (an open
    bracket or quote, `true`) is an error rather than a surprising string.
    """
    name, _, value = override.partition("=")
    name, value = name.strip(), value.strip()
    if not _NAME.fullmatch(name):
        raise UserError(f"--gin.{override}: {name!r} is not a gin name (scope/module.fn.argument).")
    if not value:
        raise UserError(
            f"--gin.{name}= has no value; an empty string is written --gin.{name}='\"\"'."
        )
    if value in ("true", "false", "none"):
        raise UserError(f"--gin.{name}={value}: gin writes {value.capitalize()}.")
    if _is_gin_value(value):
        return f"{name} = {value}"
    if value[0] in "[({\"'@%":
        raise UserError(f"--gin.{name}={value}: {value!r} is not a complete gin value.")
    return f"{name} = {value!r}"


def _read_file(
    path: pathlib.Path,
    search_paths: Sequence[str],
    source: Source,
    within: tuple[pathlib.Path, ...],
) -> None:
    if path in within:
        raise UserError(f"{path}: this gin file includes itself.")
    for statement in _statements(_read_text(path), str(path)):
        where = f"{path}, line {statement.location.line_num}"
        shipped = path.is_relative_to(gin_files.shipped_root())
        match statement:
            case config_parser.IncludeStatement():
                try:
                    included = gin_files.find(statement.filename, search_paths)
                except UserError as error:
                    raise UserError(f"{where}: {error}") from None
                _read_file(included, search_paths, source, (*within, path))
            case config_parser.ImportStatement() if statement.module.split(".")[0] != "__gin__":
                source.imports.append(statement)
            case config_parser.BindingStatement():
                source.bindings.append(_binding(statement, where, shipped))


def _read_override(override: str) -> Binding:
    name = override.partition("=")[0].strip()
    (statement,) = _statements(normalise_override(override), f"--gin.{name}")
    return _binding(statement, f"--gin.{name}")


def _binding(
    statement: config_parser.BindingStatement, where: str, shipped: bool = False
) -> Binding:
    name = (statement.scope, statement.selector, statement.arg_name)
    return Binding(*name, statement.value, where, shipped)


def _read_text(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the gin file {path}: {error}") from None


def _statements(text: str, where: str) -> list:
    try:
        return list(config_parser.ConfigParser(text, _Names()))
    except SyntaxError as error:
        line = (error.text or "").strip()
        reason = error.msg.splitlines()[0]
        raise UserError(f"{where}, line {error.lineno}: {reason} In: {line}") from None
    except tokenize.TokenError as error:
        reason, (line_number, _) = error.args
        raise UserError(f"{where}, line {line_number}: {reason}.") from None


def _is_gin_value(text: str) -> bool:
    try:
        parser = config_parser.ConfigParser(text, _Names())
        parser.parse_value()
    except (SyntaxError, tokenize.TokenError):
        return False
    return parser.current_token.type in (tokenize.NEWLINE, tokenize.ENDMARKER)


def _macro_uses(source: Source) -> dict[str, str]:
    """Macro name -> where it is used last."""
    return {
        reference.name: binding.where
        for binding in source.all
        for reference in references(binding.value)
        if reference.is_macro
    }


def is_required(value: object) -> bool:
    """Whether a macro is `%gin.REQUIRED`: a user must set it."""
    return isinstance(value, Reference) and value.is_macro and value.name in REQUIRED


def _setters(macro: str) -> str:
    """How `macro` can be set: on the command line, or by a shipped overlay."""
    ways = [f"--gin.{macro}=VALUE"]
    overlays = (name for name in gin_files.shipped() if _file_sets(name, macro))
    return " or ".join([*ways, *(f"--gin_file={name}" for name in itertools.islice(overlays, 3))])


def _file_sets(name: str, macro: str) -> bool:
    path = gin_files.shipped_root().parent / name
    try:
        statements = _statements(_read_text(path), name)
    except UserError:
        return False
    bindings = (s for s in statements if isinstance(s, config_parser.BindingStatement))
    return any(_binding(s, name).macro == macro and not is_required(s.value) for s in bindings)
