"""What --json prints, compared with docs/schema: by the published schema, and by one that knows no further members, so
that none is printed which the schema does not have."""

import functools
import glob
import json
import os
import warnings

import jsonschema

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "schema")
NAMES = {verb: "operation" for verb in ("bind", "unbind", "reset", "set-vfs", "set-autoprobe")}
NAMES.update({"unlock": "lock", "monitor": "event"})


def closed(schema):
    """The schema without room for other members."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(part) for key, part in schema.items()}
    if "properties" in made and made.get("type") == "object":
        made.setdefault("additionalProperties", False)
    return made


@functools.lru_cache(None)
def schemas():
    """Name -> schema, as published."""
    found = {}
    for path in glob.glob(os.path.join(FOLDER, "*.json")):
        with open(path, encoding="utf-8") as file:
            found[os.path.splitext(os.path.basename(path))[0]] = json.load(file)
    return found


def known(verb):
    return NAMES.get(verb, verb) in schemas()


@functools.lru_cache(None)
def validators(name):
    made = []
    for change in (lambda schema: schema, closed):
        store = {f"file:///schema/{key}.json": change(schema) for key, schema in schemas().items()}
        with warnings.catch_warnings():     # a later jsonschema has another way
            warnings.simplefilter("ignore", DeprecationWarning)
            resolver = jsonschema.RefResolver("file:///schema/", store[f"file:///schema/{name}.json"], store=store)
            made.append(jsonschema.Draft202012Validator(store[f"file:///schema/{name}.json"], resolver=resolver))
    return made


def check(verb, text):
    """Raises jsonschema.ValidationError unless each schema has it."""
    for validator in validators(NAMES.get(verb, verb)):
        validator.validate(json.loads(text))
