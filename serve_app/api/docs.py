"""The two pages about the API itself, both made from the endpoints: a schema and one to read."""

from collections.abc import Iterable, Sequence
from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from serve_app.api.endpoint import Answer, Endpoint
from serve_app.api.openapi import describe, possible_errors, shown_path
from serve_app.errors import all_errors

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>serve_app</title><style>
body {{ font: 15px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em }}
table {{ border-collapse: collapse; width: 100% }} td, th {{ border: 1px solid #ccc;
padding: .3em .6em; text-align: left; vertical-align: top }} code {{ white-space: nowrap }}
</style></head><body>
<h1>serve_app</h1>
<p>Whisper speech-to-text. The same as a schema: <a href="{root}/openapi.json">openapi.json</a>.
A file goes into the part <code>file</code> of a form, beside the fields; or it is the body itself
(<code>Content-Type: audio/*</code>), with the fields in the query. Fields of several values may be
sent as <code>x[]</code> or <code>x</code>, repeated or parted by commas.</p>
{routes}
<h2>Errors</h2>
<p>Always <code>{{"error": {{"message", "type", "param", "code"}}}}</code>.</p>
{errors}
</body></html>
"""


def endpoints(others: Sequence[Endpoint], *, needs_key: bool) -> list[Endpoint]:
    """Return the routes of this group, which describe the others and themselves."""

    async def show_schema(http: Request) -> Response:
        root = http.scope.get("root_path", "")
        return JSONResponse(describe(described, needs_key=needs_key, root=root))

    async def show_page(http: Request) -> Response:
        return HTMLResponse(render_page(described, root=http.scope.get("root_path", "")))

    schema = Answer(description="OpenAPI 3.1.", content={"application/json": {"type": "object"}})
    page = Answer(description="HTML.", content={"text/html": {"type": "string"}})
    ours = [
        Endpoint(
            method="GET",
            path="/openapi.json",
            answer=show_schema,
            summary="Return the schema of the API.",
            role=None,
            answers={200: schema},
        ),
        Endpoint(
            method="GET",
            path="/docs",
            answer=show_page,
            summary="Show the API to a reader.",
            role=None,
            answers={200: page},
        ),
    ]
    described = [*others, *ours]
    return ours


def render_page(endpoints: Sequence[Endpoint], *, root: str) -> str:
    """Return the page about the endpoints and all errors. It loads nothing from elsewhere."""
    errors = (
        (str(kind.status), kind.code, (kind.__doc__ or "").splitlines()[0])
        for kind in sorted(all_errors(), key=lambda kind: (kind.status, kind.code))
    )
    return _PAGE.format(
        root=escape(root),
        routes="\n".join(_section(endpoint) for endpoint in endpoints),
        errors=_table(("Status", "Code", "When"), errors),
    )


def _section(endpoint: Endpoint) -> str:
    parts = [
        f"<h2><code>{endpoint.method} {escape(shown_path(endpoint))}</code></h2>",
        f"<p>{escape(f'{endpoint.summary} {endpoint.description}'.strip())}</p>",
    ]
    if endpoint.fields:
        rows = (
            (
                name,
                str(field.schema.get("type", "")),
                str(field.schema.get("default", "")),
                field.description,
            )
            for name, field in endpoint.fields.items()
        )
        parts.append(_table(("Field", "Type", "Default", "What it does"), rows))
    answers = [f"{status}: {answer.description}" for status, answer in endpoint.answers.items()]
    errors = [f"{error.status} {error.code}" for error in possible_errors(endpoint)]
    parts.append(f"<p>{escape(' '.join(answers))} Errors: {escape(', '.join(errors))}.</p>")
    return "\n".join(parts)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["".join(f"<th>{escape(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
