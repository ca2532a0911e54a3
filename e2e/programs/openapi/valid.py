"""Judges an OpenAPI document: valid.py FILE."""

import json
import sys

from openapi_spec_validator import OpenAPIV31SpecValidator, validate

with open(sys.argv[1], encoding="utf-8") as file:
    document = json.load(file)
validate(document, cls=OpenAPIV31SpecValidator)
calls = [call for verbs in document["paths"].values() for call in verbs.values()]
print(f"valid: {document['openapi']}, {len(calls)} calls")
