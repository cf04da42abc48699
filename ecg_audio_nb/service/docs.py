"""The page `/docs`: every path with its fields and a command to try it, made from the OpenAPI description

FastAPI's own page loads scripts from another site; this one needs none.
"""

import re
from html import escape

_EXAMPLE_BASE = "http://127.0.0.1:8080"  # as the descriptions write it
_FENCE = re.compile(r"```\w*\n(.*?)```", re.S)
_STYLE = """
:root { color-scheme: light dark; --line: #8886; --accent: #2463c4 }
@media (prefers-color-scheme: dark) { :root { --accent: #8ab4f8 } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 0 auto; padding: 1.5rem 1rem 4rem }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.15rem; margin: 2rem 0 0 }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; border-top: 1px solid var(--line); padding-top: 1rem }
pre { overflow-x: auto; border: 1px solid var(--line); border-radius: .35rem; padding: .6rem .8rem }
table { border-collapse: collapse }
td { border-top: 1px solid var(--line); padding: .2rem .8rem .2rem 0; vertical-align: top }
a { color: var(--accent) } b { color: var(--accent); font-weight: 600 } p { margin: .35rem 0 }
"""


def docs_page(
    description: dict,  # of `FastAPI.openapi`
    base: str,  # URL under which the reader sees the service, without a slash at the end
    needs_key: bool = True,
) -> str:  # HTML
    "Describe the service for people"
    schemas = description.get("components", {}).get("schemas", {})
    by_tag = {}
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            part = _operation(method.upper(), path, operation, schemas, base)
            by_tag.setdefault(operation.get("tags", ["other"])[0], []).append(part)
    parts = [f"<h2>{escape(tag)}</h2>{''.join(operations)}" for tag, operations in by_tag.items()]
    key = "Send the key as <code>Authorization: Bearer KEY</code>." if needs_key else "No key is needed."
    title = escape(f"{description['info']['title']} {description['info']['version']}")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>"
        f"<p>{escape(description['info']['description'])} "
        f'{key} For code generators: <a href="{escape(base)}/openapi.json">openapi.json</a>.</p>'
        f"{''.join(parts)}</body></html>"
    )


def _operation(method: str, path: str, operation: dict, schemas: dict, base: str) -> str:
    fields = _fields(operation, schemas)
    statuses = ", ".join(sorted(operation.get("responses", {})))
    table = f"<table>{''.join(fields)}</table>" if fields else ""
    text = _text(operation.get("description", ""), base)
    return f"<h3><b>{method}</b> {escape(path)}</h3>{text}{table}<p>Answers: {escape(statuses)}</p>"


def _text(description: str, base: str) -> str:
    "Paragraphs and commands of a handler's docstring"
    html = []
    for n, part in enumerate(_FENCE.split(description)):
        if n % 2:
            html.append(f"<pre>{escape(part.strip().replace(_EXAMPLE_BASE, base))}</pre>")
        else:
            html += [f"<p>{_inline(p)}</p>" for p in part.split("\n\n") if p.strip()]
    return "".join(html)


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(" ".join(text.split())))


def _fields(operation: dict, schemas: dict) -> list[str]:
    "Rows of a table: parameters of the path and of the query, members of the body"
    rows = [
        _row(p["name"], p.get("schema", {}), p.get("required", False), p["in"])
        for p in operation.get("parameters", [])
    ]
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = content.get("schema", {})
        schema = schemas.get(schema.get("$ref", "").rpartition("/")[2], schema)
        required = schema.get("required", [])
        for name, member in schema.get("properties", {}).items():
            rows.append(_row(name, member, name in required, kind))
    return rows


def _row(name: str, schema: dict, required: bool, where: str) -> str:
    options = [s for s in schema.get("anyOf", [schema]) if s.get("type") != "null"]
    kinds = " or ".join(str(s.get("type", "any")) for s in options) or "any"
    about = schema.get("description") or next((s["description"] for s in options if "description" in s), "")
    if choices := schema.get("enum"):
        about = f"{about} {', '.join(map(str, choices))}".strip()
    need = "required" if required else "optional"
    cells = (f"<code>{escape(name)}</code>", escape(kinds), need, escape(where), _inline(about))
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
