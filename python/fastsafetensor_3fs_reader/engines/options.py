# SPDX-License-Identifier: Apache-2.0
"""What an engine's --model-loader-extra-config may say for this load format."""

from typing import Any, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..settings import DEFAULT_BUFFER_SIZE, resolve

#: The word behind --load-format.
LOAD_FORMAT = "3fs"


class Options(NamedTuple):
    """
    buffer_size  bytes of staging memory, in /dev/shm, of each process that loads
    distributed  whether ranks share the reading: "auto" (where all of them want everything), "on" (or an error), "off"
    timeout      seconds without any progress after which a load fails; None = FST3FS_TIMEOUT, or the default
    require      "usrbio": fail rather than read through the operating system; None = FST3FS_REQUIRE
    """

    buffer_size: int = DEFAULT_BUFFER_SIZE
    distributed: str = "auto"
    timeout: Optional[float] = None
    require: Optional[str] = None

    @property
    def requires_usrbio(self) -> bool:
        return resolve("require", self.require) == "usrbio"


def take_options(extra: Optional[Mapping[str, Any]], engine_keys: Sequence[str] = ()) -> Tuple[Options, Dict[str, Any]]:
    """Our options, checked, and what is left for the engine's own loader: of ``engine_keys``. ValueError says what is
    wrong."""
    if extra is None:
        extra = {}
    if not isinstance(extra, Mapping):
        raise ValueError(f"{_where()} must be a JSON object, not {extra!r}")
    known = (*Options._fields, *engine_keys)
    unknown = sorted(key for key in extra if key not in known)
    if unknown:
        raise ValueError(f"{_where()} has {', '.join(map(repr, unknown))}; it may have {', '.join(known)}")
    options = Options(**{key: value for key, value in extra.items() if key in Options._fields})
    _check(options)
    return options, {key: value for key, value in extra.items() if key in engine_keys}


def _where() -> str:
    return f"model_loader_extra_config for load format {LOAD_FORMAT!r}"


def _check(options: Options) -> None:
    size = options.buffer_size
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(f"{_where()}: buffer_size must be a number of bytes, not {size!r}")
    if options.distributed not in ("auto", "on", "off"):
        raise ValueError(f"{_where()}: distributed must be 'auto', 'on' or 'off', not {options.distributed!r}")
    for name in ("timeout", "require"):
        try:
            resolve(name, getattr(options, name))
        except ValueError as e:
            raise ValueError(f"{_where()}: {e}") from None
