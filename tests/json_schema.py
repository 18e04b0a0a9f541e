#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks JSON documents against a schema: json_schema.py SCHEMA [FILE]

Knows as much of JSON Schema as the project's own schemas use, and refuses what it does not know.
The file (standard input) holds one document, or one a line.
"""
import json
import re
import sys

KNOWN = {"$schema", "$ref", "title", "description", "definitions", "type", "const", "enum", "minimum",
         "pattern", "required", "properties", "additionalProperties", "items", "minItems", "maxItems"}
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool}


def is_type(value, name):
    if name in ("integer", "number"):
        kinds = int if name == "integer" else (int, float)
        return isinstance(value, kinds) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def check(value, schema, root, where):
    unknown = set(schema) - KNOWN
    if unknown:
        raise SystemExit(f"the schema has {sorted(unknown)}, which this checker does not know")
    if "$ref" in schema:
        target = root
        for part in schema["$ref"].lstrip("#/").split("/"):
            target = target[part]
        yield from check(value, target, root, where)
    if "type" in schema and not is_type(value, schema["type"]):
        yield f"{where} is no {schema['type']}: {value!r:.80}"
        return
    if "const" in schema and value != schema["const"]:
        yield f"{where} is not {schema['const']}: {value!r:.80}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where} is none of {schema['enum']}: {value!r:.80}"
    if "minimum" in schema and value < schema["minimum"]:
        yield f"{where} is below {schema['minimum']}: {value}"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{where} does not match {schema['pattern']}: {value!r:.80}"
    if isinstance(value, dict):
        yield from check_object(value, schema, root, where)
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            yield f"{where} has {len(value)} items"
        for i, item in enumerate(value):
            yield from check(item, schema.get("items", {}), root, f"{where}[{i}]")


def check_object(value, schema, root, where):
    for name in schema.get("required", []):
        if name not in value:
            yield f"{where} has no {name}"
    for name, member in value.items():
        rule = schema.get("properties", {}).get(name, schema.get("additionalProperties", {}))
        yield from check(member, rule, root, f"{where}.{name}")


def documents(text):
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines() if line]


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        schema = json.load(file)
    source = open(sys.argv[2], encoding="utf-8") if len(sys.argv) > 2 else sys.stdin
    with source:
        found = documents(source.read())
    wrong = [line for document in found for line in check(document, schema, schema, "document")]
    for line in wrong[:20]:
        print(line)
    print(f"{len(found)} documents, {len(wrong)} mistakes")
    return 1 if wrong or not found else 0


if __name__ == "__main__":
    sys.exit(main())
