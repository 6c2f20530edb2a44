"""Checks events, one JSON object a line on standard input, against the published schema of the version that each names.

The schema is the export of schema.ocsf.io as the package ocsf-json-schema has it; the validator is jsonschema. Prints how many events
were valid; what is wrong with the first that is not ends it.
"""
import json
import sys

from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

validators = {}


def validator(version, class_uid, profiles):
    key = (version, class_uid, *profiles)
    if key not in validators:
        schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=version))
        name = schema.lookup_class_name_from_uid(class_uid=class_uid)
        validators[key] = Draft202012Validator(schema.get_class_schema(class_name=name, profiles=list(profiles)))
    return validators[key]


valid = 0
for line in sys.stdin:
    event = json.loads(line)
    metadata = event["metadata"]
    errors = list(validator(metadata["version"], event["class_uid"], metadata["profiles"]).iter_errors(event))
    for error in errors:
        print(error.json_path, error.message[:300], file=sys.stderr)
    if errors:
        sys.exit(f"not valid: {line}")
    valid += 1
print(valid)
