"""Install index templates, component templates and lifecycle policies from a folder of JSON files.

    templates/elasticsearch/ilm_policies/NAME.json          `version` in `policy._meta`
    templates/elasticsearch/component_templates/NAME.json   `version` at the top
    templates/elasticsearch/index_templates/NAME.json       `version` at the top

The version decides: an older copy of the pipeline never puts an older template back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import quote

import orjson

from enricher.model import ConfigError, Problem, UserError
from enricher.sinks.bulk import cause

if TYPE_CHECKING:
    from enricher.sinks.elasticsearch_client import Answer, ElasticsearchClient

Kind = Literal["ilm_policies", "component_templates", "index_templates"]
Outcome = Literal["installed", "current", "newer on the server", "not supported"]
KINDS: tuple[Kind, ...] = ("ilm_policies", "component_templates", "index_templates")
"""In the order in which they refer to each other."""

_ENDPOINT = {
    "ilm_policies": "/_ilm/policy/",
    "component_templates": "/_component_template/",
    "index_templates": "/_index_template/",
}
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_NO_SUCH_ENDPOINT = frozenset({400, 404, 405})


class Template(NamedTuple):
    """One file, with the environment filled in."""

    kind: Kind
    name: str
    version: int
    body: dict[str, Any]


class Installed(NamedTuple):
    """What `install()` did about one template."""

    kind: Kind
    name: str
    version: int
    outcome: Outcome


class Refused(Exception):  # noqa: N818 - the field's word
    """The server cannot take a template now, or not from us; the text says where and why."""


def load(folder: Path, environment: Mapping[str, str]) -> list[Template]:
    """Read every template, in the order in which they are to be installed.

    Args:
        folder: the `templates/` folder.
        environment: for `${NAME}` and `${NAME:-default}` inside texts; the default also stands
            in for an empty variable.

    Raises:
        ConfigError: with every mistake in every file.
    """
    templates: list[Template] = []
    problems: list[Problem] = []
    root = folder / "elasticsearch"
    if not root.is_dir():
        raise ConfigError([Problem("there is no such folder of templates", file=str(root))])
    for kind in KINDS:
        for path in sorted((root / kind).glob("*.json")):
            read = _read(kind, path, environment)
            if isinstance(read, Template):
                templates.append(read)
            else:
                problems.extend(read)
    if problems:
        raise ConfigError(problems)
    return templates


def _read(kind: Kind, path: Path, environment: Mapping[str, str]) -> Template | list[Problem]:
    try:
        raw = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        text = f"not JSON: {error.msg}"
        return [Problem(text, file=str(path), line=error.lineno, column=error.colno)]
    except OSError as error:
        return [Problem(f"cannot be read: {error.strerror}", file=str(path))]
    missing: dict[str, None] = {}
    body = _substitute(raw, environment, missing)
    problems = [
        Problem(f"environment variable {name} is not set and has no default", file=str(path))
        for name in missing
    ]
    version = _version(kind, body)
    if version is None:
        where = "policy._meta.version" if kind == "ilm_policies" else "version"
        problems.append(
            Problem(
                f'a whole number "{where}" is missing: without one, an older copy could '
                "replace a newer template",
                file=str(path),
            )
        )
    if version is None or problems:
        return problems
    return Template(kind, path.stem, version, body)


def _substitute(value: Any, environment: Mapping[str, str], missing: dict[str, None]) -> Any:
    if isinstance(value, dict):
        return {key: _substitute(inner, environment, missing) for key, inner in value.items()}
    if isinstance(value, list):
        return [_substitute(inner, environment, missing) for inner in value]
    if not isinstance(value, str):
        return value

    def fill(match: re.Match[str]) -> str:
        name, default = match.groups()
        text = environment.get(name) or default
        if text is None:
            missing[name] = None
        return text or ""

    return _VARIABLE.sub(fill, value)


def _version(kind: Kind, body: Any) -> int | None:
    for key in ("policy", "_meta") if kind == "ilm_policies" else ():
        body = body.get(key) if isinstance(body, dict) else None
    version = body.get("version") if isinstance(body, dict) else None
    return version if isinstance(version, int) else None


async def install(
    client: ElasticsearchClient, folder: Path, environment: Mapping[str, str]
) -> list[Installed]:
    """Put every template that is newer than what the server has.

    Args:
        client: stays open.
        folder: the `templates/` folder.
        environment: for the variables in the files.

    Returns:
        What was done, a line for each file, in order.

    Raises:
        ConfigError: the files are wrong.
        UserError: the server says that a template is wrong.
        Refused: the server cannot take it now (overload) or not from us (rights).
        Unavailable: the server cannot be reached.
    """
    done: list[Installed] = []
    supported = True
    for template in load(folder, environment):
        kind, name, version, _ = template
        outcome: Outcome = "not supported"
        if supported or kind != "ilm_policies":
            outcome = await _put_if_newer(client, template)
        if supported and outcome == "not supported":
            supported = False
            import structlog

            structlog.get_logger(__name__).warning(
                "the server has no lifecycle policies (_ilm): it will not delete old indices",
                elasticsearch=client.address,
            )
        done.append(Installed(kind, name, version, outcome))
    return done


async def _put_if_newer(client: ElasticsearchClient, template: Template) -> Outcome:
    stored = await client.request("GET", _target(template))
    if template.kind == "ilm_policies" and _without_lifecycles(stored):
        return "not supported"
    there = _stored_version(template, _checked(client, template, stored, found=False))
    if there is not None and there >= template.version:
        return "current" if there == template.version else "newer on the server"
    put = await client.request("PUT", _target(template), orjson.dumps(template.body))
    _checked(client, template, put, found=True)
    return "installed"


def _target(template: Template) -> str:
    return _ENDPOINT[template.kind] + quote(template.name, safe="")


def _without_lifecycles(answer: Answer) -> bool:
    """Tell a server that lacks the endpoint from one that merely lacks this policy (404 too)."""
    kind, _ = cause(answer.decode())
    return answer.status in _NO_SUCH_ENDPOINT and kind != "resource_not_found_exception"


def _checked(
    client: ElasticsearchClient, template: Template, answer: Answer, *, found: bool
) -> Any:
    """Give the decoded answer; None for a 404 where the template need not be there yet."""
    if answer.ok:
        return answer.decode()
    if answer.status == 404 and not found:
        return None
    kind, reason = cause(answer.decode())
    text = (
        f"elasticsearch at {client.address} does not take "
        f"{template.kind}/{template.name}.json: {answer.status} {kind} {reason}".rstrip()
    )
    if answer.status == 400:
        raise UserError(text)
    advice = "; the key needs the privileges manage_index_templates and manage_ilm"
    raise Refused(f"{text}{advice if answer.status in (401, 403) else ''}; retrying")


def _stored_version(template: Template, answer: Any) -> int | None:
    return max(
        (
            version
            for entry in _entries(template, answer)
            if (version := _version(template.kind, entry)) is not None
        ),
        default=None,
    )


def _entries(template: Template, answer: Any) -> Iterator[Any]:
    """Yield the stored template; the server wraps each kind in its own way."""
    if not isinstance(answer, dict):
        return
    if template.kind == "ilm_policies":
        yield answer.get(template.name)
        return
    for entry in answer.get(template.kind) or ():
        if isinstance(entry, dict) and entry.get("name") == template.name:
            yield entry.get(template.kind.removesuffix("s"))
