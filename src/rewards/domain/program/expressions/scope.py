"""What one expression may name, and the engine that it is compiled for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cel_expr_python import cel
from cel_expr_python.ext import ext_bindings, ext_math, ext_strings

from rewards.domain.program.expressions.fields import CEL_TYPES, Field

_EXTENSIONS: Final = (ext_bindings.ExtBindings(), ext_strings.ExtStrings(), ext_math.ExtMath())


class Engine:
    """The CEL runtime with every field of a program declared. Expressions and activations must be of the same one."""

    __slots__ = ("_env",)

    def __init__(self, fields: Iterable[Field]) -> None:
        variables: dict[str, Any] = {}
        for each in fields:
            variables[each.variable] = CEL_TYPES[each.kind]
            variables[each.presence] = cel.Type.BOOL
        self._env = cel.NewEnv(variables=variables, extensions=list(_EXTENSIONS))

    def compile(self, text: str) -> Any:
        """Raises `RuntimeError` with the engine's remarks."""
        return self._env.compile(text)

    def activation(self, values: Mapping[str, Any]) -> Any:
        """The values of variables, converted as declared."""
        return self._env.Activation(values)


@dataclass(frozen=True, slots=True)
class Scope:
    """The names in reach of one expression. `absent` explains roots that exist elsewhere but not here."""

    engine: Engine
    fields: Mapping[str, Field]
    absent: Mapping[str, str] = field(default_factory=dict)
